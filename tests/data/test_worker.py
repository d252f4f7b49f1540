"""Worker processes end with the process that started them."""

import gc
import multiprocessing
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from ibca_lightning.data.loader import make_loader
from ibca_lightning.system.errors import InputError
from tests.command_line import REPOSITORY

# A module keeps the iterator alive to the end, so that torch itself does not send its workers home.
SCRIPT = """
import sys
from ibca_lightning.data.loader import make_loader

class Rows(list):
    def __getitem__(self, at):
        return {"index": at}

loader = make_loader(Rows(range(8)), batch_size=2, num_workers=2)
sys.kept = iter(loader)
print(next(sys.kept)["index"].tolist())
"""


@pytest.mark.slow
def test_workers_that_are_left_do_not_keep_their_process_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=240, cwd=REPOSITORY, check=False
    )
    assert done.stdout == "[0, 1]\n", done.stderr
    assert done.returncode == 0


class Bad(list[int]):
    def __getitem__(self, at: int) -> Any:
        try:
            return {}[at]
        except KeyError as error:
            raise InputError("a row", "junk", "mend it") from error


def _read(reading: Iterable[Any], failing: Iterable[Any]) -> None:
    next(iter(reading))
    with pytest.raises(InputError):
        next(iter(failing))


def test_an_error_keeps_no_worker_alive() -> None:
    gc.disable()  # a circle of error and frame would only be found by it
    try:
        before = {child.pid for child in multiprocessing.active_children()}
        for workers in (2, 0):  # the error of a loader without workers held the other loader of this frame
            reading = make_loader(list(range(8)), batch_size=2, num_workers=2)  # type: ignore[arg-type]
            failing = make_loader(Bad(range(8)), batch_size=2, num_workers=workers)  # type: ignore[arg-type]
            _read(reading, failing)
            del reading, failing
            assert {child.pid for child in multiprocessing.active_children()} <= before
    finally:
        gc.enable()
