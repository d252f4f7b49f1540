"""Commands on data, pictures and checkpoints behind `s3://` say what they say of the same files here."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import Namespace

from ibca_lightning.run.lightning_cli import _as_trained
from ibca_lightning.run.relative_paths import relative_paths
from tests.command_line import done, experiment, ibca, rows, written
from tests.data.storage.servers import BUCKET, Front


@pytest.fixture
def remote_run(s3: Any, run: Path) -> str:
    s3.put(str(run / "checkpoints/best.ckpt"), f"{BUCKET}/run/checkpoints/best.ckpt")
    return f"s3://{BUCKET}/run/checkpoints/best.ckpt"


def test_check_fit_and_test(remote_tree: str, remote_run: str, run: Path, tree: Path, here: Path, front: Front):
    options = {"mask_dir": "masks", "cache": "disk", "cache_dir": str(here / "kept"), "num_workers": 1, "bit_depth": 8}
    config = written(here / "e.yaml", experiment(remote_tree, **options))  # type: ignore[arg-type]
    ibca("check", "--config", config, "--output", here / "checked")
    card = json.loads((here / "checked/check.json").read_text())
    assert card["picture_sizes"]
    assert remote_tree not in str([each for each in card["findings"] if each["level"] == "error"])
    done("fit", "--config", config, "--run_dir", here / "run")
    assert remote_tree in (here / "run/config.yaml").read_text()
    for file in here.rglob("*"):  # keys stay in the environment
        assert not file.is_file() or b"s3cr3t-of-the-test" not in file.read_bytes()
    front.asked.clear()
    done("fit", "--config", config, "--run_dir", here / "again", "--data.num_workers", 0)
    read = {path for method, path in front.asked if method == "GET" and "/images/" in path}
    assert not {path for path in read if path.endswith(tuple(ends_of_training(tree)))}  # kept with their etags
    plain = written(here / "plain.yaml", experiment(remote_tree))  # type: ignore[arg-type]
    done("test", "--config", plain, "--ckpt_path", remote_run, "--run_dir", here / "tested")
    ours, theirs = (json.loads((folder / "test_metrics.json").read_text()) for folder in (here / "tested", run))
    assert ours["metrics"]["mAP"] == pytest.approx(theirs["metrics"]["mAP"], abs=1e-6)
    assert rows(here / "tested/test_predictions.csv")[0]["id"] == rows(run / "test_predictions.csv")[0]["id"]


def test_predict_and_explain(remote_tree: str, remote_run: str, run: Path, tree: Path, here: Path, front: Front):
    for name, ckpt, root in (("far", remote_run, remote_tree), ("near", run / "checkpoints/best.ckpt", tree)):
        done("predict", "--ckpt_path", ckpt, "--images", f"{root}/images", "--output", here / name)
    far, near = (rows(here / name / "predictions.csv") for name in ("far", "near"))
    assert far == near
    assert json.loads((here / "far/predict.json").read_text())["images"] == [f"{remote_tree}/images"]
    one = written_list(here, [far[0]["id"]])
    done("explain", "--ckpt_path", remote_run, "--images", one, "--image_dir", f"{remote_tree}/images", "--output",
         here / "maps", "--mask_dir", f"{remote_tree}/masks")  # fmt: skip
    assert {path.suffix for path in (here / "maps").rglob("*.*")} == {".png", ".npz", ".csv", ".json"}
    assert [row["id"] for row in rows(here / "maps/explained.csv")] == [far[0]["id"]]
    # One that is gone is a row of failed.csv; a storage that fails is none, and ends the command.
    lost = written_list(here, [far[0]["id"], "a/gone.png"])
    result = ibca("predict", "--ckpt_path", remote_run, "--images", lost, "--image_dir", f"{remote_tree}/images",
                  "--output", here / "lost")  # fmt: skip
    assert (result.code, [row["id"] for row in rows(here / "lost/failed.csv")]) == (2, ["a/gone.png"])
    front.fault = lambda method, path: 503 if far[0]["id"].rpartition("/")[2] in path else None
    result = ibca("predict", "--ckpt_path", remote_run, "--images", lost, "--image_dir", f"{remote_tree}/images",
                  "--output", here / "down")  # fmt: skip
    assert result.code == 2
    assert len(result.errors) == 1
    assert "503 Service Unavailable" in result.err
    assert not (here / "down/failed.csv").exists()


def ends_of_training(tree: Path) -> list[str]:
    """The names of the pictures of the training split."""
    return [row["image"].rpartition("/")[2] for row in rows(tree / "train.csv")]


def written_list(folder: Path, names: list[str]) -> Path:
    path = folder / "list.csv"
    path.write_text("image\n" + "".join(f"{name}\n" for name in names))
    return path


def test_a_run_that_is_behind_a_url_is_gone_on_with_here(remote_tree: str, s3: Any, run: Path, here: Path):
    s3.put(str(run / "checkpoints/last.ckpt"), f"{BUCKET}/run/checkpoints/last.ckpt")
    config = written(here / "e.yaml", experiment(remote_tree))  # type: ignore[arg-type]
    last = f"s3://{BUCKET}/run/checkpoints/last.ckpt"
    done("fit", "--config", config, "--ckpt_path", last, "--run_dir", here / "run", "--trainer.max_epochs", 3)
    assert [int(row["epoch"]) for row in rows(here / "run/metrics.csv")][-1] == 2
    missing = ibca("test", "--config", config, "--ckpt_path", f"s3://{BUCKET}/none.ckpt")
    assert (missing.code, len(missing.errors)) == (2, 1)
    assert "a checkpoint file at s3://" in missing.err
    assert not [path for path in here.iterdir() if path.name.startswith("s3")]


def test_a_training_table_behind_a_url_is_there(remote_tree: str, here: Path):
    data = Namespace(root=remote_tree, train_csv="train.csv", label_space=None)
    _as_trained(data, None, "best.ckpt", fit=False)  # type: ignore[arg-type]
    assert data.label_space is None
    data.train_csv = "none.csv"
    _as_trained(data, None, "best.ckpt", fit=False)  # type: ignore[arg-type]
    assert data.label_space == "best.ckpt"
    # `train.csv` for short would be read in the bucket.
    paths = {"root": remote_tree, "train_csv": str(here / "train.csv"), "val_csv": str(here / "own.csv")}
    assert relative_paths(paths) == paths | {"val_csv": "own.csv"}


def test_a_root_that_is_refused_is_one_line(remote_tree: str, here: Path, front: Front):
    config = written(here / "e.yaml", experiment(remote_tree))  # type: ignore[arg-type]
    front.fault = lambda method, path: 403
    for command in ("fit", "check"):
        result = ibca(command, "--config", config)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert f"access to {remote_tree}" in result.err
        assert command == "check" or not (here / "runs").exists()
