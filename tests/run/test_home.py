"""`~` in front of a path, on the command line and in YAML, in this process and in Python."""

import os
from pathlib import Path

import pytest

import ibca_lightning
from ibca_lightning.run.command_line.home import at_home, options_at_home
from tests.command_line import done, experiment, written


@pytest.fixture
def home(tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the data of `tree` below it."""
    folder = here.parent / "home"
    folder.mkdir()
    (folder / "data").symlink_to(tree)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_where_a_tilde_is_home(home: Path) -> None:
    assert options_at_home(["fit", "--a=~/x", "-c", "~/y", "--b=[~/z]", "a~", "x=~/y"]) == [
        "fit", f"--a={home}/x", "-c", f"{home}/y", "--b=[~/z]", "a~", "x=~/y",
    ]  # fmt: skip
    assert at_home({"a": ["~/x", 3, {"b": "~"}], "c": "d~/"}) == {"a": [f"{home}/x", 3, {"b": str(home)}], "c": "d~/"}


@pytest.mark.slow
def test_paths_of_a_run_and_of_what_is_done_with_it(home: Path, here: Path) -> None:
    config = experiment(Path("~/data"), cache="disk", cache_dir="~/cache")
    written(home / "e.yaml", config | {"run_dir": "~/runs/a"})
    done("fit", "--config=~/e.yaml")
    checkpoint = "~/runs/a/checkpoints/best.ckpt"
    done("test", "--config=~/runs/a/config.yaml", f"--ckpt_path={checkpoint}")
    done("predict", f"--ckpt_path={checkpoint}", "--images=~/data/images", "--output=~/predicted")
    done("report", "~/runs/a", "--output=~/report.html", "--no_images")
    config["model"]["init_args"]["init_from"] = checkpoint
    written(home / "f.yaml", config)
    done("fit", "--config=~/f.yaml", "--run_dir=~/runs/b", "--trainer.fast_dev_run", "true")
    ibca_lightning.load(checkpoint)
    assert os.listdir(here) == []
    assert {path.name for path in home.iterdir()} >= {"runs", "cache", "predicted", "report.html"}
