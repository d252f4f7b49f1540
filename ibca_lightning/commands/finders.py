"""`ibca fit --find_batch_size` and `--find_lr`: Lightning's Tuner on a copy of the model, before the run starts.

The model, the trainer and the random numbers of the run stay untouched: a run with a value that was found is the run
that is given that value, and `config.yaml` gives it.
"""

import copy
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.tuner.tuning import Tuner
from lightning.pytorch.utilities.seed import isolate_rng

from ibca_lightning.errors import InputError, NonFiniteError

_KEPT = ("accelerator", "devices", "precision", "gradient_clip_val", "gradient_clip_algorithm", "deterministic")
_STEPS, _LOWEST, _HIGHEST = 100, 1e-7, (1.0, 0.1, 0.01, 1e-3)
_NEVER, _MOST = 10**9, 4096


def require_finding(trainer: pl.Trainer, config: Any) -> None:
    """Refuse what cannot be found here.

    Args:
        trainer: Of the run.
        config: The parsed configuration of `fit`.

    Raises:
        InputError: In a run that goes on or has several processes; for the batch size, on a CPU, whose memory ends
            with the process killed.
    """
    options = [name for name in ("find_batch_size", "find_lr") if config[name]]
    if not options:
        return
    asked = f"--{options[0]}"
    if config.ckpt_path:
        raise InputError(f"{asked} at the start of a run", "--ckpt_path", "leave it out: a run goes on with its values")
    if trainer.world_size > 1:
        raise InputError(
            f"{asked} with one process", trainer.world_size,
            "find it first with --trainer.devices 1 --trainer.max_epochs 1, then give what that run's config.yaml has",
        )  # fmt: skip
    if not config.find_batch_size:
        return
    if not memory_is_guarded(trainer):
        raise InputError("a GPU for --find_batch_size", "a CPU, where a batch too large kills the run", "leave it out")
    if config.data.init_args.get("batch_size") is None:
        raise InputError("a data module with batch_size for --find_batch_size", config.data.class_path, "leave it out")


def memory_is_guarded(trainer: pl.Trainer) -> bool:
    """Whether too large a batch raises an error, and no more, on the device of this trainer."""
    return isinstance(trainer.accelerator, pl.accelerators.CUDAAccelerator)


def find_batch_size(model: pl.LightningModule, data: pl.LightningDataModule, options: Mapping[str, Any]) -> int:
    """The largest power of two, below the number of training pictures, that trains and validates in the memory.

    Args:
        model: Stays as it is.
        data: With `batch_size`, which stays as it is.
        options: Of the run's trainer.

    Returns:
        At most 4096.

    Raises:
        InputError: There is no memory for a batch of one picture.
    """
    before = data.batch_size  # type: ignore[attr-defined]
    with _tuner(options) as tuner:
        try:
            data.setup("fit")
            # Lightning neither starts nor takes a step back at a size that the whole set is no larger than, and would
            # give back one that it has not tried after the largest: so it starts at 2 and stops at the last below that.
            data.batch_size = 1  # type: ignore[attr-defined]
            pictures = min(len(data.train_dataloader().dataset), 2 * _MOST)
            trials = max((pictures - 1).bit_length() - 1, 1)
            found = tuner.scale_batch_size(copy.deepcopy(model), datamodule=data, init_val=2, max_trials=trials)
        except ValueError as error:
            if data.batch_size > 0:  # type: ignore[attr-defined]
                raise
            raise InputError(
                "memory for a batch of one picture", "none", "lower data.image_size, or take a smaller backbone"
            ) from error
        finally:
            data.batch_size = before  # type: ignore[attr-defined]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    assert found is not None
    return found


def find_learning_rate(model: pl.LightningModule, data: pl.LightningDataModule, options: Mapping[str, Any]) -> float:
    """The rate at which the loss falls fastest in 100 steps from a tiny rate to a large one (Smith 2017, 1506.01186).

    Args:
        model: Stays as it is. Its parts have one rate during the search, whatever `backbone_lr_scale` says.
        data: What it is trained on.
        options: Of the run's trainer.

    Raises:
        InputError: The losses do not tell.
    """
    accumulated = {"accumulate_grad_batches": options.get("accumulate_grad_batches") or 1}
    for highest in _HIGHEST:
        with _tuner({**options, **accumulated}, *accumulated) as tuner:
            try:
                finder = tuner.lr_find(
                    copy.deepcopy(model), datamodule=data, min_lr=_LOWEST, max_lr=highest, num_training=_STEPS,
                    update_attr=False,
                )  # fmt: skip
            except NonFiniteError:  # not so high
                continue
        rate = finder.suggestion() if finder is not None else None
        if rate is not None:
            return float(f"{rate:.3g}")
    raise InputError("a loss that tells a learning rate (--find_lr)", "none", "give --model.learning_rate")


@contextmanager
def _tuner(options: Mapping[str, Any], *more: str) -> Iterator[Tuner]:
    """A trainer of its own on the run's device and precision, which leaves no file and no random number drawn."""
    kept = {name: options[name] for name in (*_KEPT, *more) if options.get(name) is not None}
    with isolate_rng(), tempfile.TemporaryDirectory() as folder:
        yield Tuner(
            pl.Trainer(
                **kept,
                default_root_dir=folder,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                max_epochs=-1,
                num_sanity_val_steps=0,
                check_val_every_n_epoch=_NEVER if more else 1,
            )
        )
