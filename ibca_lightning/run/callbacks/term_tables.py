"""Writes what training terms have to say, such as `corrections.csv`."""

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.system.whole_files import write_csv


class WriteTermTables(Callback):
    """After each epoch, one CSV file a table of the terms, each written whole."""

    def __init__(self, run_dir: str | Path) -> None:
        self.folder = Path(run_dir)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write, on rank 0: the terms are the same in every process."""
        if trainer.is_global_zero and isinstance(pl_module, MultiLabelModule):
            for stem, rows in pl_module.terms.tables().items():
                write_csv(self.folder / f"{stem}.csv", rows)
