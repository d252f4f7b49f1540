"""The package as `pip install` gives it: built, installed into an environment of its own, used from an empty folder."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.command_line import REPOSITORY
from tests.start import raw_sets

_SMALL = (
    "--model.backbone", "test_resnet", "--model.pretrained", "false", "--trainer.max_epochs", "1",
    "--data.image_size", "32", "--data.num_workers", "0",
)  # fmt: skip


@pytest.mark.slow
def test_the_wheel_alone_runs_the_first_commands_of_the_readme(tmp_path: Path) -> None:
    """Nothing is downloaded: what the package stands on is taken from this environment, the package is not."""

    def run(*command: str | Path, code: int = 0, **environment: str) -> str:
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        result = subprocess.run(
            [str(part) for part in command],
            check=False,
            capture_output=True,
            text=True,
            cwd=here,
            env=own | environment,
        )
        assert result.returncode == code, result.stderr
        return result.stdout + result.stderr

    here = tmp_path / "empty"
    here.mkdir()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
    run(*pip, "wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index", "-w", tmp_path, REPOSITORY,
        PYTHONPATH=os.environ.get("PYTHONPATH", ""))  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    packages = Path(run(venv / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(*pip, "--python", venv / "bin/python", "install", "-q", "--no-deps", "--no-index", wheel)
    # Behind the packages of the environment; a plain line runs no .pth of that folder, so no editable checkout is seen.
    (packages / "rest.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")

    ibca = venv / "bin/ibca"
    where = run(venv / "bin/python", "-c", "import ibca_lightning; print(ibca_lightning.__file__)")
    assert where.startswith(str(packages))
    assert "usage: ibca COMMAND" in run(ibca, "--help")
    assert {"derm7pt", "scm", "endo"} <= {*run(ibca, "list").split()}
    raw_sets.eyes(tmp_path)
    run(
        ibca,
        "init",
        "--table",
        tmp_path / "eyes.tsv",
        "--images",
        tmp_path / "fundus",
        "--output",
        "eyes.yaml",
        "--yes",
    )
    assert "DR grade 1" in run(ibca, "check", "--config", "eyes.yaml", "--num_workers", "0")
    run(ibca, "fit", "--config", "eyes.yaml", "--run_dir", "run", *_SMALL)
    assert (here / "run/checkpoints/best.ckpt").is_file()
    said = run(ibca, "check", "--config", "derm7pt", "--data.root", "nowhere", code=2)
    assert "nowhere" in said  # the recipe is found, its data are not
    assert "spaces.yaml" in {path.name for path in (packages / "ibca_lightning/experiments").iterdir()}
