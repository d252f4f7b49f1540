"""A table in a file of any kind; one in an Excel workbook is read as the text of a CSV file would be."""

import importlib
import re
import warnings
import zipfile
from typing import Any

from ibca_lightning.data.storage import beginning, here
from ibca_lightning.data.tables.sheet import HEADER_FIRST, Sheet, check_columns, read_sheet
from ibca_lightning.datasets.layouts.tables.form_of_cells import form_of_cells
from ibca_lightning.datasets.layouts.tables.parquet import read_parquet
from ibca_lightning.system.errors import DataWarning, InputError
from ibca_lightning.system.strangers import MAX_TABLE, regular, require_unpacked

_ROWS = 2**20  # as many as Excel has
_OLD = b"\xd0\xcf\x11\xe0"  # of an OLE container
_STRICT = b"http://purl.oclc.org/ooxml/"
_LITERAL = r'"[^"]*"|\\.|\[\$-[0-9A-Fa-f]+\]|[- +()]'
# `0000`, `00-00`, `"P"0`: what a number is seen with.
_PADDED = re.compile(rf'(?:{_LITERAL})*0(?:{_LITERAL}|0)*0(?:{_LITERAL})*|(?:"[^"]*[^\W\d][^"]*"|\\[^\W\d])0+')
_LONGEST = 64  # characters of such a format
_EXACT = 1e16  # beyond, Excel has cut digits away, and the text says so by its exponent


def read_any(path: str) -> Sheet:
    """Read a table of any kind: .xlsx by `read_workbook`, .parquet by `read_parquet`, others by `read_sheet`.

    Raises:
        InputError: As these three.
    """
    if path.lower().endswith((".parquet", ".pq")):
        return read_parquet(path)
    return read_workbook(path) if path.lower().endswith((".xlsx", ".xlsm")) else read_sheet(path)


def read_workbook(path: str) -> Sheet:
    """Read the first visible sheet of an .xlsx file, which has at least one row; blank rows are skipped.

    Whole numbers become text without a decimal point, and with the zeros and letters that a format such as `0000` or
    `"P"000` shows, so that an id is what one sees in Excel. A cell that is merged over several rows is the value of
    each. Messages name the sheet where there are several. Hidden rows are read, and a warning says so.

    Raises:
        InputError: If the file is no workbook, or it has no rows, a column twice, cells beyond its header, a cell
            merged over several columns, or a formula without its value.
    """
    file = here(path)
    openpyxl = importlib.import_module("openpyxl")  # takes a third of a second; it has no types

    try:
        _require_open(path, file)
        _require_measured(file)
        _require_transitional(path, file)
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        if not book.worksheets:
            raise ValueError("no sheet")
        shown = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"] or book.worksheets
        rows = _rows(shown[0])
        form = form_of_cells(file, shown[0]._worksheet_path)
        alike = [sheet.title for sheet in shown[1:] if _header(sheet) == rows[0][1]] if rows else []
        if (sheets := len(book.worksheets)) > 1:
            which = "first" if shown[0] is book.worksheets[0] else "first visible one"
            path = f"{path} (sheet '{shown[0].title}', the {which} of {sheets}, which alone is read)"
        book.close()
    except FileNotFoundError:
        raise InputError(f"an Excel workbook at {path}", "nothing there", "correct the path") from None
    except InputError:
        raise
    except Exception as error:  # openpyxl and the parsers of XML raise many kinds over damaged bytes
        raise InputError(f"an Excel workbook at {path}", error, "restore the file, or save it as CSV") from None
    if len(rows) < 2:
        raise InputError(f"rows in {path}", "none" if not rows else "a header only", "restore the file")
    header = rows[0][1]
    check_columns(path, header)
    width = len(header)
    form.fill(path, rows, width)
    if alike:
        warnings.warn(
            f"further sheets with the same columns are not read: {', '.join(alike)}, beside {path}; "
            "put all rows into one sheet, or save each as a file of its own",
            DataWarning, stacklevel=2,
        )  # fmt: skip
    if hidden := [number for number, _ in rows[1:] if number in form.hidden]:
        warnings.warn(
            f"{len(hidden)} of {len(rows) - 1} rows of {path} are hidden, as by a filter, and are read as the others, "
            f"the first on line {hidden[0]}; show them all if they are meant, or delete them",
            DataWarning, stacklevel=2,
        )  # fmt: skip
    for number, row in rows[1:]:
        if any(row[width:]):
            expected = f"nothing beyond column {width}, the last of the header (line {rows[0][0]}), in {path}"
            raise InputError(expected, f"a value on line {number}", f"name the column, or empty it; {HEADER_FIRST}")
    values = [(*row[:width], *[""] * (width - len(row))) for _, row in rows[1:]]
    return Sheet(path, header, values, [number for number, _ in rows[1:]])


def _header(sheet: Any) -> list[str]:
    """The first row of a sheet that is not blank, as that of `_rows`."""
    return next((row for _, row in _rows(sheet, 1)), [])


def _require_open(path: str, file: str) -> None:
    """Refuse what Excel writes where a password protects a workbook, which is as an old .xls begins."""
    if beginning(file, len(_OLD)) == _OLD:
        fix = "open it in Excel and save it as .xlsx without a password, or as CSV"
        raise InputError(f"an Excel workbook at {path}", "one under a password, or an old .xls", fix)


def _require_transitional(path: str, file: str) -> None:
    """Refuse the strict form of the format, of which openpyxl reads no sheet."""
    with zipfile.ZipFile(file) as archive:
        if any(_STRICT in archive.read(name) for name in archive.namelist() if name == "xl/workbook.xml"):
            fix = "save it as Excel Workbook (.xlsx), not as Strict Open XML, or as CSV"
            raise InputError(f"an Excel workbook at {path}", "Strict Open XML", fix)


def _require_measured(file: str) -> None:
    """Refuse, as a BadZipFile, a workbook that unpacks to too much text, or too many elements of XML."""
    elements = 0
    with zipfile.ZipFile(regular(file)) as archive:
        require_unpacked(archive, MAX_TABLE)
        for member in archive.infolist():
            with archive.open(member) as part:
                elements += sum(piece.count(b"<") for piece in iter(lambda: part.read(2**20), b""))
    if elements > MAX_TABLE // 32:  # each may become an object of 300 bytes; two million cells have as many
        raise zipfile.BadZipFile(f"more than {MAX_TABLE // 32} elements")


def _rows(sheet: Any, most: int = _ROWS) -> list[tuple[int, list[str]]]:
    """The first rows that are not blank, each with its number and up to its last value."""
    sheet.reset_dimensions()  # what a file says of them may be a lie, to which all rows would be filled up
    rows, cells = [], 0
    padded = any(map(_pads, sheet.parent._number_formats))  # to ask each cell takes time
    for number, values in enumerate(sheet.iter_rows(values_only=not padded), 1):
        row = [_shown(cell.value, cell.number_format) if padded else _text(cell) for cell in values]
        while row and not row[-1]:  # formatted, but empty columns
            row.pop()
        cells += len(row)
        if number > _ROWS or cells > MAX_TABLE // 16:
            raise ValueError(f"more than {_ROWS} rows, or {MAX_TABLE // 16} cells")
        if row:
            rows.append((number, row))
        if len(rows) == most:
            break
    return rows


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return str(value).strip()


def _pads(form: str) -> bool:
    return len(form) <= _LONGEST and _PADDED.fullmatch(form) is not None


def _shown(value: object, form: str | None) -> str:
    """A cell with the zeros and letters that its format shows."""
    text, form = _text(value), form or ""
    if isinstance(value, bool | str) or not text.isdecimal() or not _pads(form):
        return text
    pieces = re.findall(rf"{_LITERAL}|0", form)
    places = [at for at, piece in enumerate(pieces) if piece == "0"]
    digits = text.zfill(len(places))
    first = len(digits) - len(places) + 1
    for at, digit in zip(places, (digits[:first], *digits[first:]), strict=True):
        pieces[at] = digit
    return "".join("" if piece.startswith("[") else piece.strip('"').removeprefix("\\") for piece in pieces).strip()
