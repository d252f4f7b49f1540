"""Files that are written whole or not at all."""

import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ibca_lightning.system.errors import InputError


@contextmanager
def whole(path: str | os.PathLike[str], durable: bool = False) -> Iterator[Path]:
    """Write beside the file and put it in place at the end, whatever fails or runs at the same time.

    Args:
        path: The file; its folder is made.
        durable: Wait until the disk has it, so that it also outlives the machine.

    Yields:
        A path to write to, which has another beginning and the same end.

    Raises:
        OSError: When it cannot be written there; an earlier file is then as it was.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from ibca_lightning.system.whole_files import whole
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "figures.json")
        ...     with whole(path) as part:
        ...         _ = part.write_text("{}")
        ...         path.exists()  # not before it is whole
        ...     path.read_text()
        False
        '{}'
    """
    path = Path(path)
    part = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")  # threads may write one file at the same time
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if durable:
            _sync(part)
        part.replace(path)
        if durable:
            _sync(path.parent)
    finally:
        with suppress(OSError):
            part.unlink()


def remove_parts(folder: str | os.PathLike[str]) -> None:
    """Remove what `whole` leaves in a folder when its process is killed; nobody else may be writing there."""
    for part in Path(folder).glob(".*"):
        if re.fullmatch(r"\.[0-9a-f]{8}\..+", part.name):
            with suppress(OSError):
                part.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write an output of a command as `whole` does.

    Args:
        path: The file.
        write: Writes to the path that it is given.

    Raises:
        InputError: When it cannot be written there.
    """
    try:
        with whole(path) as part:
            write(part)
    except OSError as error:
        raise InputError(f"a file to write at {path}", error.strerror, "give another --output, or make room") from error
