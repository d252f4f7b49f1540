"""The cells of a large table, column by column: a byte a character in place of a Python string of 50 bytes.

Our own on purpose: the reader of Python makes 100 million strings of 3.5 million rows of 29 labels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_CHUNK = 2**20  # bytes that are looked at together, so that they stay in the cache
LONGEST = 256  # bytes of a cell, beyond which a column of bytes would be mostly air

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
        return Columns([c[rows] if isinstance(c, np.ndarray) else [c[row] for row in rows] for c in self.columns])


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
    parts: list[list[NDArray[np.bytes_]]] = []
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
        if longest.max() > LONGEST:
            return None
        begins = marks.reshape(-1, width) - lengths
        # Labels are one character each: the one before a mark.
        single = np.where(lengths == 0, np.uint8(0), chunk.take(begins, mode="clip")).T.copy()
        parts.append([
            single[at].view("S1") if longest[at] <= 1 else _cut(chunk, begins[:, at], lengths[:, at])
            for at in range(width)
        ])  # fmt: skip
        start = end
    return Columns([np.concatenate(column) for column in zip(*parts, strict=True)])


def _cut(chunk: NDArray[np.uint8], begins: NDArray[np.intp], lengths: NDArray[np.intp]) -> NDArray[np.bytes_]:
    places = np.arange(max(1, lengths.max()))
    cells = chunk.take(begins[:, None] + places, mode="clip")
    cells[places >= lengths[:, None]] = 0
    return cells.view(f"S{len(places)}").ravel()
