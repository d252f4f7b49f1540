"""A backbone that is frozen until an epoch, and then learns: `model.unfreeze_at_epoch`."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as pl
from lightning.pytorch.strategies import DDPStrategy

from ibca_lightning.model.backbone import Backbone
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import share


class Unfreezing:
    """Freezes a backbone, and lets it learn when its epoch has come.

    Its parameters are in the optimiser's groups from the start; without a gradient no optimiser touches them. So a run
    that is taken up finds the groups of its checkpoint, whichever epoch that is of.

    Args:
        backbone: Of the module.
        at: The epoch, counted from 0; None leaves the backbone as it is.
    """

    def __init__(self, backbone: Backbone, at: int | None) -> None:
        self.at = at
        self._backbone = backbone
        if at is not None:
            backbone.freeze()

    def begin(self, trainer: pl.Trainer) -> None:
        """Freeze again before a second run of the module, too.

        Raises:
            InputError: The epoch does not come, or the strategy has no use for parameters that are frozen at first.
        """
        if self.at is None:
            return
        last = trainer.max_epochs
        if last is not None and 0 <= last <= self.at:
            fix = "lower it, or give --model.freeze_backbone true in its place"
            raise InputError(f"model.unfreeze_at_epoch below trainer.max_epochs {last}", self.at, fix)
        if trainer.world_size > 1 and not isinstance(trainer.strategy, DDPStrategy):
            used = type(trainer.strategy).__name__
            raise InputError("--trainer.strategy ddp for model.unfreeze_at_epoch", used, "give it, or leave that out")
        if not self._backbone.frozen:
            self._backbone.freeze()

    def when_due(self, epoch: int, training: bool) -> None:
        """Let the backbone learn from its epoch on, in the mode of its module."""
        if self.at is not None and epoch >= self.at and self._backbone.frozen:
            self._backbone.thaw()
            self._backbone.train(training)

    @contextmanager
    def everything_that_learns(self) -> Iterator[None]:
        """Meanwhile what learns later requires a gradient, as what learns from the start does."""
        if self.at is not None:
            self._backbone.thaw()
        yield
        if self.at is not None:
            self._backbone.freeze()

    def average_gradients(self) -> None:
        """Give the backbone the gradients of all processes: DDP does not see what was frozen when it began."""
        if self.at is not None:
            for parameter in (p for p in self._backbone.parameters() if p.grad is not None):
                parameter.grad = share(parameter.grad).to(parameter.dtype)  # type: ignore[arg-type]
