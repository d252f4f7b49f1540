"""A CSV file as text: header, rows, and the line each row stands on.

Our own on purpose: every cell stays the text it is (`007`, `NA`), and an error can say "line 12".
"""

import csv
import io
import re
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data import storage
from ibca_lightning.data.columns_of_text import Cells, Columns, Gathered, plain_columns
from ibca_lightning.system.errors import InputError, doubled
from ibca_lightning.system.strangers import MAX_PICTURE, MAX_TABLE, gunzipped, read_bytes

HEADER_FIRST = "if that is a title and no header, remove what stands above the header"
MAX_ROWS = 2**24
MAX_COLUMNS = 2**16
_HEAD = 2**20  # characters of a table that show what parts its cells


@dataclass(frozen=True)
class Sheet:
    """The text of a table; every value is a string, so that an id such as `0012` stays what it is.

    Attributes:
        file: The path it was read from, for messages.
        header: Column names; at most one is blank (an index written by pandas).
        rows: The values of each row, as long as the header.
        lines: The line in the file, counted from 1, on which each row begins.
    """

    file: str
    header: list[str]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, row: int) -> str:
        """Name a row for a message, as `FILE, line 12`."""
        return f"{self.file}, line {self.lines[row]}"

    @cached_property
    def _columns(self) -> Columns:
        if isinstance(self.rows, Columns):
            return self.rows
        return Columns(list(zip(*self.rows, strict=True)) or [()] * len(self.header))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.header)}

    def take(self, rows: Sequence[int]) -> "Sheet":
        """Return the table of some rows only."""
        return replace(self, rows=self._columns.take(rows), lines=[self.lines[row] for row in rows])

    def with_columns(self, columns: Mapping[str, Cells]) -> "Sheet":
        """Return the table with some columns in place of those of the same name, or behind the others."""
        if not columns:
            return self
        cells: dict[str, Cells] = dict(zip(self.header, self._columns.columns, strict=True)) | dict(columns)
        return replace(self, header=list(cells), rows=Columns(list(cells.values())))

    def column(self, name: str) -> list[str]:
        """Return the values of a column; an InputError where there is no such one."""
        return self._columns.texts(self.place(name))

    def cells(self, name: str) -> Cells:
        """Return them in UTF-8 where they are kept so, and else as `column`; likewise."""
        return self._columns.stripped(self.place(name))

    def coded(self, name: str) -> tuple[list[str], NDArray[np.intp]]:
        """Return the different values of a column, and which of them each row has; likewise."""
        return self._columns.coded(self.place(name))

    def place(self, name: str) -> int:
        """Return where a column stands; likewise."""
        if name not in self._places:
            fix = "correct the name in the configuration or the header of the file"
            if len(self.header) == 1:
                fix = "part the cells by commas, semicolons, tabs or |, or say in a first line what parts them: sep=:"
            raise InputError(f"a column '{name}' in {self.file}", f"the columns {', '.join(self.header)}", fix)
        return self._places[name]


def read_sheet(path: str, header: Sequence[str] | None = None) -> Sheet:
    """Read a table.

    UTF-8 with or without a byte-order mark, also packed as `.gz`; any line ends; separated by commas, semicolons or
    tabs, by `|` where none of these is in the header, or by what a first line `sep=;` says, as Excel writes it. Blank
    lines are skipped.

    Args:
        path: The CSV file.
        header: Column names of a file that has no header line: a list file, its values separated by commas or blanks,
            or by both (`name.png 0,1,0`).

    Returns:
        The table, with at least one row.

    Raises:
        InputError: If the file is missing, empty, binary, has a header only, a column twice, or a row that is too
            long or too short.
    """
    text = _read_text(path)
    if not text or text.isspace():
        raise InputError(f"a table in {path}", "an empty file", "restore the file")
    said = None
    if header is None:
        said = re.match(r"\s*\"?sep=([^\r\n])\"?[,;]*[\r\n]", text)
        separator = said[1] if said else _separator(text[:_HEAD])
        if not said and (plain := _plain(path, text, separator)):
            return plain
        found = _parted(path, text, separator)
        first = next(found, None)
        if first is not None and said:
            first = next(found, first)
        if first is None:
            raise InputError(f"a table in {path}", "separators only", "restore the file")
        names = first[1]
    else:
        names, found = list(header), _listed(text, len(header))
    width = len(names)
    while names[width - 2 : width] == ["", ""]:  # commas at the end of lines, as a spreadsheet leaves them
        width -= 1
    gathered, lines = Gathered(width), array("q")
    filled, odd = width, None
    for line, row in found:
        lines.append(line)
        if len(lines) > MAX_ROWS:
            raise InputError(f"at most {MAX_ROWS} rows in {path}", "more", "split the table")
        if any(row[filled : len(names)]):
            filled = max(at for at, cell in enumerate(row[: len(names)], 1) if cell)
        if not width <= len(row) <= len(names):
            odd = len(row)  # refused below
            break
        gathered.add(row[:width])
    names = names[:filled]  # of columns without a name beyond `width`, those with values are refused
    check_columns(path, names)
    if not lines:
        raise InputError(f"rows in {path}", "a header only", "restore the file")
    if odd is not None:
        expected = f"{len(names)} values in {path}, line {lines[-1]}"
        fix = "correct that line of the file"
        if odd > len(names):
            fix = "put quotes round a cell that holds the separator"
        above = f", or {HEADER_FIRST}" if len(lines) == 1 and header is None else ""
        raise InputError(expected, odd, fix + above)
    return Sheet(path, names, Columns(gathered.columns()), lines)


def _parted(path: str, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV text that are not blank, and the line each begins on."""
    before = size = marks = 0

    def counted() -> Iterator[str]:
        nonlocal size, marks
        for line in _lines(text):
            size += len(line)
            if size > MAX_COLUMNS:  # of a row, which may go on for many lines
                marks += line.count(separator)
                if marks >= MAX_COLUMNS:
                    raise csv.Error(f"more than {MAX_COLUMNS} cells")
            yield line

    reader = csv.reader(counted(), delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(row):
                yield before + 1, [value.strip() for value in row]
            before, size, marks = reader.line_num, 0, 0
    except csv.Error as error:
        expected = f"a well-formed row in {path}, line {before + 1}"
        raise InputError(expected, str(error), "check the quotes of that line") from None


def _plain(path: str, text: str, separator: str) -> Sheet | None:
    """A table in which nothing is quoted and no line blank, as large ones are, in a tenth of the time; else None."""
    if '"' in text or "\r" in (text := text.replace("\r\n", "\n")):
        return None
    data = text.encode().rstrip(b"\n") + b"\n"
    head, _, rest = data[:_HEAD].partition(b"\n")
    names = [name.strip() for name in head.decode().split(separator)] if rest else []
    if not any(names) or names[-2:] == ["", ""]:
        return None
    if len(names) > MAX_COLUMNS or (rows := data.count(b"\n") - 1) > MAX_ROWS:
        got = f"{len(names)} columns" if len(names) > MAX_COLUMNS else f"{rows} rows"
        raise InputError(f"at most {MAX_ROWS} rows of {MAX_COLUMNS} cells in {path}", got, "split the table")
    columns = plain_columns(data, len(head) + 1, separator, len(names))
    if columns is None:
        return None
    check_columns(path, names)
    return Sheet(path, names, columns, range(2, len(columns) + 2))


def check_columns(path: str, names: Sequence[str]) -> None:
    """Refuse a table with a column twice, or several without a name, as an InputError."""
    double = sorted(doubled(names), reverse=True)
    if double == [""]:
        got = f"{names.count('')} without one"
        raise InputError(f"a name for every column in the header of {path}", got, f"name them; {HEADER_FIRST}")
    if double:
        raise InputError(f"every column once in {path}", f"'{double[0]}' twice", "remove or rename one of them")


def _separator(text: str) -> str:
    """The mark that parts the first rows into most columns, as many in each; else the first one in the header."""
    counts = {}
    for mark in "\t;,":
        try:
            rows = islice(filter(any, csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)), 5)
            widths = {len(row) for row in rows}
        except csv.Error:
            continue
        counts[mark] = widths.pop() if len(widths) == 1 else 1
    if max(counts.values(), default=1) > 1:
        return max(counts, key=lambda mark: counts[mark])
    first = text.lstrip("\r\n").partition("\n")[0]
    return next((mark for mark in ",;\t|" if mark in first), ",")


def _lines(text: str) -> Iterator[str]:
    """The lines of a text with their ends, of any kind; in pieces, as a StringIO takes four bytes a letter."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + _HEAD) + 1 or len(text)
        yield from io.StringIO(text[start:end], newline="")
        start = end


def _listed(text: str, count: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of a list file that are not blank, and the line of each."""
    for number, line in enumerate(map(str.strip, _lines(text)), 1):
        if line:
            by_commas = [value.strip() for value in line.split(",", count)]
            yield number, by_commas if len(by_commas) == count else line.replace(",", " ").split(None, count)


def _read_text(path: str) -> str:
    if not storage.exists(path):
        raise InputError(f"a CSV file at {path}", "nothing there", "check root and the name of the file")
    try:
        data = read_bytes(storage.here(path), MAX_PICTURE)
    except OSError as error:
        raise InputError(f"a CSV file at {path}", error.strerror, "check the path and its permissions") from None
    if path.endswith(".gz"):
        try:
            data = gunzipped(data, MAX_TABLE)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"a gzip file at {path}", str(error), "restore the file, or unpack it yourself") from None
    fix = "save the table as CSV in UTF-8"
    # A UTF-16 table, a picture, a spreadsheet: all of them hold a zero byte, which text does not.
    if b"\0" in data:
        raise InputError(f"CSV text in {path}", "a binary file", fix)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"UTF-8 text in {path}, line {line}", f"byte 0x{data[error.start]:02x}", fix) from None
