"""A CSV logger whose file survives a resumed run."""

import csv
import io
import os
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import read_text, regular, told
from ibca_lightning.system.whole_files import csv_lines, naming, write_csv


class RunCSVLogger(CSVLogger):
    """Writes `metrics.csv` straight into the run folder.

    Lightning's own logger deletes the file of an earlier start of the same run; this one goes on below its rows. It
    writes no `hparams.yaml`: the run's `config.yaml` says more.
    """

    def __init__(self, run_dir: str) -> None:
        super().__init__(run_dir, name="", version="", flush_logs_every_n_steps=1)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer, made when it is first needed."""
        if self._experiment is None:
            os.makedirs(self.root_dir, exist_ok=True)
            self._experiment = _KeepingWriter(log_dir=self.log_dir)
        return self._experiment

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: see `config.yaml`."""


class MetricsRows(Callback):
    """Lets a resumed run write each row of `metrics.csv` once: those behind its checkpoint are about to come again."""

    def __init__(self) -> None:
        self._rows: int | None = None
        self._writer: _KeepingWriter | None = None

    def state_dict(self) -> dict[str, Any]:
        """How many rows there are at a checkpoint."""
        return {} if self._writer is None else {"rows": self._writer.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up that number."""
        self._rows = state_dict.get("rows")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Cut the file, on rank 0, before anything is logged."""
        logger = next((logger for logger in trainer.loggers if isinstance(logger, RunCSVLogger)), None)
        if logger is not None and trainer.is_global_zero:
            self._writer = logger.experiment
            if self._rows is not None:
                self._writer.keep(self._rows)


class _KeepingWriter(ExperimentWriter):
    rows = 0  # of the file, below its header

    def _check_log_dir_exists(self) -> None:
        if os.path.exists(self.metrics_file_path):
            regular(self.metrics_file_path)
            names, rows = self._read()
            self.metrics_keys.extend(names)
            self.rows = len(rows)

    def save(self) -> None:
        if not self.metrics:
            return
        if self._record_new_keys() or not os.path.exists(self.metrics_file_path):
            self._write(self._read()[1])
        rows = ([row.get(name, "") for name in self.metrics_keys] for row in self.metrics)
        with naming(self.metrics_file_path), open(self.metrics_file_path, "a", newline="", encoding="utf-8") as file:
            file.writelines(csv_lines(rows))
        self.rows += len(self.metrics)
        self.metrics = []

    def keep(self, rows: int) -> None:
        """Cut off what lies behind so many rows."""
        if rows < self.rows:
            self._write(self._read()[1][:rows])
            self.rows = rows

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        if not os.path.exists(self.metrics_file_path):
            return [], []
        try:
            reader = csv.DictReader(io.StringIO(read_text(self.metrics_file_path), newline=""), restval="")
            return list(reader.fieldnames or []), list(reader)
        except (OSError, ValueError, csv.Error) as error:
            expected = f"the figures of earlier epochs in {self.metrics_file_path}"
            raise InputError(expected, told(error), "restore or remove it") from error

    def _write(self, rows: list[dict[str, str]]) -> None:
        names = self.metrics_keys
        write_csv(self.metrics_file_path, [names, *([row.get(name, "") for name in names] for row in rows)])
