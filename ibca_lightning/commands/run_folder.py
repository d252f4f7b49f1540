"""Where a run lives: chosen once, before anything is written, and never on top of another run."""

import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from ibca_lightning.errors import InputError


def choose_run_dir(asked: str | None, ckpt_path: str | None, config: Any) -> str:
    """The folder of this run.

    Args:
        asked: `--run_dir`; wins.
        ckpt_path: A checkpoint in `RUN/checkpoints/`: then RUN.
        config: The parsed configuration; its first YAML names the experiment.

    Returns:
        A path; by default `runs/<experiment>/<time>`.
    """
    if asked:
        return asked
    if ckpt_path:
        folder = Path(ckpt_path).resolve().parent
        run = folder.parent if folder.name == "checkpoints" else folder
        return os.path.relpath(run) if run.is_relative_to(Path.cwd()) else str(run)
    return os.path.join("runs", _experiment(config), time.strftime("%Y-%m-%d_%H-%M-%S"))


def refuse_taken(run_dir: str) -> None:
    """Refuse a folder that holds a run.

    Raises:
        InputError: Where there is one, or where the path is a file.
    """
    path = Path(run_dir)
    if path.exists() and not path.is_dir():
        raise InputError(f"--run_dir {run_dir} to be a folder", "a file", "give another --run_dir")
    taken = [name for name in ("config.yaml", "checkpoints", "metrics.csv") if (path / name).exists()]
    # A child process of the same run meets the folder that its parent has just begun.
    if taken and _rank() == 0:
        raise InputError(
            f"--run_dir {run_dir} without a run", f"{', '.join(taken)} of an earlier one",
            f"give another --run_dir, or go on with --ckpt_path {path / 'checkpoints' / 'last.ckpt'}",
        )  # fmt: skip


def _rank() -> int:
    return int(getattr(rank_zero_only, "rank", 0) or 0)


@rank_zero_only
def create_run_dir(run_dir: str) -> None:
    """Make the folder.

    Raises:
        InputError: When it cannot be made or written to.
    """
    try:
        Path(run_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"a folder to write at --run_dir {run_dir}", error.strerror, "give another --run_dir"
        ) from error
    if not os.access(run_dir, os.W_OK):
        raise InputError(f"a folder to write at --run_dir {run_dir}", "a read-only one", "give another --run_dir")


def _experiment(config: Any) -> str:
    for path in config.get("config") or []:
        stem = Path(str(path)).stem
        if stem != "config":
            return stem
    name = str(config.data.class_path).rpartition(".")[2].removesuffix("DataModule")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() or Path(sys.argv[0]).stem
