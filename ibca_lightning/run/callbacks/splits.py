"""Writes which row was trained, validated and tested on, and which labels were made wrong on purpose."""

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.tables.split_file import write_splits
from ibca_lightning.system.whole_files import write_csv


class WriteSplits(Callback):
    """`splits.csv` of a run on tables: id, group and split of every row; `data.splits` reads it again.

    Of joined data sets each has its own, `splits.<name>.csv`. `label_noise.csv` lists what `data.label_noise` changed.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.folder = Path(run_dir)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, on rank 0, before the first step; refuse to go on with a run on other splits."""
        data = getattr(trainer, "datamodule", None)
        if trainer.is_global_zero and isinstance(data, MultiLabelDataModule):
            self.folder.mkdir(parents=True, exist_ok=True)
            for suffix, tables in data.split_files().items():
                write_splits(self.folder / f"splits{suffix}.csv", tables, data.rename)
            for suffix, rows in data.label_changes().items():
                named = ((data.rename(name), *rest) for name, *rest in rows)
                write_csv(self.folder / f"label_noise{suffix}.csv", [("id", "class", "label", "given"), *named])
