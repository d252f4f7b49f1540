"""Where a run lives: chosen once, before anything is written, and never on top of another run."""

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from ibca_lightning.data.storage import is_remote
from ibca_lightning.run.command_line import at_once
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user


def choose_run_dir(asked: str | None, ckpt_path: str | None, config: Any, fit: bool = False) -> str:
    """The folder of this run.

    Args:
        asked: `--run_dir`; wins.
        ckpt_path: A checkpoint in `RUN/checkpoints/`: then RUN; not where it lies behind a URL.
        config: The parsed configuration; its first YAML names the experiment.
        fit: Whether the run trains: from a checkpoint that lies in no run it then starts a folder of its own.

    Returns:
        A path; by default `runs/<experiment>/<time>`.

    Examples:
        >>> from ibca_lightning.run.run_folder import choose_run_dir
        >>> choose_run_dir(None, ckpt_path="runs/mine/checkpoints/best.ckpt", config={})  # beside its model
        'runs/mine'
    """
    if asked:
        return asked
    if ckpt_path and not is_remote(ckpt_path) and (not fit or in_run(ckpt_path)):
        run = run_of(ckpt_path)
        return os.path.relpath(run) if run.is_relative_to(Path.cwd()) else str(run)
    by_time = os.path.join("runs", experiment_name(config), time.strftime("%Y-%m-%d_%H-%M-%S"))
    return next(name for name in _alike(by_time) if not os.path.exists(name))


def _alike(name: str) -> Iterator[str]:
    """A name, then others made of it: two runs may start in one second, and a clock may be put back."""
    return chain([name], (f"{name}-{n}" for n in count(2)))


def in_run(ckpt_path: str | None) -> bool:
    """Whether a checkpoint lies where a run puts its own; what lies beside another is not of its run."""
    return bool(ckpt_path) and Path(str(ckpt_path)).resolve().parent.name == "checkpoints"


def run_of(ckpt_path: str) -> Path:
    """The run folder of a checkpoint: where `checkpoints/` lies, or else the folder of the file."""
    folder = Path(ckpt_path).resolve().parent
    return folder.parent if folder.name == "checkpoints" else folder


def refuse_taken(run_dir: str) -> None:
    """Refuse a folder that holds a run; a child process of the same run meets what its parent has just begun."""
    if process_rank() == 0:
        at_once.refuse_taken(run_dir)


def claim(run_dir: str, patience: float = 10.0) -> ExitStack:
    """Hold a run folder, on rank 0, until what is returned is closed, so that no other run trains into it.

    Args:
        run_dir: The folder, which is there.
        patience: Seconds to wait for a run that is about to end.

    Raises:
        InputError: When another run holds the folder, or its file system has no locks.
    """
    claimed = ExitStack()
    if process_rank() == 0:
        fix = "wait for its end, or give another --run_dir"
        claimed.enter_context(sole_user(run_dir, patience, "another run that trains into it now", fix))
    return claimed


def process_rank() -> int:
    """The rank of this process, as far as it is known before the trainer is built."""
    return int(getattr(rank_zero_only, "rank", 0) or 0)


def create_run_dir(run_dir: str, own: bool = False) -> tuple[str, set[str] | None]:
    """Make the folder, on rank 0.

    Args:
        run_dir: As `choose_run_dir` chose it.
        own: Whether nobody asked for that name: a folder that another run has made since is then left to it, and this
            run gets one of a name alike.

    Returns:
        The folder, and the names that it already held; None where it is new.
    """
    before = set(os.listdir(run_dir)) if Path(run_dir).is_dir() else None
    if process_rank() != 0:
        return run_dir, before
    for name in _alike(run_dir):
        try:
            Path(name).mkdir(parents=True, exist_ok=not own)
        except OSError as error:
            if own and isinstance(error, FileExistsError):
                continue
            fix = "give another --run_dir"
            raise InputError(f"a folder to write at --run_dir {run_dir}", error.strerror, fix) from error
        return name, None if own else before
    raise AssertionError("the names never end")


@rank_zero_only
def remove_unstarted(run_dir: str, before: set[str] | None) -> bool | None:
    """Remove what a run that failed before its first checkpoint left, so that the mended command can be run again.

    Args:
        run_dir: The folder of the run.
        before: The names that it held; None where it was not there.

    Returns:
        Whether something was there and all of it is gone now; a broken disk may let nothing be removed.
    """
    path = Path(run_dir)
    if any(path.glob("checkpoints/*.ckpt")) or not path.is_dir():
        return False
    own = [path / name for name in set(os.listdir(path)) - (before or set())]
    for entry in own:
        with suppress(OSError):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    gone = bool(own) and not any(entry.exists() for entry in own)
    if before is None:
        for folder in (path, *path.parents):
            try:
                folder.rmdir()
            except OSError:  # it holds something else
                break
    return gone


def experiment_name(config: Any) -> str:
    """Name an experiment by its first YAML, or by its data where it has none."""
    for path in config.get("config") or []:
        stem = Path(str(path)).stem
        if stem != "config":
            return stem
    name = str(config.data.class_path).rpartition(".")[2].removesuffix("DataModule")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() or Path(sys.argv[0]).stem
