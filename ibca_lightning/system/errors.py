"""The one error a user is meant to see."""

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

_LONGEST = 1000  # characters of what was expected, of what came, and of what to do
_ROOM = "make room, or give another path"
_DISK = "see that the disk, or the connection to it, works, and give the same command again"
_OPEN = "raise the limit of open files (ulimit -n), or lower --data.num_workers"
# What the disk or the system refuses, wherever it is met, and what to do.
_REFUSALS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM), _ROOM),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP), _ROOM),
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or give a path on another file system",
    errno.EINVAL: "give a regular file, or another path",
    **dict.fromkeys((errno.EIO, errno.ESTALE), _DISK), **dict.fromkeys((errno.EMFILE, errno.ENFILE), _OPEN),
}  # fmt: skip


class InputError(Exception):
    """Wrong input or configuration: what was expected, what came, what to do.

    The command line prints it as one line, `error: <expected>, got <got>; <fix>`, and exits with 2.

    Args:
        expected: What would have been right, with the file, row, column or key it concerns.
        got: What came instead.
        fix: What the user can do about it.
        further: What else is wrong in the same way, for `ibca check`, which lists everything.
    """

    def __init__(self, expected: str, got: object = None, fix: str = "", further: Sequence["InputError"] = ()) -> None:
        self.expected, self.got, self.fix, self.further = expected, str(got), fix, tuple(further)
        shown = [shortened(part) for part in (expected, self.got, fix)]
        # A DataLoader raises a worker's exception again with its whole traceback as the only argument.
        text = f"{shown[0]}, got {shown[1]}; {shown[2]}" if fix else expected.rsplit("InputError: ", 1)[-1]
        super().__init__(" ".join(text.split()))

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str, tuple["InputError", ...]]]:
        """Survive the pickling that carries an exception out of a DataLoader worker."""
        return (type(self), (self.expected, self.got, self.fix, self.further))


def shortened(text: str) -> str:
    """A path, a cell or a shape may have any length; a line, or a row of `failed.csv`, that names it may not."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"


def first_of(names: Sequence[str], most: int) -> str:
    """The first of some names for a line, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def doubled(names: Iterable[str]) -> list[str]:
    """Those of some names that stand there more than once, each one time, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


class PictureError(InputError):
    """One picture, or its mask, cannot be used: what `on_bad_image: skip` may pass over."""


class DataWarning(UserWarning):
    """Data that may be meant otherwise than they are read, as `what; what to do`; `ibca check` lists it."""


class NonFiniteError(RuntimeError):
    """Training or evaluation met a NaN or an infinity and stopped before it could spoil a checkpoint or a figure."""


class DisagreementError(RuntimeError):
    """An exported model answers otherwise than its checkpoint, so no file of it was left."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, one after the other."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def input_error_behind(error: BaseException) -> InputError | None:
    """The wrong input behind an error: itself, or what another library wrapped; None where there is none."""
    return next((cause for cause in causes(error) if isinstance(cause, InputError)), None)


def refusal(error: BaseException) -> InputError | None:
    """What the disk or the system refused, with the path where that is known; None for any other error.

    A worker process, and torch where it opens files for one, hand on the text alone.
    """
    number, path, said = (getattr(error, name, None) for name in ("errno", "filename", "strerror"))
    if isinstance(error, OSError) and number is None and (told := re.findall(r"\[Errno (\d+)\]([^\n]*)", str(error))):
        number, path = int(told[-1][0]), told[-1][1].rpartition(": ")[2].strip("'") if ": " in told[-1][1] else None
    if isinstance(error, RuntimeError) and re.search("Too many open files|items of ancdata", str(error)):
        number = errno.EMFILE
    if not isinstance(number, int) or number not in _REFUSALS:
        return None
    place = f" at {os.fsdecode(path)}" if isinstance(path, str | bytes | os.PathLike) and path else ""
    return InputError(f"a file to read or write{place}", said or os.strerror(number), _REFUSALS[number])
