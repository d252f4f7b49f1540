"""A table in a file of any kind; one in an Excel workbook is read as the text of a CSV file would be."""

import importlib
import zipfile

from ibca_lightning.data.storage import here
from ibca_lightning.data.tables.sheet import HEADER_FIRST, Sheet, check_columns, read_sheet
from ibca_lightning.datasets.layouts.parquet import read_parquet
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import MAX_TABLE, regular, require_unpacked


def read_any(path: str) -> Sheet:
    """Read a table of any kind: .xlsx by `read_workbook`, .parquet by `read_parquet`, others by `read_sheet`.

    Raises:
        InputError: As these three.
    """
    if path.lower().endswith((".parquet", ".pq")):
        return read_parquet(path)
    return read_workbook(path) if path.lower().endswith((".xlsx", ".xlsm")) else read_sheet(path)


def read_workbook(path: str) -> Sheet:
    """Read the first sheet of an .xlsx file, which has at least one row; blank rows are skipped.

    Whole numbers become text without a decimal point, so that an id is what one sees in Excel. Messages name the sheet
    where there are several.

    Raises:
        InputError: If the file is no workbook, or it has no rows, a column twice, or cells beyond its header.
    """
    file = here(path)
    openpyxl = importlib.import_module("openpyxl")  # takes a third of a second; it has no types

    try:
        with zipfile.ZipFile(regular(file)) as archive:
            require_unpacked(archive, MAX_TABLE)
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        cells = [[_text(value) for value in row] for row in book.worksheets[0].iter_rows(values_only=True)]
        if (sheets := len(book.worksheets)) > 1:
            path = f"{path} (sheet '{book.worksheets[0].title}', the first of {sheets}, which alone is read)"
        book.close()
    except FileNotFoundError:
        raise InputError(f"an Excel workbook at {path}", "nothing there", "correct the path") from None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, openpyxl.utils.exceptions.InvalidFileException) as error:
        raise InputError(f"an Excel workbook at {path}", error, "restore the file") from None
    rows = [(number, row) for number, row in enumerate(cells, 1) if any(row)]
    if len(rows) < 2:
        raise InputError(f"rows in {path}", "none" if not rows else "a header only", "restore the file")
    header = rows[0][1]
    while header and not header[-1]:  # formatted, but empty columns
        header.pop()
    check_columns(path, header)
    width = len(header)
    for number, row in rows[1:]:
        if any(row[width:]):
            expected = f"nothing beyond column {width}, the last of the header (line {rows[0][0]}), in {path}"
            raise InputError(expected, f"a value on line {number}", f"name the column, or empty it; {HEADER_FIRST}")
    values = [(*row[:width], *[""] * (width - len(row))) for _, row in rows[1:]]
    return Sheet(path, header, values, [number for number, _ in rows[1:]])


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
