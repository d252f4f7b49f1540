"""`--hash_names` for a whole run, and paths of its configuration."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibca_lightning.run.callbacks.run_config import SaveRunConfig
from ibca_lightning.run.relative_paths import relative_paths
from ibca_lightning.system.hashed_names import HashedNames
from tests.command_line import contents, done, experiment, ibca, refused, rows, written
from tests.run.test_privacy import Recorder, named

KEY = b"0123456789abcdef"


@pytest.mark.slow
def test_no_name_is_in_what_a_run_writes(tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loggers: list[Recorder] = []
    given: list[tuple[object, ...]] = []

    def make(*arguments: object) -> Recorder:
        loggers.append(Recorder())
        given.append(arguments)
        return loggers[-1]

    monkeypatch.setattr("ibca_lightning.run.lightning_cli.wandb_logger", make)
    Path("key").write_bytes(KEY)
    shutil.copytree(tree, here / "data")
    names = named(here / "data")
    config = written(here / "e.yaml", experiment(here / "data", subgroup_columns=["sex"]))
    hashed = ("--hash_names", "--hash_key", "key")
    done("fit", "--config", config, "--run_dir", "run", "--wandb", "online", "--log_images", "true", *hashed)
    done("test", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt", "--wandb", "online")
    done("validate", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt", "--wandb", "disabled")
    done("report", "run")
    files = contents(Path("run"))
    assert [name for name in files if "attention/test_" in name]
    found = {(name, file) for name in names for file, data in files.items() if name in file or name.encode() in data}
    assert not found
    assert not [file for file, data in files.items() if str(here).encode() in data]
    rename = HashedNames(KEY)
    ids = {rename(row["image"]) for row in rows(Path("data/test.csv"))}
    assert {row["id"] for row in rows(Path("run/test_predictions.csv"))} == ids
    patients = {rename(row["patient"]) for row in rows(Path("data/test.csv"))}
    assert {row["group"] for row in rows(Path("run/test_groups.csv"))} == patients
    assert {row["id"] for row in rows(Path("run/splits.csv")) if row["split"] == "test"} == ids
    assert {Path(name).stem.removeprefix("test_") for name in files if "attention/test_" in name} <= ids
    said = repr([(logger.given, logger.sent) for logger in loggers])
    assert not [name for name in (*names, str(here)) if name in said]
    assert [arguments[-1] for arguments in given] == [True, True]  # the command is kept from wandb
    # The splits are read again with the key, and with it alone.
    config = written(Path("again.yaml"), experiment(Path("data"), splits="run/splits.csv"))
    again = ("fit", "--config", config)
    done(*again, "--run_dir", "again", *hashed)
    assert Path("again/splits.csv").read_bytes() == files["splits.csv"]
    _others_hash_too(Path("again"), names, rename)
    refused(*again, "--run_dir", "other", names=("run/splits.csv",))
    refused(*again, "--run_dir", "other", "--hash_key", "key", names=("--hash_names beside --hash_key",))


def _others_hash_too(run: Path, names: list[str], rename: HashedNames) -> None:
    """The other commands on a hashed run: its `splits.csv` is read, nothing that they write holds a name."""
    config, checkpoint = run / "config.yaml", ("--ckpt_path", run / "checkpoints/best.ckpt")
    damaged = Path("data/images", rows(Path("data/train.csv"))[0]["image"])
    sound = damaged.read_bytes()
    damaged.write_bytes(sound[:100])
    assert ibca("check", "--config", config, "--output", "check", "--num_workers", "1", "--no_images").code == 2
    assert rename(rows(Path("data/train.csv"))[0]["image"]) in Path("check/check.json").read_text()
    damaged.write_bytes(sound)
    done("maps", "--config", config, "--output", "maps", "--views", "1")
    done("faithfulness", "--config", config, *checkpoint, "--pairs", "2", "--steps", "2", "--output", "faithful")
    for folder in map(Path, ("check", "maps", "faithful")):
        files = contents(folder)
        assert files
        assert not [(name, file) for name in names for file, data in files.items() if name.encode() in data]
    ids = [json.loads(line)["id"] for line in Path("maps/train.rows.jsonl").read_text().splitlines()]
    assert set(ids) == {row["id"] for row in rows(run / "splits.csv") if row["split"] == "train"}
    # A report shows what the run drew; with the key it finds the pictures themselves, by their hashes all the same.
    done("test", "--config", config, *checkpoint)
    said = done("report", run)
    assert "--hash_names (and --hash_key FILE) finds them" in said.out
    page = (run / "report.html").read_text()
    drawn = [path.stem for path in run.glob("attention/*.png")]
    assert drawn
    assert all(name in page for name in drawn)
    said = done("report", run, "--hash_names", "--hash_key", "key")
    page = (run / "report.html").read_text()
    assert "not shown" not in said.out
    assert page.count(" cells") > 2, "of its heat maps"
    assert not [name for name in names if name in page]


def test_paths_that_lead_elsewhere_are_not_told_to_a_logger(here: Path) -> None:
    class Parser:
        def dump(self, config: Any, **_: Any) -> str:
            return yaml.safe_dump(config)

    class Trainer:
        loggers = (Recorder(),)

    config = {"data": {"root": "/srv/clinic", "image_size": 8}, "weights": str(here / "w.pth")}
    for hide, root in ((True, "PATH"), (False, "/srv/clinic")):
        saved: Any = SaveRunConfig(Parser(), _Config(config), "run", hide)  # type: ignore[arg-type]
        saved.save_config(Trainer(), None, "test")
        assert Trainer.loggers[0].given[-1][0][0]["data"] == {"root": root, "image_size": 8}
        assert Trainer.loggers[0].given[-1][0][0]["weights"] == "w.pth"


def test_a_configuration_used_from_elsewhere_says_where_its_paths_are_seen_from(here: Path) -> None:
    config = written(here / "e.yaml", experiment(Path("clinic")))
    for command in (("fit",), ("maps", "--output", "m")):
        said = (
            "clinic, seen from the current folder",
            "or go to the folder that the configuration's paths are seen from",
        )
        refused(*command, "--config", config, names=said)


class _Config(dict[str, Any]):
    def clone(self) -> dict[str, Any]:
        return dict(self)


def test_paths_below_the_current_folder_are_written_relative(here: Path) -> None:
    root = here / "clinic/data"
    given = {
        "model": {"init_args": {"checkpoint_path": str(here / "w.pth"), "init_from": "/elsewhere/w.ckpt", "n": 3}},
        "data": {
            "root": str(root), "image_dir": str(root / "images"), "train_csv": str(root / "a.csv"),
            "val_csv": str(here / "lists/v.csv"), "test_csv": "t.csv", "cache_dir": str(here / "cache"),
            "own_key": str(here / "x"), "classes": ["a"],
        },
        "list": [str(here / "y"), {"z": str(here)}],
    }  # fmt: skip
    assert relative_paths(given) == {
        "model": {"init_args": {"checkpoint_path": "w.pth", "init_from": "/elsewhere/w.ckpt", "n": 3}},
        "data": {
            "root": "clinic/data", "image_dir": "images", "train_csv": "a.csv", "val_csv": "lists/v.csv",
            "test_csv": "t.csv", "cache_dir": "cache", "own_key": str(here / "x"), "classes": ["a"],
        },
        "list": ["y", {"z": "."}],
    }  # fmt: skip
    assert relative_paths(given["data"] | {"root": "/elsewhere"})["image_dir"] == str(root / "images")
    assert os.path.isabs(relative_paths(str(here.parent)))
    (root / "lists").mkdir(parents=True)
    (root / "lists/v.csv").touch()
    assert relative_paths(given)["data"]["val_csv"] == str(here / "lists/v.csv"), "as lists/v.csv it would be another"
