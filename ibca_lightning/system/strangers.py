"""Files of strangers: none is waited for, and what a packed one unpacks to is bounded before memory is taken for it."""

import errno
import gzip
import io
import os
import stat
import zlib
from pathlib import Path
from typing import TypeVar
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, is_zipfile

AnyPath = TypeVar("AnyPath", str, Path)
MAX_PICTURE = 2**30  # bytes of one picture, as a file says or as RGB
MAX_TABLE = 2**28  # bytes of the text of a table: 3 million rows of 80 letters
_PIECE = 2**20


def regular(path: AnyPath) -> AnyPath:
    """Return the path of a file; opening a pipe or a device may wait, or read, for ever.

    Raises:
        OSError: When it is such, or there is none.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder is told by whoever opens it
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return path


def require_unpacked(archive: ZipFile, limit: int) -> None:
    """Refuse an archive that says it is larger, or is packed in a way that can be larger than it says.

    Raises:
        BadZipFile: As of any archive that cannot be used.
    """
    members = archive.infolist()
    if any(member.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for member in members):
        raise BadZipFile("packed otherwise than by deflate")
    if sum(member.file_size for member in members) > limit:
        raise BadZipFile(f"it unpacks to more than {limit} bytes")


def require_not_packed(path: str | Path) -> None:
    """Refuse a file of torch whose parts are packed, or lie upon each other: torch packs none, and bounds none.

    Raises:
        BadZipFile: As of any archive that cannot be used.
    """
    if is_zipfile(path):
        with ZipFile(path) as archive:
            packed = any(member.compress_type != ZIP_STORED for member in archive.infolist())
            if packed or sum(member.file_size for member in archive.infolist()) > Path(path).stat().st_size:
                raise BadZipFile("packed, as torch never does")


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
