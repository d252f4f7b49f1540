"""How large the pages of a Parquet file are, by their own headers: what pyarrow takes memory by, and does not show.

A header is a struct of Thrift's compact protocol: https://parquet.apache.org/docs/file-format/data-pages. The sizes
that the end of a file says may be a lie; a page is unpacked into what its own header says, or refused.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

_NEAR, _FAR = 2**12, 2**24  # bytes of a header: of nearly all, and, as pyarrow has it, at most
_DEPTH = 8  # of structs in it
_MOST = 2**18  # pages of a file
_UNPACKED, _PACKED = 2, 3  # fields of a PageHeader


def page_sizes(file: BinaryIO, facts: Any) -> Iterator[tuple[int, int]]:
    """Go through the pages of a file, and read none.

    Args:
        file: The open file.
        facts: Its pyarrow.parquet.FileMetaData.

    Returns:
        Of each page the number of its column, and its bytes when it is unpacked.

    Raises:
        ValueError: When a header is none, or there are pages without end.
    """
    pages = 0
    for group in range(facts.num_row_groups):
        for column in range(facts.num_columns):
            chunk = facts.row_group(group).column(column)
            offsets = [chunk.data_page_offset, *([chunk.dictionary_page_offset] * chunk.has_dictionary_page)]
            at = min(offset for offset in offsets if offset)
            end = at + chunk.total_compressed_size
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
    if kind == 8:
        length, at = _varint(data, at)
    elif kind in (3, 7):
        length = 1 if kind == 3 else 8
    else:  # no list, set or map is in one
        raise ValueError("a page header that is none")
    if at + length > len(data):
        raise IndexError
    return None, at + length


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
