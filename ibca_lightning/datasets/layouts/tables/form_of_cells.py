"""What openpyxl does not say of a sheet that it reads row by row: merged or hidden cells, formulas without values."""

import importlib
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ibca_lightning.system.errors import InputError

_MARK = re.compile(rb"<(?:\w+:)?(?:f[\s/>]|mergeCell\s|row\s[^>]*\bhidden=.(?:1|true))")
_LONGEST = 512  # bytes of the tag of a row
_UNCOMPUTED = re.compile(rb"fullCalcOnLoad=.(?:1|true)")  # of a program that leaves it to Excel


@dataclass(frozen=True)
class FormOfCells:
    """What one sheet holds of them.

    Attributes:
        merged: Merged ranges, such as `B2:B5`.
        without_value: Cells with a formula whose value nobody has written, such as `C7`.
        hidden: Numbers of rows that are hidden, by hand, by a filter, or in a group that is closed.
    """

    merged: list[str] = field(default_factory=list)
    without_value: list[str] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)

    def fill(self, path: str, rows: Sequence[tuple[int, list[str]]], width: int) -> None:
        """Make a cell that is merged over several rows the value of each of them.

        Args:
            path: The file, for messages.
            rows: The header and what stands below it, each row with its number.
            width: Columns of the header; what stands beside them is left as it is.

        Raises:
            InputError: If a cell with a value is merged over several columns, or a formula has no value.
        """
        if not (self.merged or self.without_value):
            return
        range_boundaries = importlib.import_module("openpyxl.utils.cell").range_boundaries  # slow, and without types

        cells = dict(rows)
        for name in self.without_value:
            column, number = range_boundaries(name)[:2]
            if column <= width and number in cells:
                fix = "open the file in Excel or LibreOffice and save it there, or save the values as CSV"
                raise InputError(f"the value of the formula in {name} of {path}", "none", fix)
        room = width * len(rows)  # no two ranges share a cell
        for name in self.merged:
            left, top, right, bottom = range_boundaries(name)
            value = "".join(cells.get(top, [])[left - 1 : left])
            if left > width or not value:
                continue
            room -= min(bottom - top, len(rows))
            if min(right, width) > left or room < 0:
                raise InputError(f"a cell for each column in {path}", f"{name} merged into one", "undo that merging")
            for number in range(top + 1, bottom + 1) if bottom - top < len(rows) else cells:
                if top < number <= bottom and (row := cells.get(number)) is not None:
                    row.extend([""] * (left - len(row)))
                    row[left - 1] = value


def form_of_cells(file: str, part: str) -> FormOfCells:
    """Read it; a sheet without any is found out without parsing it.

    Args:
        file: An .xlsx file, of which openpyxl has read this sheet.
        part: The file of the sheet in it.
    """
    with zipfile.ZipFile(file) as archive:
        if not _has_any(archive, part):
            return FormOfCells()
        books = (archive.read(name) for name in archive.namelist() if re.fullmatch(r"xl/workbook\w*\.xml", name))
        computed = not any(map(_UNCOMPUTED.search, books))
        form, zeros, others = FormOfCells(), list[str](), False
        for cell, value in _formulas(archive, part, form):
            (zeros if value == "0" else form.without_value if not value else []).append(cell)
            others |= value not in ("", "0")
        if not (computed or others):  # XlsxWriter writes 0 for what it cannot compute
            form.without_value.extend(zeros)
        return form


def _has_any(archive: zipfile.ZipFile, part: str) -> bool:
    before = b""
    with archive.open(part) as source:
        for piece in iter(lambda: source.read(2**20), b""):
            if _MARK.search(before + piece):
                return True
            before = piece[-_LONGEST:]
    return False


def _formulas(archive: zipfile.ZipFile, part: str, form: FormOfCells) -> Iterator[tuple[str, str]]:
    """Each cell with a formula, and its value; merged ranges and hidden rows go into `form`."""
    number = 0
    with archive.open(part) as source:
        for _, element in ElementTree.iterparse(source):
            kind = element.tag.rpartition("}")[2]
            if kind == "c" and element.find("{*}f") is not None:
                text = element.get("t") == "str"  # then "" is a value
                yield element.get("r", "A1"), element.findtext("{*}v") or "text" * text
            elif kind == "mergeCell":
                form.merged.append(element.get("ref", "A1"))
            elif kind == "row":
                number = int(element.get("r", number + 1))
                if element.get("hidden") in ("1", "true"):
                    form.hidden.add(number)
                element.clear()
