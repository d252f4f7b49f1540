"""Processes of one run, of which one meets wrong input: who says so, and with which code the others end."""

import os
import re
import subprocess
import time

import lightning.pytorch as pl

from ibca_lightning.system.errors import InputError


def code_of_peer(error: Exception, trainer: pl.Trainer | None) -> int | None:
    """The exit code for an error that only says that another process is gone, which has said why; else None."""
    if not re.search(r"Connection (closed|reset) by peer", str(error)):
        return None
    try:
        codes = [process.wait(timeout=3) for process in _started(trainer)]
    except subprocess.TimeoutExpired:
        return None
    failed = next((code for code in codes if code), None)
    # A child cannot ask rank 0, whose exit code is the command's.
    return failed if failed is not None else 1 if os.environ.get("LOCAL_RANK", "0") != "0" else None


def silence_peers(trainer: pl.Trainer | None) -> None:
    """Rank 0 says what is wrong for all: the others, who may be about to say the same, do not outlive that."""
    for process in _started(trainer):
        process.kill()


def said_by_parent(error: Exception, parent: int, took: float) -> int | None:
    """The exit code of a process that Lightning started, where rank 0 met the same wrong input; else None.

    Rank 0 ends soon after it has said what is wrong; if it goes on, this process is the only one to know. How soon
    depends on how busy the machine is: rank 0 is given as many seconds as it `took` to come here, 5 to 60.
    """
    if not isinstance(error, InputError) or os.environ.get("LOCAL_RANK", "0") == "0":
        return None
    end = time.monotonic() + min(max(took, 5), 60)
    while time.monotonic() < end:
        if os.getppid() != parent:
            return 2
        time.sleep(0.1)
    return None


def _started(trainer: pl.Trainer | None) -> list[subprocess.Popen[bytes]]:
    """The processes that rank 0 started; of any other rank, none."""
    return list(getattr(trainer and trainer.strategy.launcher, "procs", None) or [])
