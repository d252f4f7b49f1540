"""`~` and `$VARIABLE` in a path, on the command line and in YAML, in this process and in Python."""

import os
from pathlib import Path

import pytest

import ibca_lightning
from ibca_lightning.data import CSVDataModule
from ibca_lightning.run.command_line.home import at_home, options_at_home
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, refused, rows, written


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


def test_where_a_variable_has_its_value(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RUNS": "/r", "JOB": "7", "COST": "no"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NONE", raising=False)
    given = {
        "$RUNS/x": "/r/x", "${RUNS}/x": "/r/x", "$RUNS": "/r", "/s/$JOB/run_${JOB}": "/s/7/run_7",
        "~/$JOB": f"{home}/7", "s3://b/$JOB/x?$NONE=1": "s3://b/7/x?$NONE=1",
        "a$JOB": "a$JOB", "x/$": "x/$", "$5": "$5", "us$/x": "us$/x",
    }  # fmt: skip
    assert at_home({"a": list(given), "b_columns": ["$COST", "a/$NONE"]}) == {
        "a": list(given.values()), "b_columns": ["$COST", "a/$NONE"],
    }  # fmt: skip
    assert options_at_home(["fit", "--a=$RUNS/x", "--b", "${JOB}/y", "--group_column", "$COST", "[$NONE/x]"]) == [
        "fit", "--a=/r/x", "--b", "7/y", "--group_column", "$COST", "[$NONE/x]",
    ]  # fmt: skip
    Path("$NONE").mkdir()
    assert at_home("$NONE") == "$NONE", "it is there"


@pytest.mark.parametrize("path", ["$NONE/r", "${NONE}/r", "$NONE", "/scratch/$NONE/r"])
def test_a_variable_without_a_value_is_refused_in_one_line(path: str, here: Path) -> None:
    said = f"a value of the variable NONE in {path}, got none; export NONE"
    refused("predict", "--ckpt_path", "x.ckpt", f"--output={path}", names=(said,))
    with pytest.raises(InputError, match="NONE"):
        at_home({"run_dir": path})


@pytest.mark.slow
def test_paths_of_a_run_and_of_what_is_done_with_it(home: Path, here: Path) -> None:
    config = experiment(Path("~/data"), cache="disk", cache_dir="$HOME/cache")
    written(home / "e.yaml", config | {"run_dir": "${HOME}/runs/a"})
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


@pytest.mark.parametrize("option", ["--classes", "--data.sites", "--wandb_project", "--data.label_columns"])
def test_names_are_no_paths(option: str) -> None:
    assert options_at_home([option, "HER2/$neu", "$score"]) == [option, "HER2/$neu", "$score"]
    assert at_home({option.rpartition(".")[2].lstrip("-"): ["HER2/$neu"]}) == {
        option.rpartition(".")[2].lstrip("-"): ["HER2/$neu"]
    }


def test_python_takes_paths_as_the_command_line_does(
    run: Path, tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNS", str(run.parent))
    monkeypatch.setenv("HOME", str(run.parent))
    monkeypatch.delenv("NONE", raising=False)
    monkeypatch.setenv("PICTURES", str(tree / "images"))
    name = rows(tree / "train.csv")[0]["image"]
    for place in ("$RUNS/run", "${RUNS}/run", "~/run"):
        checkpoint = f"{place}/checkpoints/best.ckpt"
        model = ibca_lightning.load(checkpoint)
        assert ibca_lightning.MultiLabelModule.load_from_checkpoint(checkpoint).class_names == model.spec.class_names
        assert model.predict(f"$PICTURES/{name}").probabilities is not None
        assert ibca_lightning.history(place).index.tolist() == [0, 1]
        assert ibca_lightning.explain(checkpoint, f"$PICTURES/{name}").width > 0
    for use in (ibca_lightning.load, ibca_lightning.history, ibca_lightning.report):
        with pytest.raises(InputError, match=r"a value of the variable NONE in .*, got none; export NONE"):
            use("$NONE/run")
    with pytest.raises(InputError, match=r"nothing there; give os\.path\.expanduser\(os\.path\.expandvars"):
        CSVDataModule("$RUNS/nowhere").setup("fit")
