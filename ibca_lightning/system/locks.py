"""One process at a time in an output folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ibca_lightning.system.errors import InputError

try:
    fcntl: Any = import_module("fcntl")
except ImportError:  # no such locks on this system
    fcntl = None


@contextmanager
def sole_user(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a folder for this process; the lock leaves no file, and ends with the process however that ends.

    Args:
        folder: It exists; or a file that stands for it. Where its file system has no such locks, nothing is locked.

    Raises:
        InputError: When another process has it.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"a folder {os.fspath(folder)} that nobody writes into", "another run that is still at it",
                "wait until it has ended, or give another --output",
            ) from None  # fmt: skip
        except OSError:  # network file systems
            pass
        yield
    finally:
        os.close(handle)
