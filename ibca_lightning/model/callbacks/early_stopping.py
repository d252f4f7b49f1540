"""Early stopping of a run that may be taken up again: Lightning's own keeps the count, but not the decision."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping


class RunEarlyStopping(EarlyStopping):
    """Stops after so many validations without a better score; a run that was stopped so does not go on."""

    def __init__(self, monitor: str, patience: int) -> None:
        super().__init__(monitor, mode="max", patience=patience)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the count; the patience is that of the configuration, which may have been raised to go on."""
        super().load_state_dict(state_dict | {"patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End a run that had been stopped: Lightning keeps the count in the checkpoint, and not the decision."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
