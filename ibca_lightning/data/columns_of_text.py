"""The cells of a large table, column by column: a byte a character in place of a Python string of 50 bytes.

Our own on purpose: the reader of Python makes 100 million strings of 3.5 million rows of 29 labels. Whatever the
cells are, they take a few times the bytes of their text.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

_CHUNK = 2**20  # bytes that are looked at together, so that they stay in the cache
LONGEST = 256  # bytes of a cell, beyond which a column of bytes would be mostly air
_AIR = 8  # bytes that a column of cells of one length may take for each byte of their text
_PIECE = 2**16  # cells that are strings of Python, or taken out of a text, at once
_FIELD = 2**17  # bytes of a cell, as Python's reader has it

Cells = NDArray[np.bytes_] | Sequence[str]


class Columns(Sequence[tuple[str, ...]]):
    """Rows that are kept as columns: each the text of its cells, or UTF-8 in an array of bytes."""

    def __init__(self, columns: Sequence[Cells]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def __getitem__(self, row: int) -> tuple[str, ...]:  # type: ignore[override]  # nobody asks for a slice
        return tuple(_text(cells[row]) for cells in self.columns)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return zip(*map(self.texts, range(len(self.columns))), strict=True)

    def texts(self, at: int) -> list[str]:
        """The cells of a column."""
        cells = self.columns[at]
        if isinstance(cells, np.ndarray):  # no cell holds the end of a line
            return list(map(str.strip, b"\n".join(cells.tolist()).decode().split("\n"))) if len(cells) else []
        return list(cells)

    def stripped(self, at: int) -> Cells:
        """As `texts`, or the bytes of a column, where these are without white space round them."""
        cells = self.columns[at]
        if not isinstance(cells, np.ndarray) or not len(cells):
            return self.texts(at)
        lengths, letters = np.strings.str_len(cells), cells.view(np.uint8).reshape(len(cells), -1)
        for ends in (letters[:, 0], letters[np.arange(len(cells)), lengths - 1]):
            if not ((lengths == 0) | ((ends > ord(" ")) & (ends < ord("\x7f")))).all():  # beyond ASCII: a part of one
                return self.texts(at)
        return cells

    def coded(self, at: int) -> tuple[list[str], NDArray[np.intp]]:
        """The different texts of a column, and which of them each row has."""
        cells = self.columns[at]
        if isinstance(cells, np.ndarray) and cells.itemsize == 1:
            values, codes = np.flatnonzero(np.bincount(cells.view(np.uint8), minlength=256)), np.zeros(256, np.intp)
            codes[values] = np.arange(len(values))
            return [chr(value).strip("\0").strip() for value in values], codes[cells.view(np.uint8)]
        known: dict[str, int] = {}
        found = [known.setdefault(text, len(known)) for text in self.texts(at)]
        return list(known), np.array(found, np.intp)

    def take(self, rows: Sequence[int]) -> "Columns":
        """Some rows only."""
        return Columns([_taken(cells, rows) for cells in self.columns])


class Uneven(Sequence[str]):
    """A column whose cells are of very different lengths, or hold ends of lines: its text, and where each ends.

    Args:
        text: UTF-8 of all cells.
        ends: (N,) where each ends in it.
    """

    def __init__(self, text: bytes, ends: NDArray[np.int64]) -> None:
        self._text, self._ends = text, ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[at] for at in range(*row.indices(len(self)))]
        end = int(self._ends[row])
        row %= len(self)
        return self._text[int(self._ends[row - 1]) if row else 0 : end].decode().strip()

    def __iter__(self) -> Iterator[str]:
        for begin, end in pairwise([0, *self._ends.tolist()]):
            yield self._text[begin:end].decode().strip()

    def taken(self, rows: Sequence[int]) -> "Uneven":
        """Some rows only."""
        at = np.asarray(rows, np.intp)
        begins = np.where(at == 0, 0, self._ends[at - 1])
        return _uneven(np.frombuffer(self._text, np.uint8), begins, self._ends[at] - begins)

    @property
    def parts(self) -> tuple[bytes, NDArray[np.int64]]:
        """The text, and the length of each cell."""
        return self._text, np.diff(self._ends, prepend=0)


def _taken(cells: Cells, rows: Sequence[int]) -> Cells:
    if isinstance(cells, Uneven):
        return cells.taken(rows)
    return cells[rows] if isinstance(cells, np.ndarray) else [cells[row] for row in rows]


def _uneven(text: NDArray[np.uint8], begins: NDArray[np.intp], lengths: NDArray[np.intp]) -> Uneven:
    """The cells that stand there in a text; in pieces, as a place takes eight bytes a letter."""
    pieces = []
    for first in range(0, len(lengths), _PIECE):
        some = lengths[first : first + _PIECE]
        ends = np.cumsum(some, dtype=np.int64)
        places = np.repeat(begins[first : first + _PIECE] - (ends - some), some) + np.arange(int(ends[-1]))
        pieces.append(text[places].tobytes())
    return Uneven(b"".join(pieces), np.cumsum(lengths, dtype=np.int64))


def _joined(parts: Sequence[NDArray[np.bytes_] | Uneven]) -> NDArray[np.bytes_] | Uneven:
    """One column of its pieces: of cells of one length, if that is not mostly air."""
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    width = max((part.itemsize for part in arrays), default=0)
    if len(arrays) == len(parts) and width * sum(map(len, arrays)) <= _AIR * (sum(a.nbytes for a in arrays) + 2**16):
        return np.concatenate(arrays)
    texts, lengths = zip(*map(_parts, parts), strict=True)
    return Uneven(b"".join(texts), np.cumsum(np.concatenate(lengths), dtype=np.int64))


def _parts(part: NDArray[np.bytes_] | Uneven) -> tuple[bytes, NDArray[np.int64]]:
    if isinstance(part, Uneven):
        return part.parts
    lengths = np.strings.str_len(part)
    letters = part.view(np.uint8).reshape(len(part), -1)
    return letters[np.arange(letters.shape[1]) < lengths[:, None]].tobytes(), lengths.astype(np.int64)


class Gathered:
    """Rows of text as they come, kept as columns.

    Args:
        width: Cells of a row.
    """

    def __init__(self, width: int) -> None:
        self._parts: list[list[NDArray[np.bytes_] | Uneven]] = [[] for _ in range(width)]
        self._rows: list[Sequence[str]] = []
        self._most = max(1, _PIECE // width)

    def add(self, row: Sequence[str]) -> None:
        """Add a row of that width."""
        self._rows.append(row)
        if len(self._rows) >= self._most:
            self._pack()

    def columns(self) -> list[Cells]:
        """All that was added, by columns."""
        self._pack()
        return [_joined(parts) if parts else [] for parts in self._parts]

    def _pack(self) -> None:
        for parts, cells in zip(self._parts, zip(*self._rows, strict=True), strict=False):
            encoded = [cell.encode() for cell in cells]
            text, lengths = b"".join(encoded), np.fromiter(map(len, encoded), np.int64, len(encoded))
            longest = max(1, int(lengths.max()))
            air = longest > LONGEST or longest * len(encoded) > _AIR * (len(text) + len(encoded))
            even = not air and b"\n" not in text
            parts.append(np.array(encoded, f"S{longest}") if even else Uneven(text, np.cumsum(lengths)))
        self._rows = []


def _text(cell: object) -> str:
    return bytes(cell).decode().strip() if isinstance(cell, bytes) else str(cell)


def plain_columns(data: bytes, start: int, separator: str, width: int) -> Columns | None:
    """Read lines of so many cells each, without a quote; None where it takes more than that to read them.

    Args:
        data: UTF-8, the last line ends too.
        start: Where they begin, behind the header.
        separator: One character of ASCII.
        width: Cells of a line.
    """
    parts: list[list[NDArray[np.bytes_] | Uneven]] = []
    while start < len(data):
        end = data.find(b"\n", min(start + _CHUNK, len(data) - 1)) + 1
        chunk = np.frombuffer(data, np.uint8, end - start, start)
        newline = chunk == ord("\n")
        marks = np.flatnonzero(newline | (chunk == ord(separator)))
        lines = np.flatnonzero(newline)
        if not np.array_equal(marks[width - 1 :: width], lines) or len(marks) != len(lines) * width:
            return None
        if np.diff(lines, prepend=-1).min() == width:  # a line of separators alone is none
            return None
        lengths = (np.diff(marks, prepend=-1) - 1).reshape(-1, width)
        longest = lengths.max(axis=0)
        if longest.max() > _FIELD:
            return None
        begins = marks.reshape(-1, width) - lengths
        # Labels are one character each: the one before a mark.
        single = np.where(lengths == 0, np.uint8(0), chunk.take(begins, mode="clip")).T.copy()
        parts.append([
            single[at].view("S1") if longest[at] <= 1 else _column(chunk, begins[:, at], lengths[:, at])
            for at in range(width)
        ])  # fmt: skip
        start = end
    return Columns([_joined(column) for column in zip(*parts, strict=True)])


def _column(
    chunk: NDArray[np.uint8], begins: NDArray[np.intp], lengths: NDArray[np.intp]
) -> NDArray[np.bytes_] | Uneven:
    longest = int(lengths.max())
    if longest > LONGEST or longest * len(lengths) > _AIR * (int(lengths.sum()) + len(lengths)):
        return _uneven(chunk, begins, lengths)
    places = np.arange(longest)
    cells = chunk.take(begins[:, None] + places, mode="clip")
    cells[places >= lengths[:, None]] = 0
    return cells.view(f"S{len(places)}").ravel()
