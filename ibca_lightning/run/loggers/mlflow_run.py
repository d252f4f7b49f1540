"""A training or a test as a run of MLflow, in a database in the run folder or on a server of the user's.

MLflow's client is used as it is: Lightning's own logger sets the tracking URI for the whole process and its children,
so that the next run would go into this one's database, and notes the user and the path of the command.
"""

import logging
import os
import re
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from ibca_lightning.run.run_folder import process_rank
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import read_bytes
from ibca_lightning.system.whole_files import write_text

if TYPE_CHECKING:  # takes seconds to import, and few ask for it
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)
_PARAMETERS = 100  # that MLflow takes at once
_LONGEST = 6000  # characters of a parameter that MLflow takes


def start_run(run_dir: str, job_type: str, goes_on: bool, uri: str | None, experiment: str) -> "MLflowRun | None":
    """Begin a run named after the run folder, or take up the training of this folder; None but on rank 0.

    Args:
        run_dir: The run folder; it keeps the id of its training in `mlflow/fit_id`.
        job_type: `fit` or `test`.
        goes_on: Whether a run of this folder is taken up.
        uri: Where to log; None: `mlflow/runs.db` in the run folder.
        experiment: The name of MLflow's experiment.

    Raises:
        InputError: MLflow cannot be reached, or cannot write there.
    """
    if process_rank() != 0:
        return None
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reports its use to its makers
    for name in ("mlflow", "alembic"):  # they tell of every table that is made
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    folder = Path(os.path.abspath(run_dir), "mlflow")
    place = uri or f"sqlite:///{folder}/runs.db"
    ids = folder / "fit_id"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(place)
        if job_type == "fit" and goes_on and ids.is_file():
            run_id = read_bytes(ids).decode(errors="replace").strip()
            client.update_run(run_id, status="RUNNING")
            return MLflowRun(client, run_id)
        known = client.get_experiment_by_name(experiment)
        # Artifacts of a database would lie in the current folder.
        artifacts = None if uri else (folder / "artifacts").as_uri()
        number = known.experiment_id if known else client.create_experiment(experiment, artifacts)
        run = client.create_run(number, tags={"mlflow.source.name": f"ibca {job_type}"}, run_name=Path(run_dir).name)
        run_id = str(run.info.run_id)
        if job_type == "fit":
            write_text(ids, run_id)
    except (OSError, MlflowException) as error:
        fix = "see that it is there and takes runs, or leave --trainer.logger mlflow out"
        raise InputError(f"a place for MLflow to log to at {place}", error, fix) from error
    return MLflowRun(client, run_id)


class MLflowRun(Logger):
    """Logs figures and the configuration into one run.

    What MLflow does not take is said once and does not end a training: `metrics.csv` has all of it.
    """

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        super().__init__()
        self._client, self._run_id = client, run_id
        self._said = False

    @property
    def name(self) -> str:
        """What Lightning may call it."""
        return "mlflow"

    @property
    def version(self) -> str:
        """The id of the run."""
        return self._run_id

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures of one step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._log(metrics=[Metric(_allowed(name), float(value), now, step or 0) for name, value in metrics.items()])

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log plain data as parameters, keys joined by points."""
        from mlflow.entities import Param

        found = [
            Param(_allowed(name), value[:_LONGEST])
            for name, value in _flat(vars(params) if isinstance(params, Namespace) else params)
        ]
        for at in range(0, len(found), _PARAMETERS):
            self._log(params=found[at : at + _PARAMETERS])

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Say how the run ended."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.set_terminated(self._run_id, "FAILED" if status == "failed" else "FINISHED")
        except MlflowException as error:
            self._say(error)

    def _log(self, **entities: Any) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_batch(self._run_id, **entities)
        except MlflowException as error:
            self._say(error)

    def _say(self, error: Exception) -> None:
        if not self._said:
            log.warning("warning: MLflow did not take all; metrics.csv has it: %s", " ".join(str(error).split())[:300])
        self._said = True


def _allowed(name: str) -> str:
    """A name in the letters that MLflow takes; two names stay two."""
    return re.sub(r"[^/\w.\- ]", lambda letter: f"_{ord(letter[0]):x}_", name)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield name, str(value)
