"""What is refused before anything dear is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from ibca_lightning.run.command_line.at_once import refuse_at_once
from ibca_lightning.system.errors import InputError
from tests.command_line import refused


@pytest.fixture
def taken(here: Path) -> None:
    """A run, and the YAML of an experiment."""
    (here / "old" / "checkpoints").mkdir(parents=True)
    (here / "old" / "checkpoints" / "last.ckpt").touch()
    (here / "e.yaml").write_text("data: {class_path: CSVDataModule}\n")


@pytest.mark.usefixtures("taken")
def test_a_taken_folder_and_a_folder_for_a_yaml_are_refused_without_torch(here: Path) -> None:
    code = (
        "import sys\nfrom ibca_lightning.cli import main\n"
        "for given in (['e.yaml', '--run_dir', 'old'], ['--config', 'old']):\n"
        "    assert main(['fit', *given]) == 2\n"
        "    assert not {'torch', 'lightning', 'timm'} & set(sys.modules), given\n"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    first, second = end.stderr.splitlines()
    assert first.startswith("error: --run_dir old without a run, got checkpoints of an earlier one; give another")
    assert first.endswith("or go on with --ckpt_path old/checkpoints/last.ckpt")
    assert second.startswith("error: a YAML file at --config old, got a folder; name the YAML of an experiment")


@pytest.mark.usefixtures("taken")
def test_a_run_that_goes_on_and_a_process_of_a_run_are_left_to_the_parser(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--config=e.yaml", "--run_dir=old"]
    with pytest.raises(InputError, match="without a run"):
        refuse_at_once("fit", given)
    refuse_at_once("test", given)
    refuse_at_once("fit", [*given, "--ckpt_path", "old/checkpoints/last.ckpt"])
    (here / "goes_on.yaml").write_text("ckpt_path: old/checkpoints/last.ckpt\n")
    refuse_at_once("fit", [*given, "--config", "goes_on.yaml"])
    monkeypatch.setenv("LOCAL_RANK", "1")
    refuse_at_once("fit", given)


def test_a_folder_where_a_yaml_was_meant(here: Path) -> None:
    for name in ("skin", "eyes", "endo"):
        (here / name).mkdir()
    for name in ("skin.yaml", "eyes/b.yml", "eyes/a.yaml", "lung.yaml"):
        (here / name).touch()
    for given, said in (
        ("skin", "got a folder; did you mean skin.yaml?"),
        ("./skin/", "got a folder; did you mean skin.yaml?"),
        ("eyes", "got a folder; name one that it holds: eyes/a.yaml, eyes/b.yml"),
        ("lung", "got lung; did you mean lung.yaml?"),
    ):
        assert said in refused("fit", given, names=()).errors[0]
    refuse_at_once("fit", ["--config", "endo"])  # a recipe's name wins over a folder
