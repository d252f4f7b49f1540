"""Refuses stored maps of another backbone before they are trained or tested on."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn


class StoredMapsCheck(Callback):
    """Shows the backbone to data that ask for it (`require_backbone`).

    Not in `setup`: a checkpoint brings its weights after that.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Check, before the first step.

        Raises:
            InputError: From the data, when the maps are of another backbone.
        """
        require = getattr(getattr(trainer, "datamodule", None), "require_backbone", None)
        if require is not None:
            require(pl_module.backbone_name, pl_module.feature_stride, pl_module.backbone.fingerprint())

    on_test_start = on_predict_start = on_fit_start

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Check, if nobody has."""
        if trainer.state.fn != TrainerFn.FITTING:
            self.on_fit_start(trainer, pl_module)
