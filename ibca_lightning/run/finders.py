"""`ibca fit --find_batch_size` and `--find_lr`: trials on a copy of the model, before the run starts.

The model, the trainer and the random numbers of the run stay untouched: a run with a value that was found is the run
that is given that value, and `config.yaml` gives it.
"""

import copy
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.tuner.tuning import Tuner
from lightning.pytorch.utilities.memory import garbage_collection_cuda
from lightning.pytorch.utilities.seed import isolate_rng

from ibca_lightning.system.errors import InputError, NonFiniteError
from ibca_lightning.system.out_of_memory import is_out_of_memory

_KEPT = ("accelerator", "devices", "precision", "gradient_clip_val", "gradient_clip_algorithm", "deterministic")
_STEPS, _LOWEST, _HIGHEST = 100, 1e-7, (1.0, 0.1, 0.01, 1e-3)
_NEVER, _MOST, _TRIED = 10**9, 4096, 3


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
    """The largest power of two that trains and validates in the memory there is, three batches of each.

    Not Lightning's `scale_batch_size`: where a size fails after the first, or is no smaller than the training set, it
    gives back one that it has not tried.

    Args:
        model: Stays as it is.
        data: With `batch_size`, which stays as it is.
        options: Of the run's trainer.

    Returns:
        At most the number of training pictures, and 4096.

    Raises:
        InputError: There is no memory for a batch of one picture.
    """
    before = data.batch_size  # type: ignore[attr-defined]
    try:
        data.setup("fit")
        most = min(len(data.train_dataloader().dataset), _MOST)
        found, size = 0, min(2, most)  # one alone may be too few for BatchNorm
        while size <= most and _fits(size, model, data, options):
            found, size = size, 2 * size
        if not found and (size == 1 or not _fits(1, model, data, options)):
            raise InputError(
                "memory for a batch of one picture", "none", "lower data.image_size, or take a smaller backbone"
            )
    finally:
        data.batch_size = before  # type: ignore[attr-defined]
    return max(found, 1)


def _fits(size: int, model: pl.LightningModule, data: pl.LightningDataModule, options: Mapping[str, Any]) -> bool:
    data.batch_size = size  # type: ignore[attr-defined]
    with _trainer(options, max_steps=_TRIED, limit_val_batches=_TRIED) as trainer:
        try:
            trainer.fit(copy.deepcopy(model), datamodule=data)
            fits = True
        except (RuntimeError, MemoryError) as error:  # caught here, because isolate_rng does nothing after an error
            if not is_out_of_memory(error):
                raise
            fits = False
    garbage_collection_cuda()  # here, where the error no longer holds what it had no memory for
    return fits


def find_learning_rate(model: pl.LightningModule, data: pl.LightningDataModule, options: Mapping[str, Any]) -> float:
    """The rate at which the loss falls fastest in 100 steps from a tiny rate to a large one (Smith 2017, 1506.01186).

    Args:
        model: Stays as it is. Its parts have one rate during the search, whatever `backbone_lr_scale` says.
        data: What it is trained on.
        options: Of the run's trainer.

    Raises:
        InputError: The losses do not tell.
    """
    more = {"accumulate_grad_batches": options.get("accumulate_grad_batches") or 1, "check_val_every_n_epoch": _NEVER}
    for highest in _HIGHEST:
        with _trainer(options, **more) as trainer:
            try:
                finder = Tuner(trainer).lr_find(
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
def _trainer(options: Mapping[str, Any], **more: Any) -> Iterator[pl.Trainer]:
    """A trainer on the run's device and precision, which leaves no file and no random number drawn."""
    kept = {name: options[name] for name in _KEPT if options.get(name) is not None}
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(off, False)
    with isolate_rng(), tempfile.TemporaryDirectory() as folder:
        yield pl.Trainer(**kept, **quiet, default_root_dir=folder, max_epochs=-1, num_sanity_val_steps=0, **more)
