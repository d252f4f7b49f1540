"""Loggers by their short names, one or a list: `--trainer.logger '[tensorboard, mlflow]'`.

They are added to `metrics.csv` and wandb, and write into the run folder. That is chosen behind the options, so that
what an option builds is a request, which makes its logger later.
"""

import os
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger

from ibca_lightning.run.loggers.mlflow_run import start_run
from ibca_lightning.run.loggers.wandb_logging import wandb_mode
from ibca_lightning.system.errors import InputError


class Request(DummyLogger):
    """Asks for a logger."""

    def made(self, run_dir: str, job_type: str, goes_on: bool) -> Logger | None:
        """The logger; None where every run has it anyway, and in processes that do not log.

        Args:
            run_dir: The run folder.
            job_type: `fit` or `test`.
            goes_on: Whether a run of this folder is taken up.
        """


class RunCSVRequest(Request):
    """`metrics.csv`, which every run has: `--trainer.logger csv`."""


class RunWandbRequest(Request):
    """wandb, which every run has unless `--wandb disabled`: `--trainer.logger wandb`."""


class RunTensorBoardLogger(Request):
    """TensorBoard in the run's folder `tensorboard`: `--trainer.logger tensorboard`, `tensorboard --logdir runs`."""

    def made(self, run_dir: str, job_type: str, goes_on: bool) -> Logger:
        """Lightning's logger."""
        return TensorBoardLogger(run_dir, name="", version="tensorboard", default_hp_metric=False)


class RunMLFlowLogger(Request):
    """MLflow in `mlflow/runs.db` of the run: `--trainer.logger mlflow`, `mlflow ui --backend-store-uri sqlite:///FILE`.

    Args:
        tracking_uri: Another place, such as a server of yours; default MLFLOW_TRACKING_URI, or else the run folder.
        experiment_name: The experiment of MLflow that the run belongs to.
    """

    def __init__(self, tracking_uri: str | None = None, experiment_name: str = "ibca_lightning") -> None:
        super().__init__()
        self.tracking_uri, self.experiment_name = tracking_uri, experiment_name

    def made(self, run_dir: str, job_type: str, goes_on: bool) -> Logger | None:
        """The logger, of the first process alone."""
        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        return start_run(run_dir, job_type, goes_on, uri, self.experiment_name)


def made(given: Iterable[Logger], run_dir: str, job_type: str, goes_on: bool) -> list[Logger]:
    """The loggers that requests make, and those of the user's own as they are."""
    loggers = (
        logger.made(run_dir, job_type, goes_on) if isinstance(logger, Request) else logger for logger in given
    )  # fmt: skip
    return [logger for logger in loggers if logger is not None]


def check_requests(given: Iterable[Any], wandb: str, hide: bool) -> None:
    """Refuse, before anything is built, loggers that cannot be made.

    Args:
        given: What the command line asks for, not built yet.
        wandb: The option `--wandb`.
        hide: Whether names and paths are kept from loggers.

    Raises:
        InputError: A package is missing, wandb is disabled, or a logger notes what is to be hidden.
    """
    asked = [path.rpartition(".")[2] for own in given if (path := getattr(own, "class_path", ""))]
    if RunWandbRequest.__name__ in asked and wandb_mode(wandb) == "disabled":
        raise InputError("--wandb auto, online or offline beside --trainer.logger wandb", "disabled", "change one")
    for name, package, notes in (
        (RunTensorBoardLogger.__name__, "tensorboard", "the name of the machine"),
        (RunMLFlowLogger.__name__, "mlflow", "paths"),
    ):
        if name in asked and find_spec(package) is None:
            fix = f"pip install 'ibca-lightning[{package}]'"
            raise InputError(f"the package {package} for --trainer.logger {package}", "none installed", fix)
        if name in asked and hide:
            raise InputError("loggers that hide what --hash_names hides", f"{package} ({notes})", "leave one out")
