"""How large the pages of a Parquet file are, by their own headers: what pyarrow takes memory by, and does not show.

A header is a struct of Thrift's compact protocol: https://parquet.apache.org/docs/file-format/data-pages. The sizes
that the end of a file says may be a lie; a page is unpacked into what its own header says, or refused. Where the pages
begin is read here too: pyarrow's `metadata.row_group(0).column(0)` ends the process where their statistics are none.
"""

from collections.abc import Iterator
from io import SEEK_END
from typing import Any, BinaryIO

_NEAR, _FAR = 2**12, 2**24  # bytes of a header: of nearly all, and, as pyarrow has it, at most
_DEPTH = 8  # of structs in it
_MOST = 2**18  # pages of a file
_UNPACKED, _PACKED = 2, 3  # fields of a PageHeader
# Fields of FileMetaData, RowGroup and ColumnChunk, and of its ColumnMetaData.
_GROUPS, _COLUMNS, _ABOUT, _SIZE, _DATA, _DICTIONARY = 4, 1, 3, 7, 9, 11


def page_sizes(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Go through the pages of a file whose end pyarrow has read, and read none.

    Args:
        file: The open file.

    Returns:
        Of each page the number of its column, and its bytes when it is unpacked.

    Raises:
        ValueError: When a header is none, or there are pages without end.
    """
    pages = 0
    for column, at, end in _chunks(file):
        while at < end:
            header, length = _header(file, at)
            unpacked, packed = header.get(_UNPACKED), header.get(_PACKED)
            pages += 1
            if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
                raise ValueError("a page without its size")
            if pages > _MOST:
                raise ValueError(f"more than {_MOST} pages")
            yield column, unpacked
            at += length + packed


def _chunks(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """The number of its column, the first byte and the end of each row of pages, as the end of the file has it."""
    file.seek(-8, SEEK_END)
    if (length := int.from_bytes(file.read(4), "little")) > _FAR:
        raise ValueError(f"an end of more than {_FAR} bytes")
    try:
        file.seek(-8 - length, SEEK_END)
        about, _ = _struct(file.read(length), 0, _DEPTH)
        for group in about[_GROUPS]:
            for column, chunk in enumerate(group[_COLUMNS]):
                own = chunk[_ABOUT]
                at = min(offset for offset in (own[_DATA], own.get(_DICTIONARY)) if offset)
                yield column, at, at + own[_SIZE]
    except (AttributeError, IndexError, KeyError, OSError, TypeError) as error:
        raise ValueError("an end that does not say where its pages are") from error


def _header(file: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """The fields of a header, and its bytes."""
    for size in (_NEAR, _FAR):
        file.seek(at)
        data = file.read(size)
        try:
            return _struct(data, 0, _DEPTH)
        except IndexError:
            continue
    raise ValueError("a page header that is none")


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    fields: dict[int, Any] = {}
    number = 0
    while first := data[at]:
        at += 1
        if first >> 4:
            number += first >> 4
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _value(data, at, first & 15, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if not depth:
        raise ValueError("a page header without end")
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind in (4, 5, 6):
        return _zigzag(data, at)
    if kind == 12:
        return _struct(data, at, depth - 1)
    if kind == 9:
        return _list(data, at, depth)
    if kind == 8:
        length, at = _varint(data, at)
    elif kind in (3, 7):
        length = 1 if kind == 3 else 8
    else:  # no set or map is in one
        raise ValueError("a page header that is none")
    if at + length > len(data):
        raise IndexError
    return None, at + length


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    first, at = data[at], at + 1
    length, kind = first >> 4, first & 15
    if length == 15:
        length, at = _varint(data, at)
    values: list[Any] = []
    for _ in range(length):  # each takes a byte at least
        value, at = (data[at] == 1, at + 1) if kind in (1, 2) else _value(data, at, kind, depth)
        values.append(value)
    return values, at


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a page header that is none")
