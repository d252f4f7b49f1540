"""Callbacks of Lightning that do not go with the optimiser's groups, the schedule or the average of this module."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    GradientAccumulationScheduler,
    StochasticWeightAveraging,
    WeightAveraging,
)

from ibca_lightning.system.errors import InputError


def require_fitting_callbacks(trainer: pl.Trainer) -> None:
    """Refuse, before the first step, what would end a run in its middle or spoil its weights without a word.

    Raises:
        InputError: There is such a callback; what to give in its place.
    """
    averages: list[str] = []
    for each in trainer.callbacks:  # type: ignore[attr-defined]
        name = type(each).__name__
        if isinstance(each, BackboneFinetuning):
            fix = "give --model.unfreeze_at_epoch, with --model.backbone_lr_scale, in its place"
            raise InputError("callbacks that add no group to the optimiser", name, fix)
        if isinstance(each, GradientAccumulationScheduler):
            fix = "give --trainer.accumulate_grad_batches: schedules count the steps of the whole run before the first"
            raise InputError("as many batches a step throughout a run", name, fix)
        if isinstance(each, StochasticWeightAveraging) and isinstance(each._swa_lrs, list):
            groups, rates = len(trainer.optimizers[0].param_groups), len(each._swa_lrs)
            if groups != rates:
                what = f"one swa_lrs, or one for each of the optimiser's {groups} groups"
                raise InputError(what, f"{rates} of them", "give one number")
        if isinstance(each, WeightAveraging | StochasticWeightAveraging):
            averages.append("model.ema_decay" if type(each).__module__.startswith("ibca_lightning.") else name)
    if len(averages) > 1:
        fix = "leave the others out: they would exchange each other's weights"
        raise InputError("one average of the weights", " and ".join(averages), fix)


def require_own_groups(scheduler: Any) -> None:
    """Refuse groups that a callback added to the optimiser behind its scheduler, which has no rates for them.

    Raises:
        InputError: There are more than at first.
    """
    known = getattr(scheduler, "base_lrs", None)
    if known is not None and len(known) != len(groups := scheduler.optimizer.param_groups):
        what = f"the {len(known)} groups of parameters that the optimiser began with"
        fix = "leave out the callback that adds groups: --model.unfreeze_at_epoch lets the backbone learn later"
        raise InputError(what, len(groups), fix)
