"""What was changed between a run and its resumption: refused where it would not apply, said where it does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ibca_lightning.model.public_names import with_public_names
from ibca_lightning.run.relative_paths import relative_paths
from ibca_lightning.run.run_settings import read_settings
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.yaml_text import load

_KEPT = {
    "model.optimizer": "the optimiser's state",
    "model.scheduler": "the scheduler's state",
    "model.backbone_lr_scale": "the learning rates",
    "model.layer_decay": "the learning rates",
    "model.learning_rate": "the learning rates",
    "model.freeze_backbone": "the optimiser's state",
    "model.lora_rank": "the weights",
    "seed_everything": "the seed of order and augmentation",
}
"""What a checkpoint brings, whatever the configuration says."""
_NO_SETTING = ("run_dir", "ckpt_path", "config", "wandb", "save_every_n_steps", "log_images", "hash_key")


def changed_settings(run_dir: str, text: str) -> str | None:
    """Say in a line what differs between a run's `config.yaml` and its resumption, a YAML `text`; None for nothing.

    Raises:
        InputError: Something differs that the checkpoint would silently override.
    """
    saved = Path(run_dir) / "config.yaml"
    settings = read_settings(Path(run_dir))
    if not settings:
        return None
    before, now = (dict(_flat(with_public_names(relative_paths(each)))) for each in (settings, load(text)))
    changed = []
    for key in dict.fromkeys([*before, *now]):
        # An option that is newer than the run is not in its file, and its default is mostly None.
        old, new = ("unset" if values.get(key) is None else str(values[key]) for values in (before, now))
        if old == new or key.startswith(_NO_SETTING):
            continue
        for kept, what in _KEPT.items():
            if key == kept or key.startswith(f"{kept}."):
                raise InputError(
                    f"{key} {old} as in {saved}, because the checkpoint brings {what}", new,
                    "leave it as it was, or start a new run with --model.init_from instead of --ckpt_path",
                )  # fmt: skip
        changed.append(f"{key} {new} (was {old})")
    return f"note: goes on with other settings than {saved}: {', '.join(changed)}" if changed else None


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys as one types them, without `init_args`."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            path = key if name == "init_args" else f"{key}.{name}".lstrip(".")
            yield from _flat(inner, path)
    else:
        yield key, value
