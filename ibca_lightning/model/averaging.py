"""Exponential moving average of the weights: Lightning's own, with a start, and told when not to swap them."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor


def warmed_up_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Make the rule of an exponential moving average whose decay grows to `decay` in the first steps.

    After n averaged steps the decay is min(decay, (1 + n) / (10 + n)), as in TensorFlow's `ExponentialMovingAverage`.
    With 0.998 from the first step on, half of the average is still the untrained weights after 350 steps, and a short
    run or a small data set looks as if it learnt nothing.

    Examples:
        >>> import torch
        >>> from ibca_lightning.model.averaging import warmed_up_average
        >>> step, zero, one = warmed_up_average(0.998), torch.zeros(1), torch.ones(1)
        >>> [round(step(zero, one, torch.tensor(n)).item(), 3) for n in (1, 10, 10_000)]  # the share of the new
        [0.818, 0.45, 0.002]
    """

    def average(averaged: Tensor, current: Tensor, steps: Tensor) -> Tensor:
        kept = ((1 + steps) / (10 + steps)).clamp(max=decay)
        return averaged + (current - averaged) * (1 - kept)  # of what does not move, exactly that

    return average


class AveragedWeights(WeightAveraging):
    """Validates and saves the average of the weights after each step, while training goes on with its own.

    Buffers (BatchNorm statistics, the schedule's progress) are those of the last step: an average of the progress
    would lag behind.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False, avg_fn=warmed_up_average(decay))

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Resume average and training weights; a test after training is of the average, as the checkpoint is."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the training weights in place, for the checkpoint from which the run may go on."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the module with the average, which is what was validated."""
        super().on_train_end(trainer, pl_module)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the average in; not in `trainer.validate`, which may have loaded other weights after training."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the training weights back."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_end(trainer, pl_module)
