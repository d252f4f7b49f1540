"""What the options of `MultiLabelModule` must be, each refused in one line."""

from collections.abc import Mapping, Sequence
from typing import get_args

from ibca_lightning.metrics.calibration import Calibration
from ibca_lightning.metrics.columns import prediction_columns
from ibca_lightning.metrics.thresholds import ThresholdRule, require_rule
from ibca_lightning.system.errors import InputError, doubled


def require_class_names(class_names: Sequence[str], num_labels: int) -> None:
    """Refuse names that are not one a label, or that a column of predictions.csv has already."""
    _require(len(class_names) == num_labels, f"{num_labels} class names", class_names, "name every label once")
    _require(len(set(class_names)) == num_labels, "class names that differ", class_names, "rename one of them")
    twice = doubled(prediction_columns(class_names))
    _require(
        not twice, "class names beside which no other column of predictions.csv is called the same", twice[:1],
        "rename that class",
    )  # fmt: skip


def require_batch(batch: object) -> None:
    """Refuse what is no batch to train or test on: a mapping of pictures or stored maps, names and labels."""
    example = 'give {"image": uint8 (B, 3, S, S), "label": int8 (B, L), "index": int64 (B,), "id": names}'
    keys = [*batch] if isinstance(batch, Mapping) else []
    image = "features" if "features" in keys else "image"
    missing = [key for key in (image, "id", "label") if key not in keys]
    got = f"one with {', '.join(map(str, keys)) or 'nothing'}" if keys else f"a {type(batch).__name__}"
    _require(not missing, "a batch of the data as a mapping with " + ", ".join(missing), got, example)


def require_options(
    head: object,
    optimizer: object,
    learning_rate: float | None,
    warmup_fraction: float,
    backbone_lr_scale: float,
    ema_decay: float | None,
    early_stopping_patience: int | None,
    thresholds: ThresholdRule,
    calibration: Calibration,
) -> None:
    """Refuse what is out of its range, or no choice."""
    _require(callable(head), "model.head as a class of heads", head, "name one, such as IBCAHead, or leave it out")
    _require(callable(optimizer), "model.optimizer as a class", optimizer, "name one, such as torch.optim.AdamW")
    _require(
        learning_rate is None or learning_rate > 0, "model.learning_rate above 0", learning_rate, "or leave it out"
    )
    _require(0 <= warmup_fraction < 1, "model.warmup_fraction in [0, 1)", warmup_fraction, "try 0.05")
    _require(backbone_lr_scale > 0, "model.backbone_lr_scale above 0", backbone_lr_scale, "or freeze_backbone: true")
    _require(ema_decay is None or 0 < ema_decay < 1, "model.ema_decay in (0, 1)", ema_decay, "try 0.999, or null")
    _require(
        early_stopping_patience is None or early_stopping_patience >= 1,
        "model.early_stopping_patience of at least 1", early_stopping_patience, "try 10, or null",
    )  # fmt: skip
    require_rule(thresholds)
    known = get_args(Calibration)
    _require(calibration in known, "model.calibration none, temperature or platt", calibration, "choose one")


def require_fine_tuning(frozen: bool, **options: float | None) -> None:
    """Refuse options of a backbone that learns which are out of their range, or have no effect on a frozen one.

    Args:
        frozen: Whether the backbone is.
        **options: `layer_decay`, `unfreeze_at_epoch`, `lora_rank`; None is not given.
    """
    for name, value in options.items():
        fix = f"leave model.{name} out, or give --model.freeze_backbone false"
        _require(value is None or not frozen, f"a backbone that learns for model.{name} {value}", "a frozen one", fix)
    decay, epoch, rank = (options.get(name) for name in ("layer_decay", "unfreeze_at_epoch", "lora_rank"))
    _require(decay is None or 0 < decay < 1, "model.layer_decay in (0, 1)", decay, "try 0.75, or null")
    _require(
        epoch is None or epoch >= 1, "model.unfreeze_at_epoch of at least 1", epoch,
        "or null: the backbone learns from the first epoch on",
    )  # fmt: skip
    _require(rank is None or rank >= 1, "model.lora_rank of at least 1", rank, "try 8, or null")


def _require(condition: bool, expected: str, got: object, fix: str) -> None:
    if not condition:
        raise InputError(expected, got, fix)


def with_channels(preprocessing: dict[str, str] | None, in_channels: int | None) -> dict[str, str]:
    """How pictures are read, with the number of their channels where it is not 3.

    Raises:
        InputError: When the data have another number than the model asks for.
    """
    given = {"resize": "stretch"} if preprocessing is None else dict(preprocessing)
    theirs = int(given.get("in_channels", 3))
    _require(in_channels is None or in_channels >= 1, "model.in_channels of at least 1", in_channels, "correct it")
    _require(
        in_channels is None or preprocessing is None or in_channels == theirs,
        f"model.in_channels {theirs}, as the data have", in_channels, "set data.in_channels, or leave it out",
    )  # fmt: skip
    return given if in_channels in (None, theirs) else given | {"in_channels": str(in_channels)}
