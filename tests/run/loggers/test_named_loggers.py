"""Loggers by their short names, alone and together, in the run folder and nowhere else."""

import os
from importlib import util
from pathlib import Path

import pytest
import yaml

from ibca_lightning.run.command_line.short_names import NAMES, class_paths
from ibca_lightning.run.loggers import mlflow_run
from tests.command_line import done, experiment, refused, rows, written


@pytest.fixture
def config(tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return written(here / "e.yaml", experiment(tree)).name


def runs_of(database: Path) -> list[object]:
    """What MLflow's own client reads."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{database.absolute()}")
    return list(client.search_runs([own.experiment_id for own in client.search_experiments()]))


@pytest.mark.slow
def test_each_alone(config: str, here: Path) -> None:
    for name in ("csv", "tensorboard", "wandb"):
        mode = "offline" if name == "wandb" else "disabled"
        done("fit", "--config", config, "--run_dir", name, "--trainer.logger", name, "--wandb", mode)
        assert [row["val/mAP"] for row in rows(here / name / "metrics.csv") if row["val/mAP"]], name
        folders = {path.name for path in (here / name).iterdir() if path.is_dir()}
        assert folders == {"checkpoints", "attention", *({name} - {"csv"})}
    assert list((here / "tensorboard/tensorboard").glob("events.*"))
    assert len(list((here / "wandb/wandb").glob("offline-run-*"))) == 1, "asked for twice, made once"
    assert sorted(path.name for path in here.iterdir()) == ["csv", "e.yaml", "tensorboard", "wandb"]


@pytest.mark.slow
def test_two_together_and_a_run_that_is_taken_up_and_tested(config: str, here: Path) -> None:
    run = here / "run é 100%"
    both = ("--trainer.logger", "[tensorboard, mlflow]")
    done("fit", "--config", config, "--run_dir", run, *both)
    assert list((run / "tensorboard").glob("events.*"))
    last = ("--ckpt_path", run / "checkpoints/last.ckpt", "--trainer.max_epochs", 2)
    done("fit", "--config", run / "config.yaml", *last)
    done("test", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/best.ckpt")
    assert sorted(path.name for path in here.iterdir()) == ["e.yaml", run.name], "no mlruns"
    assert "MLFLOW_TRACKING_URI" not in os.environ
    tested, trained = runs_of(run / "mlflow/runs.db")  # the newest first
    assert [own.info.run_name for own in (tested, trained)] == [run.name] * 2
    assert trained.info.status == tested.info.status == "FINISHED"
    written_by_us = [float(row["val/mAP"]) for row in rows(run / "metrics.csv") if row["val/mAP"]]
    assert len(written_by_us) == 2
    assert trained.data.metrics["val/mAP"] == pytest.approx(written_by_us[-1])
    assert trained.data.params["model.init_args.backbone"] == "test_resnet"
    assert "test/mAP" in tested.data.metrics
    assert "mlflow.user" not in trained.data.tags


def test_a_server_that_is_named_wins(config: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/all.db")
    asked: list[object] = []
    monkeypatch.setattr(mlflow_run, "MLflowRun", lambda *given: asked.append(given))
    run = mlflow_run.start_run(str(here / "a"), "test", False, os.environ["MLFLOW_TRACKING_URI"], "x")
    assert run is None
    assert len(asked) == len(runs_of(here / "all.db")) == 1
    assert not (here / "a/mlflow/runs.db").exists()


def test_what_mlflow_does_not_take_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    from mlflow.exceptions import MlflowException

    given: list[list[str]] = []

    class Client:
        def log_batch(self, run_id: str, metrics: list[object]) -> None:
            given.append([metric.key for metric in metrics])
            raise MlflowException("gone")

        def set_terminated(self, run_id: str, status: str) -> None:
            raise MlflowException(status)

    run = mlflow_run.MLflowRun(Client(), "id")
    run.log_metrics({"val_AP/exudate (hard)": 1.0, "val_AP/exudate [hard]": 1.0, "val_AP/Ödem": 1.0})
    run.finalize("failed")
    (names,) = given
    assert names == ["val_AP/exudate _28_hard_29_", "val_AP/exudate _5b_hard_5d_", "val_AP/Ödem"]
    assert [record.message.count("gone") for record in caplog.records] == [1]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_names_its_extra(name: str, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = util.find_spec
    monkeypatch.setattr(
        "ibca_lightning.run.loggers.named.find_spec", lambda asked: None if asked == name else found(asked)
    )
    for given in (name, f"[csv, {name}]"):
        refused(
            "fit", "--config", config, "--run_dir", "new", "--trainer.logger", given,
            names=(f"the package {name}", f"pip install 'ibca-lightning[{name}]'"),
        )  # fmt: skip
    extras = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert f"\n{name} = [" in extras


@pytest.mark.slow
def test_what_cannot_be_had_together(config: str) -> None:
    fit = ("fit", "--config", config, "--run_dir", "new", "--trainer.logger")
    refused(*fit, "wandb", names=("--wandb", "disabled"))
    refused(*fit, "[csv, mlflow]", "--hash_names", "--hash_key", "e.yaml", names=("hash_names", "mlflow"))
    refused(*fit, "[csv, tensorbord]", names=("trainer.logger", "did you mean tensorboard?"))


def test_a_run_of_before_finds_its_logger(config: str) -> None:
    before = "ibca_lightning.run.callbacks.tensorboard.RunTensorBoardLogger"
    assert class_paths(before) == [NAMES["trainer.logger"]["tensorboard"]]
    shown = done("fit", "--config", config, "--trainer.logger", before, "--print_config").out
    assert yaml.safe_load(shown)["trainer"]["logger"]["class_path"] == NAMES["trainer.logger"]["tensorboard"]
