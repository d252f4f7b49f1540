"""A CSV logger whose file survives a resumed run."""

import csv
import os
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


class RunCSVLogger(CSVLogger):
    """Writes `metrics.csv` straight into the run folder.

    Lightning's own logger deletes the file of an earlier start of the same run; this one goes on below its rows. It
    writes no `hparams.yaml`: the run's `config.yaml` says more.

    Args:
        run_dir: The run folder.
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


class _KeepingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        if os.path.isfile(self.metrics_file_path):
            with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
                self.metrics_keys.extend(next(csv.reader(file), []))
