"""Files that are written whole or not at all: every file that a program reads later goes through here."""

import csv
import io
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ibca_lightning.system.errors import InputError, refusal


@contextmanager
def whole(path: str | os.PathLike[str], durable: bool = False) -> Iterator[Path]:
    """Write beside the file, and put it in place at the end; where that fails an earlier file stays as it was.

    Args:
        path: The file; its folder is made.
        durable: Wait until the disk has it, so that it also outlives the machine.

    Raises:
        InputError: Where a pipe or a device is, such as `/dev/stdout`.

    Yields:
        A path to write to, which has another beginning and the same end.
    """
    path, part = Path(path), _part(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"a file to write at {path}", "a pipe or a device", "give another path")
    try:
        with naming(path, part):
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


@contextmanager
def naming(path: str | os.PathLike[str], part: str | os.PathLike[str] = "") -> Iterator[None]:
    """Let an error of the disk name the file, which that of a write does not, in place of none or of its part."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, os.fspath(part)):
            error.filename = os.fspath(path)
        raise


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a new folder likewise; where it is made meanwhile by another process, that one stays."""
    path, part = Path(path), _part(path)
    try:
        part.mkdir(parents=True)
        yield part
        try:
            part.rename(path)
        except OSError:
            if not path.is_dir():  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def whole_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Write UTF-8 text as `whole` does, line ends as they are given; a name that is no UTF-8 is shown by escapes."""
    with whole(path) as part, part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        yield file


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text, whole or not at all."""
    with whole_text(path) as file:
        file.write(text)


def write_png(path: str | os.PathLike[str], pixels: Any) -> None:
    """Write a picture (h, w, 3) uint8 RGB as PNG, whole or not at all; a large one in half of the time of Pillow."""
    import cv2  # not above: much that needs no pictures imports this module

    done, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 4])
    assert done
    with whole(path) as part:
        part.write_bytes(bytes(data))


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write plain data as JSON, whole or not at all; NaN is an error, for JSON has none."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | os.PathLike[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows as CSV, whole or not at all."""
    with whole_text(path) as file:
        file.writelines(csv_lines(rows))


def csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Rows as lines of CSV in which whatever has to be is quoted, a carriage return too."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # it quotes both letters of its own line end, and no other
    for row in rows:
        text.seek(0)
        text.truncate()
        writer.writerow(row)
        yield text.getvalue().removesuffix("\r\n") + "\n"


def remove_parts(folder: str | os.PathLike[str], left: float = 0.0) -> None:
    """Remove what `whole` leaves in a folder when its process is killed.

    Nobody else may be writing there; else only those may go that nobody has written to for so many seconds.
    """
    for part in Path(folder).glob(".*"):
        if re.fullmatch(r"\.[0-9a-f]{8}\..+", part.name):
            with suppress(OSError):
                if not left or time.time() - part.stat().st_mtime > left:
                    part.unlink()


def _part(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")  # threads may write one file at the same time


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_output(path: Path, text: str) -> None:
    """Write a text as `write_whole` does; a name that is no UTF-8 is shown by escapes."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8", errors="backslashreplace", newline=""))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write an output of a command as `whole` does; `write` gets the path to write to.

    Raises:
        InputError: When it cannot be written there.
    """
    try:
        with whole(path) as part:
            write(part)
    except OSError as error:
        fix = refused.fix if (refused := refusal(error)) else "give another path"
        raise InputError(f"a file to write at {path}", error.strerror or error, fix) from error
