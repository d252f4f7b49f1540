"""The per-class figures as a table on wandb."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger

from ibca_lightning.module import MultiLabelModule


class ClassTable(Callback):
    """Logs one table a set, a row a class: after training for the last validation, after testing for every test set."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the table of the validation set."""
        self._log(trainer, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the table of every test set."""
        self._log(trainer, pl_module)

    def _log(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero or not isinstance(pl_module, MultiLabelModule):
            return
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                for name, evaluation in pl_module.evaluations.items():
                    columns, rows = table(evaluation.figures["per_class"])
                    logger.log_table(f"{name}/classes", columns=columns, data=rows)


def table(per_class: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of the per-class figures.

    Args:
        per_class: Figures by name for each class, as in `test_metrics.json`.

    Returns:
        Column names, `class` first, and one row a class; None where a class lacks a figure.
    """
    names = list(dict.fromkeys(name for figures in per_class.values() for name in figures))
    return ["class", *names], [[c, *(figures.get(name) for name in names)] for c, figures in per_class.items()]
