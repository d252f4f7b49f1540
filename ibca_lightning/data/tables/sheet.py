"""A CSV file as text: header, rows, and the line each row stands on.

Our own on purpose: every cell stays the text it is (`007`, `NA`), and an error can say "line 12".
"""

import csv
import io
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data import storage
from ibca_lightning.data.columns_of_text import Cells, Columns, plain_columns
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import MAX_PICTURE, MAX_TABLE, gunzipped, read_bytes

HEADER_FIRST = "if that is a title and no header, remove what stands above the header"
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
        if name not in self.header:
            fix = "correct the name in the configuration or the header of the file"
            if len(self.header) == 1:
                fix = "part the cells by commas, semicolons, tabs or |, or say in a first line what parts them: sep=:"
            raise InputError(f"a column '{name}' in {self.file}", f"the columns {', '.join(self.header)}", fix)
        return self.header.index(name)


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
    if not text.strip():
        raise InputError(f"a table in {path}", "an empty file", "restore the file")
    rows: list[tuple[str, ...]] = []  # tuples, because the garbage collector passes 100,000 lists again and again
    lines: list[int] = []
    if header is None:
        said = re.match(r"\s*\"?sep=([^\r\n])\"?[,;]*[\r\n]", text)
        separator = said[1] if said else _separator(text[:_HEAD])
        if not said and (plain := _plain(path, text, separator)):
            return plain
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        before = 0
        try:
            for row in reader:
                if any(row):
                    rows.append(tuple([value.strip() for value in row]))
                    lines.append(before + 1)
                before = reader.line_num
        except csv.Error as error:
            expected = f"a well-formed row in {path}, line {before + 1}"
            raise InputError(expected, str(error), "check the quotes of that line") from None
        if not rows:
            raise InputError(f"a table in {path}", "separators only", "restore the file")
        rows, lines = (rows[1:], lines[1:]) if said and len(rows) > 1 else (rows, lines)
        names, rows, lines = list(rows[0]), rows[1:], lines[1:]
    else:
        names = list(header)
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                rows.append(tuple(_listed(line, len(names))))
                lines.append(number)
    while names[-2:] == ["", ""] and not any(row[-1] for row in rows if len(row) == len(names)):
        # Commas at the end of every line, as a spreadsheet leaves them.
        rows = [row[:-1] if len(row) == len(names) else row for row in rows]
        names.pop()
    check_columns(path, names)
    if not rows:
        raise InputError(f"rows in {path}", "a header only", "restore the file")
    for values, line_number in zip(rows, lines, strict=True):
        if len(values) != len(names):
            expected = f"{len(names)} values in {path}, line {line_number}"
            fix = "correct that line of the file"
            if len(values) > len(names):
                fix = "put quotes round a cell that holds the separator"
            first = f", or {HEADER_FIRST}" if line_number == lines[0] and header is None else ""
            raise InputError(expected, len(values), fix + first)
    return Sheet(path, names, rows, lines)


def _plain(path: str, text: str, separator: str) -> Sheet | None:
    """A table in which nothing is quoted and no line blank, as large ones are, in a tenth of the time; else None."""
    if '"' in text or "\r" in (text := text.replace("\r\n", "\n")):
        return None
    data = text.encode().rstrip(b"\n") + b"\n"
    head, _, rest = data[:_HEAD].partition(b"\n")
    names = [name.strip() for name in head.decode().split(separator)] if rest else []
    if not any(names) or names[-2:] == ["", ""]:
        return None
    columns = plain_columns(data, len(head) + 1, separator, len(names))
    if columns is None:
        return None
    check_columns(path, names)
    return Sheet(path, names, columns, range(2, len(columns) + 2))


def check_columns(path: str, names: Sequence[str]) -> None:
    """Refuse a table with a column twice, or several without a name, as an InputError."""
    double = sorted({name for name in names if names.count(name) > 1}, reverse=True)
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


def _listed(line: str, count: int) -> list[str]:
    by_commas = [value.strip() for value in line.split(",")]
    return by_commas if len(by_commas) == count else line.replace(",", " ").split()


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
