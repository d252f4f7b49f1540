"""Writes what `ibca test`, `ibca validate` and `ibca predict` leave in the run folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

from ibca_lightning.metrics.evaluation import Evaluation
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.run.result_files import write_evaluation, write_predictions, write_tests


class WriteResults(Callback):
    """Test figures and predictions of every test set; predictions of `ibca predict`; per-class tables for wandb.

    With one test set: `test_metrics.json`, `test_predictions.csv`. With several, `test_metrics.<name>.json` and
    `test_predictions.<name>.csv` each, and the first one's also under the plain names. `ibca validate` leaves the same
    as `val_metrics.json`, `val_predictions.csv` and so on; the validations of a fit do not.
    """

    def __init__(self, run_dir: str | Path, cell: Callable[[str], str] = str) -> None:
        self.run_dir, self._cell = Path(run_dir), cell
        self._predicted: dict[tuple[int, int], tuple[str, torch.Tensor]] = {}  # by loader and index

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the files, on rank 0."""
        if not trainer.is_global_zero or not isinstance(pl_module, MultiLabelModule):
            return
        evaluations = [e for name, e in pl_module.evaluations.items() if name != "val"]
        write_tests(self.run_dir, evaluations)
        for evaluation in evaluations:
            _log_per_class(trainer, evaluation, "test" if len(evaluations) == 1 else f"test_{evaluation.name}")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the files of `ibca validate`, on rank 0."""
        alone = trainer.state.fn == TrainerFn.VALIDATING
        if alone and trainer.is_global_zero and isinstance(pl_module, MultiLabelModule):
            write_evaluation(self.run_dir, pl_module.evaluations["val"], stage="val")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the per-class table of the last validation."""
        if trainer.is_global_zero and isinstance(pl_module, MultiLabelModule) and "val" in pl_module.evaluations:
            _log_per_class(trainer, pl_module.evaluations["val"], "val")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an earlier prediction."""
        self._predicted.clear()

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Keep the probabilities of one batch."""
        rows = zip(batch["index"].tolist(), outputs["id"], outputs["probabilities"].float().cpu(), strict=True)
        self._predicted.update(((dataloader_idx, index), (picture, row)) for index, picture, row in rows)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `predictions.csv`, on rank 0, in the order of the data, each picture of a set once."""
        predicted = self._predicted
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, predicted)
            predicted = {place: row for part in parts for place, row in part.items()}
        if trainer.is_global_zero and isinstance(pl_module, MultiLabelModule) and predicted:
            ids, rows = zip(*(predicted[place] for place in sorted(predicted)), strict=True)
            write_predictions(
                self.run_dir / "predictions.csv", ids, torch.stack(rows), pl_module.class_names,
                thresholds=pl_module.thresholds, cell=self._cell,
            )  # fmt: skip


def _log_per_class(trainer: pl.Trainer, evaluation: Evaluation, prefix: str) -> None:
    rows = evaluation.figures["per_class"]
    columns = list(dict.fromkeys(figure for figures in rows.values() for figure in figures))
    data = [[name, *(figures.get(column) for column in columns)] for name, figures in rows.items()]
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_table(f"{prefix}/per_class", columns=["class", *columns], data=data)
