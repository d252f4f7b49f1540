"""Files of strangers: none is waited for, packed ones are bounded before memory is taken, faults are told in words."""

import csv
import errno
import gzip
import io
import json
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo, is_zipfile

AnyPath = TypeVar("AnyPath", bound=str | Path)
MAX_PICTURE = 2**30  # bytes of one picture as its file, and of the numbers in it; reading takes up to four times that
MAX_TABLE = 2**28  # bytes of the text of a table: 3 million rows of 80 letters
_PIECE = 2**20
_HOLES = 2**26  # bytes of a file of torch, from which on it may not be sparse
_ENDS = 56 + 20 + 22  # bytes of the records that end an archive: of a large one, where that is, of any


def regular(path: AnyPath) -> AnyPath:
    """Return the path of a file; opening a pipe or a device may wait, or read, for ever.

    Raises:
        OSError: When it is such, or there is none.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder is told by whoever opens it
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return path


def read_bytes(path: str | Path, limit: int = MAX_TABLE) -> bytes:
    """All bytes of a regular file; a sparse one of any size takes no memory.

    Raises:
        OSError: When there is none that can be read, or it has more than `limit` bytes.
    """
    if os.path.getsize(regular(path)) > limit:
        raise OSError(errno.EINVAL, f"more than {limit} bytes", str(path))
    with open(path, "rb") as file:
        return file.read()


def read_text(path: str | Path) -> str:
    """All text of a regular file, line ends as they are; as `read_bytes`, and a ValueError where it is no UTF-8.

    Without the byte-order mark that spreadsheets and editors of Windows write before it.
    """
    return read_bytes(path).decode("utf-8-sig")


def csv_rows(path: str | Path, errors: str = "strict") -> Iterator[list[str]]:
    """The rows of a CSV file of any length, line breaks in cells as they are; the header is the first.

    A byte-order mark, as a spreadsheet writes it, is none of its text.

    Raises:
        OSError: When there is none that can be read.
        UnicodeDecodeError, csv.Error: When it is damaged, or a line has no end.
    """
    with open(regular(path), newline="", encoding="utf-8-sig", errors=errors) as file:
        yield from csv.reader(iter(lambda: file.readline(_PIECE), ""))


def read_object(path: str | Path) -> dict[str, Any]:
    """Read a file that is an object in JSON.

    Raises:
        OSError: When there is none that can be read.
        ValueError: What it is instead; `told` has the words for it.
    """
    try:
        content = json.loads(read_text(path))
    except RecursionError:
        raise ValueError("values within values without end") from None
    if not isinstance(content, dict):
        raise ValueError(f"no object, but {json.dumps(content)[:40]}")
    return content


def told(error: Exception) -> str:
    """What is wrong with a file, in words for people: those of our own ValueErrors are."""
    if isinstance(error, UnicodeDecodeError):
        return f"text that is no UTF-8, at byte {error.start + 1}"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON at line {error.lineno}, column {error.colno}"
    if (mark := getattr(error, "problem_mark", None)) is not None:
        return f"no YAML at line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, csv.Error):
        return "a cell beyond measure, or no CSV"
    if isinstance(error, OSError):
        return error.strerror or "a file that cannot be read"
    return "a number of thousands of digits" if "integer string conversion" in str(error) else str(error)


def require_unpacked(archive: ZipFile, limit: int, members: Sequence[ZipInfo] | None = None) -> None:
    """Refuse an archive, or members of it, of a larger size, or packed in a way that can be larger than it says.

    Raises:
        BadZipFile: As of any archive that cannot be used.
    """
    members = archive.infolist() if members is None else members
    if any(member.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for member in members):
        raise BadZipFile("packed otherwise than by deflate")
    if sum(member.file_size for member in members) > limit:
        raise BadZipFile(f"it unpacks to more than {limit} bytes")


def require_not_packed(path: str | Path) -> None:
    """Refuse a file of torch that takes more memory than it has bytes: torch packs no part, and bounds none.

    Parts that are packed or lie upon each other, a second directory that torch alone would read, and holes, which take
    no room on a disk.

    Raises:
        BadZipFile: As of any archive that cannot be used.
    """
    size = os.stat(regular(path)).st_size
    if size > _HOLES and 4 * _held(path, size) < size:
        raise BadZipFile("mostly holes, where torch writes numbers")
    with open(path, "rb") as file:
        begins = file.read(4)
        file.seek(max(0, size - _ENDS))
        end = file.read()
    if begins != b"PK\3\4" and not is_zipfile(path):
        return  # of before torch 1.6, which holds its numbers as they are
    with ZipFile(path) as archive:
        if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
            raise BadZipFile("packed, as torch never does")
        if sum(member.file_size for member in archive.infolist()) > size:
            raise BadZipFile("parts upon each other, as torch never writes them")
        if _directory_of(end, size) != archive.start_dir:
            raise BadZipFile("two directories, as torch never writes them")


def _held(path: str | Path, size: int) -> int:
    """The bytes of a file that are no holes; all where nobody says. Blocks are asked for too late by some systems."""
    held = end = 0
    try:
        with open(path, "rb", buffering=0) as file:
            while end < size:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
                end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                held += end - start
    except AttributeError:  # of a system without it
        return size
    except OSError as error:
        return held if error.errno == errno.ENXIO else size  # nothing but a hole is left
    return held


def _directory_of(end: bytes, size: int) -> int | None:
    """Where torch would look for the directory; zipfile takes what stands before the end, wherever that says it is."""
    large, locator, last = end[-98:-42], end[-42:-22], end[-22:]
    if last[:4] != b"PK\5\6":
        return None
    if locator[:4] != b"PK\6\7":
        return int.from_bytes(last[16:20], "little")
    if large[:4] != b"PK\6\6" or int.from_bytes(locator[8:16], "little") != size - _ENDS:
        return None
    return int.from_bytes(large[48:56], "little")


def gunzipped(data: bytes, limit: int) -> bytes:
    """Unpack gzip.

    Raises:
        OSError: When it is none, or unpacks to more than `limit` bytes.
        EOFError, zlib.error: When it is damaged.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        text = file.read(limit + 1)
    if len(text) > limit:
        raise OSError(f"it unpacks to more than {limit} bytes")
    return text


def inflates_beyond(data: bytes, limit: int) -> bool:
    """Whether a raw deflate stream unpacks to more than that; seen piece by piece, and nothing is kept."""
    unpacker, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    piece = _PIECE
    while (data or piece == _PIECE) and not unpacker.eof and total <= limit:
        piece = len(unpacker.decompress(data, _PIECE))
        total, data = total + piece, unpacker.unconsumed_tail
    return total > limit
