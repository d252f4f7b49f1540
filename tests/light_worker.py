"""A worker of `ibca_lightning.search.jobs` without torch, for the tests of what holds for any worker."""

import os
import signal
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from ibca_lightning.search import jobs


def work(connection: Connection, gpus: str | None) -> None:
    """Does what the first step of a job says, and tells in the error which process did it."""
    while True:
        try:
            folder, steps = connection.recv()
        except EOFError:
            return
        if steps[0][1] == ["die"]:
            held = get_context("spawn").Semaphore()  # noqa: F841 - nobody gives it back
            os.kill(os.getpid(), signal.SIGKILL)
        if steps[0][1] == ["warn"]:
            Path(folder, "log.txt").write_text("$ ibca fit\nwarning: a leak\nepoch 1\nwarning: a leak\n")
        connection.send((3 if steps[0][1] == ["refuse"] else 0, f"by {os.getpid()}", 1.0))


def fit(connection: Connection, gpus: str | None) -> None:
    """Does each job as a worker does, with a stand-in for `ibca fit`."""
    while True:
        try:
            folder, steps = connection.recv()
        except (EOFError, OSError):
            return
        connection.send((*jobs._run(Path(folder), steps, _fitted), 1.0))


def _fitted(arguments: list[str]) -> int:
    """Scores 1 less a thousandth a trial, and from trial 5 on trains badly until it is stopped, or for a minute."""
    given = dict(a.removeprefix("--").split("=", 1) for a in arguments if "=" in a)
    run = Path(given["run_dir"])
    number = int(run.name.rpartition("-")[2])
    score = 0.9 - number / 1000 if number < 5 or "STEADY" in os.environ else 0.1
    (run / "config.yaml").write_text("model: {optimizer: {lr: 0.003}}\n")
    (run / "metrics.csv").write_text(f"val/mAP\n{score / 2}\n{score}\n")
    if "STEADY" in os.environ:
        time.sleep(0.2)
    elif number >= 5:
        signal.signal(signal.SIGTERM, _stopped)
        try:
            time.sleep(60)
        except InterruptedError:
            return 143
    return 0


def _stopped(number: int, frame: object) -> None:
    raise InterruptedError
