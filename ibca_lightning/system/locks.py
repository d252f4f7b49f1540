"""One process at a time in an output folder, or at a file.

The locks are those of the system, on an open file, by `filelock` (whose `FileLock` has hooks on each fork, and so on
each start of data workers): they end with the process, however that ends. What is locked is a file, open for writing:
on NFS and Lustre a lock on the folder itself is one of this machine alone, which no other sees.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

from ibca_lightning.system.errors import InputError

_NAME = ".lock"
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EBADF})


class HeldError(InputError):
    """Another process has it."""


@contextmanager
def sole_user(
    path: str | os.PathLike[str], patience: float = 0.0, other: str = "another run that is still at it",
    fix: str = "wait until it has ended, or give another --output",
) -> Iterator[None]:  # fmt: skip
    """Keep a folder, or a file, for this process.

    Args:
        path: A folder, by a file `.lock` that is in it meanwhile; or a file, which is made if it is not there.
        patience: Seconds to wait for another process.
        other: Who has it, where another has.
        fix: What to do then.

    Raises:
        HeldError: When another process has it.
        InputError: When its file system has no locks: nobody may write there without.
    """
    path = Path(path)
    folder = path.is_dir()
    file = path / _NAME if folder else path
    end = time.monotonic() + patience
    while (handle := _taken(file)) is None:
        if time.monotonic() >= end:
            what = "folder" if folder else "file"
            raise HeldError(f"a {what} {path} that nobody writes into", other, fix)
        time.sleep(0.05)
    try:
        yield
    finally:
        if folder:
            file.unlink(missing_ok=True)
        unlock_descriptor(handle)  # forked data workers that still end have it open too
        os.close(handle)


def _taken(file: Path) -> int | None:
    """The descriptor of a file that is locked now; None where another process has it."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # One that was removed before it was locked is no more the file that others lock.
        if lock_descriptor(handle, blocking=False) and os.fstat(handle).st_nlink:
            return handle
    except (OSError, NotImplementedError) as error:
        os.close(handle)
        raise _without_locks(file, error) from None
    os.close(handle)
    return None


@contextmanager
def locked(file: int, path: str) -> Iterator[None]:
    """Keep other processes from an open file for a moment; wait for them. The path is for messages.

    Raises:
        InputError: When its file system has no locks.
    """
    try:
        lock_descriptor(file, poll_interval=0.002)
    except (OSError, NotImplementedError) as error:
        raise _without_locks(path, error) from None
    try:
        yield
    finally:
        unlock_descriptor(file)


def _without_locks(path: str | os.PathLike[str], error: Exception) -> Exception:
    """What to raise for a lock that failed: wrong input where the file system has none, else the error itself."""
    if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
        return error
    reason = getattr(error, "strerror", None) or type(error).__name__
    fix = "use another disk, or have that one mounted with locks (Lustre: -o flock): without, two runs would spoil "
    fix += "each other's files"
    return InputError(f"a file system that locks files (flock) at {os.fspath(path)}", reason, fix)
