"""What a person sees while a run goes on: a bar in a terminal, a line an epoch in a log file."""

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_only

from ibca_lightning.system.output import write_err


@rank_zero_only
def say(line: str) -> None:
    """Write a line on standard error, from the first process."""
    write_err(line + "\n")


class ProgressBar(TQDMProgressBar):
    """A bar with epoch, loss and validation mAP, and nothing else."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Loss and mAP under their short names."""
        shown = {"train/loss_step": "loss", "train/loss": "loss", "val/mAP": "val mAP"}
        metrics = super().get_metrics(trainer, pl_module)
        return {shown[name]: value for name, value in metrics.items() if name in shown}


class EpochLines(Callback):
    """One line an epoch on standard error, for logs that are no terminal."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, also of an epoch that is taken up in its middle."""
        self._started = time.monotonic()

    on_train_epoch_start = on_train_start

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how far the run is."""
        values = trainer.callback_metrics
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        parts = [f"epoch {trainer.current_epoch + 1}{of}"]
        for name, shown in (("train/loss_epoch", "loss"), ("val/loss", "val loss"), ("val/mAP", "val mAP")):
            if name in values:
                parts.append(f"{shown} {float(values[name]):.4f}")
        say(", ".join([*parts, f"{time.monotonic() - self._started:.0f} s"]))
