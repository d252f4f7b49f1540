"""What waits for a figure of the validation: schedulers of plateaus, early stopping, checkpoints of the user's."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ibca_lightning.system.errors import InputError

_VALIDATION = ("val/", "val_")  # the second of one class or group, and at thresholds: `val_tuned/CF1`


def of_validation(monitor: str | None) -> bool:
    """Whether a figure comes from the validation, so not in every epoch."""
    return str(monitor).startswith(_VALIDATION)


def require_validation(trainer: pl.Trainer) -> None:
    """Refuse, before the first step, a run that never validates where something waits for a figure of the validation.

    Raises:
        InputError: There is such a thing; what and which limit of the trainer forbids it.
    """
    last, every = trainer.max_epochs, trainer.check_val_every_n_epoch
    if not trainer.enable_validation:
        limit = trainer.limit_val_batches
        why = f"trainer.limit_val_batches {limit:g}" if limit == 0 else "data without any"
    elif every is not None and last is not None and 0 <= last < every:
        why = f"trainer.check_val_every_n_epoch {every} in {last} epochs"
    else:
        return
    waiting = [
        *(("ReduceLROnPlateau", each) for each in trainer.lr_scheduler_configs if each.reduce_on_plateau),
        *(("early stopping", each) for each in trainer.early_stopping_callbacks),
        # Lightning would warn, and save nothing. Ours leave that to `last.ckpt`.
        *(("ModelCheckpoint", each) for each in trainer.checkpoint_callbacks if _is_foreign(each)),
    ]
    for name, each in waiting:
        if of_validation(each.monitor):  # type: ignore[attr-defined]
            raise InputError(f"a validation for {name} to wait for", why, "let it validate, or leave that out")


def _is_foreign(checkpoint: object) -> bool:
    """Whether it is one of the user's that saves by its figure alone."""
    ours = type(checkpoint).__module__.startswith("ibca_lightning.")
    return isinstance(checkpoint, ModelCheckpoint) and not ours and not checkpoint.save_last


class NewScore:
    """The figure that a scheduler of plateaus is to see: once, at the end of an epoch that has a validation.

    Lightning shows it the last figure at the end of every epoch, so that in epochs without a validation an old one
    would count again, and before the first there is none. It also forgets figures when a run is taken up.
    """

    def __init__(self) -> None:
        self.value: Tensor | None = None

    def see(self, trainer: pl.Trainer) -> None:
        """Note the figure of a validation; from here on one that is not among its figures is an error."""
        for each in trainer.lr_scheduler_configs:
            if each.reduce_on_plateau and of_validation(each.monitor):
                each.strict = True
                value = trainer.callback_metrics.get(str(each.monitor))
                self.value = None if value is None else value.detach().clone()

    def show(self, trainer: pl.Trainer) -> None:
        """Give Lightning the figure back that was noted before a stop."""
        for each in trainer.lr_scheduler_configs:
            if self.value is not None and each.reduce_on_plateau:
                trainer.callback_metrics[str(each.monitor)] = self.value

    def take(self) -> bool:
        """Whether there is one that has not been seen; then it has."""
        new, self.value = self.value is not None, None
        return new
