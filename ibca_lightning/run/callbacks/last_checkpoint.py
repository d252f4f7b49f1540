"""`last.ckpt`: saved at places of a run from which it goes on exactly as if it had not been stopped."""

from typing import Any

import lightning.pytorch as pl

from ibca_lightning.run.callbacks.run_checkpoint import RunCheckpoint
from ibca_lightning.system.whole_files import remove_parts


class LastCheckpoint(RunCheckpoint):
    """Saves at the start of every epoch but the first, at the end of the run, and every so many steps between them.

    Lightning's own checkpoints are saved while an epoch or a step is being ended: what still belongs to it (a row of
    `metrics.csv`, a validation, the step of a plateau scheduler) is then lost on resume. This one is saved where
    nothing is pending, before the first batch of an epoch or before another one, and says so in Lightning's counters.
    What is drawn at random needs no state: it is seeded by place (`EpochSampler`,
    `MultiLabelModule.on_train_batch_start`).

    Within an epoch it is saved after `every_n_steps` optimiser steps, None never; a step later where a validation has
    just run or gradients are being accumulated.
    """

    def __init__(self, folder: str, every_n_steps: int | None = None) -> None:
        super().__init__(folder, "last")
        self.every_n_steps = every_n_steps
        self._next_batch: int | None = None  # while saving; 0 is the start of an epoch
        self._validated = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remove what a run that was killed while it wrote has left."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and trainer.is_global_zero:
            remove_parts(str(self.dirpath))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from where the run is taken up."""
        super().on_train_start(trainer, pl_module)
        self._last_global_step_saved = trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what the epoch before has left."""
        self._validated = False
        self._save(trainer, 0)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch, where it is time to."""
        can = self.can_save(trainer, batch_idx)
        self._validated = False
        steps = trainer.global_step - self._last_global_step_saved
        if can and self.every_n_steps is not None and steps >= self.every_n_steps:
            self.save_before(trainer, batch_idx)

    def can_save(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        """Whether nothing is pending before this batch."""
        return batch_idx % trainer.accumulate_grad_batches == 0 and not (self._validated and batch_idx)

    def save_before(self, trainer: pl.Trainer, batch_idx: int) -> None:
        """Save now, before a batch of the epoch; before the first one it has been done."""
        if batch_idx:
            self._save(trainer, batch_idx)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save nothing: the validation is not over before its scores have been used."""
        self._validated = not trainer.sanity_checking

    def on_train_batch_end(self, *args: Any) -> None:
        """Save nothing: the step is not over before it has been logged."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save nothing: the epoch is not over before it has been logged."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end of the run."""
        self._save(trainer, 0)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put Lightning's counters to the place between two steps, or two epochs, at which this one is saved."""
        if self._next_batch is None:
            return
        fit = checkpoint["loops"]["fit_loop"]
        batches, loaders = fit["epoch_loop.batch_progress"], fit["state_dict"].pop("combined_loader", [])
        if self._next_batch:
            batches["total"]["ready"] -= 1
            for loader in loaders:
                loader["batches"] = self._next_batch
            fit["state_dict"]["combined_loader"] = loaders
        else:
            for counters in fit["epoch_progress"].values():
                counters["ready"] = counters["completed"]
            checkpoint["epoch"] -= 1  # the one that has ended
        batches["current"] = dict.fromkeys(batches["current"], self._next_batch)
        batches["is_last_batch"] = False

    def _save(self, trainer: pl.Trainer, next_batch: int) -> None:
        if self._should_skip_saving_checkpoint(trainer):
            return
        self._next_batch = next_batch
        try:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        finally:
            self._next_batch = None
