"""What a person sees while a run goes on: a line an epoch, and in a terminal a bar below."""

import math
import sys
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_only

from ibca_lightning.system.output import write_err
from ibca_lightning.terms import PREFIX

_LEGEND = {
    "loss": "of the classes, as val loss is",
    "head": "what the head adds to it in training alone",
    "terms": "what training terms add",
    "mAP": "the mean over classes of the average precision",
}


@rank_zero_only
def say(line: str) -> None:
    """Write a line on standard error, from the first process."""
    write_err(line + "\n")


class ProgressBar(TQDMProgressBar):
    """A bar with epoch, the whole loss of the last step that is logged and validation mAP, and nothing else.

    An mAP that is older than the epoch before says of which epoch it is: Lightning keeps it through epochs that have
    no validation.
    """

    _loss: float | None = None
    _validated = 0  # the last epoch with a validation

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note of which epoch the figures are."""
        if not trainer.sanity_checking:
            self._validated = trainer.current_epoch
        super().on_validation_end(trainer, pl_module)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Loss and mAP under their short names. To read the loss of other steps would be to wait for the device."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # of its logger connector
        loss = trainer.logged_metrics.get("train/loss_step")
        if loss is not None and (trainer.validating or (every and trainer.global_step % every == 0)):
            self._loss = float(loss)
        metrics = super().get_metrics(trainer, pl_module)
        old = f" of epoch {self._validated + 1}" if trainer.current_epoch > self._validated + 1 else ""
        shown = {"whole loss": self._loss, f"val mAP{old}": metrics.get("val/mAP")}
        return {name: value for name, value in shown.items() if value is not None}


class EpochLines(Callback):
    """One line an epoch on standard error, above the bar where there is one.

    `loss` is the classification loss, as `val loss` is. What the head adds in training (its bottleneck, its contrast)
    grows while its weight does and has no counterpart in validation; it stands apart, as `head`, and what training
    terms add as `terms`.
    """

    def __init__(self) -> None:
        self._best, self._epochs = -math.inf, 0
        self._validated = False
        self._told: set[str] = set()  # what the legend has said

    def state_dict(self) -> dict[str, float]:
        """The best so far, so that a resumed run knows it."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Take up where the checkpoint left."""
        self._best = state_dict["best"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clocks, also of an epoch that is taken up in its middle."""
        self._began = self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._started = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that there are figures: Lightning keeps them through epochs that have no validation."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how far the run is."""
        metrics = trainer.callback_metrics.items()
        values = {name: float(value) for name, value in metrics if self._validated or not name.startswith("val/")}
        self._validated = False
        last = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        parts = [f"epoch {trainer.current_epoch + 1}" + (f"/{last}" if last else "")]
        whole, own = values.get("train/loss_epoch"), values.get("train/classification")
        if own is not None:
            parts.append(f"loss {own:.4f}")
            added = [value for name, value in values.items() if name.startswith(f"train/{PREFIX}")]
            rest = sum(added) + own
            if whole is not None and not math.isclose(whole, rest, rel_tol=1e-4, abs_tol=1e-6):
                parts.append(f"head {whole - rest:+.4f}")
            if added:
                parts.append(f"terms {sum(added):+.4f}")
        if "val/loss" in values:
            parts.append(f"val loss {values['val/loss']:.4f}")
        if "val/mAP" in values:
            self._best = max(self._best, values["val/mAP"])
            parts.append(f"val mAP {values['val/mAP']:.4f} (best {self._best:.4f})")
        now = time.monotonic()
        parts.append(f"{now - self._started:.0f} s")
        self._epochs += 1
        if last and last > trainer.current_epoch + 1:
            left = (now - self._began) / self._epochs * (last - trainer.current_epoch - 1)
            parts.append(f"about {_duration(left)} left")
        line = ", ".join(parts)
        new = [name for name in _LEGEND if f"{name} " in line and name not in self._told]
        self._told.update(new)
        bar = trainer.progress_bar_callback
        legend = [f"({'; '.join(f'{name}: {_LEGEND[name]}' for name in new)})"] if new else []
        for text in [*legend, line]:
            if isinstance(bar, ProgressBar):
                bar.print(text, file=sys.stderr)  # a line of its own would be drawn over
            else:
                say(text)


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
