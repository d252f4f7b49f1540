"""What several test files share: a small data set, and a run trained on it once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# One thread, before anything loads torch, also in what the tests start: pytest alone is then what `make test` is. On
# pictures this small a second thread gains little; on a busy machine its spinning makes the suite four times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# xdist's first process imports the module of each warning it is told of, in a thread a worker: two at once, of
# packages that import each other, end in a deadlock that Python breaks with an error. So here, before the workers.
import lightning.pytorch  # noqa: F401
import sklearn  # noqa: F401

from tests.command_line import done, experiment, written
from tests.datasets import fake_csv


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fake CSV data set; tests that change it take a copy."""
    root = tmp_path_factory.mktemp("data") / "tree"
    fake_csv.write(root, rows=30)
    return root


@pytest.fixture(scope="session")
def run(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained for two epochs and tested; nobody writes into it."""
    folder = tmp_path_factory.mktemp("run")
    config = written(folder / "experiment.yaml", experiment(tree))
    done("fit", "--config", config, "--run_dir", folder / "run", "--trainer.max_epochs", 2)
    done("test", "--config", folder / "run/config.yaml", "--ckpt_path", folder / "run/checkpoints/best.ckpt")
    return folder / "run"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that what is written beside the run folder is seen."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return folder


@pytest.fixture
def fresh_wandb() -> Iterator[None]:
    """No wandb session of an earlier test, which would keep that test's key, and none left for a later one."""
    import wandb  # takes a second, which most workers need not spend

    wandb.teardown()
    yield
    wandb.teardown()
