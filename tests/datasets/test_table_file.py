import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ibca_lightning.datasets.layouts.tables.table_file import read_any, read_workbook
from ibca_lightning.system.errors import DataWarning, InputError


def save(path: Path, rows: list[list[Any]]) -> str:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return str(path)


def test_cells_become_the_text_one_sees(tmp_path: Path) -> None:
    rows = [["ID", " name ", "score", None], [7, " a", 1.0], [], ["007", None, 0.5], [8, "b", True]]
    sheet = read_workbook(save(tmp_path / "t.xlsx", rows))
    assert sheet.header == ["ID", "name", "score"]
    assert sheet.column("ID") == ["7", "007", "8"]
    assert sheet.column("name") == ["a", "", "b"]
    assert sheet.column("score") == ["1", "0.5", "True"]
    assert sheet.where(1) == f"{tmp_path / 't.xlsx'}, line 4"


@pytest.mark.parametrize(
    ("rows", "text"),
    [([], "got none"), ([["a", "b"]], "a header only"), ([["a", "b", "a"], [1, 2, 3]], "'a' twice")],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, rows: list[list[Any]], text: str) -> None:
    with pytest.raises(InputError, match=text):
        read_workbook(save(tmp_path / "t.xlsx", rows))


@pytest.mark.parametrize("content", [b"", b"ID,N\n1,0\n", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_workbook_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.xlsx").write_bytes(content)
    with pytest.raises(InputError, match=r"an Excel workbook at .*t\.xlsx"):
        read_workbook(str(tmp_path / "t.xlsx"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [["Ward 7, 2021"], ["file", "polyp"], ["a.png", 1]],
            r"nothing beyond column 1, .*got a value on line 2; .*title",
        ),
        ([["file", "polyp"], ["a.png", 1, None, "see report"]], r"nothing beyond column 2, .*got a value on line 2"),
        ([["Ward 7", None, None, "2021"], ["file", "a", "b", "c"]], r"header of .*got 2 without one; .*title"),
    ],
)
def test_cells_beyond_the_header_are_not_cut_in_silence(tmp_path: Path, rows: Any, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read_workbook(save(tmp_path / "t.xlsx", rows))


def test_the_sheet_that_is_read_is_named_where_there_are_several(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.worksheets[0].title = "Legende"
    book.worksheets[0].append(["code", "meaning"])
    book.create_sheet("Befunde").append(["file", "polyp"])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match=r"sheet 'Legende', the first of 2.*got a header only"):
        read_workbook(str(tmp_path / "t.xlsx"))


def written(path: Path, change: Callable[[Any, Any], None]) -> str:
    """A workbook of two columns and four rows, changed."""
    book = openpyxl.Workbook()
    for row in (["file", "p"], *([f"{at}.png", at % 2] for at in range(4))):
        book.active.append(row)
    change(book, book.active)
    book.save(path)
    return str(path)


def rewritten(path: str, *changes: tuple[str, str]) -> str:
    """A workbook with other text in the XML of its sheet and of itself."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            for pattern, by in changes:
                text = re.sub(pattern, by, text)
            archive.writestr(name, text)
    return path


FORMULA = r"<c r=\"B4\"[^>]*><f>(.*?)</f><v ?/?>(</v>)?</c>"


def formula(book: Any, sheet: Any) -> None:
    sheet["B4"] = "=IF(1>0,1,0)"


def test_a_formula_without_its_value_is_named_with_its_cell(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"value of the formula in B4 of .*t\.xlsx, got none; open the file in Excel"):
        read_workbook(written(tmp_path / "t.xlsx", formula))


@pytest.mark.parametrize(
    ("cell", "value"), [('<c r="B4"><f>1</f><v>1</v></c>', "1"), ('<c r="B4" t="str"><f>""</f><v></v></c>', "")]
)
def test_a_formula_with_its_value_is_that(tmp_path: Path, cell: str, value: str) -> None:
    """Text without a letter is a value, of `=IF(A4="", "", 1)`."""
    path = rewritten(written(tmp_path / "t.xlsx", formula), (FORMULA, cell))
    assert read_workbook(path).column("p") == ["0", "1", value, "1"]


def test_zeros_of_a_program_that_does_not_compute_are_no_values(tmp_path: Path) -> None:
    """So XlsxWriter, and pandas with it, writes every formula; Excel drops `fullCalcOnLoad`."""
    path = written(tmp_path / "t.xlsx", formula)
    zero = (FORMULA, '<c r="B4"><f>1</f><v>0</v></c>')
    with pytest.raises(InputError, match=r"the value of the formula in B4"):
        read_workbook(rewritten(path, zero))
    rewritten(path, (r'fullCalcOnLoad="1"', ""))
    assert read_workbook(path).column("p") == ["0", "1", "0", "1"]


def test_a_formula_beside_the_table_is_nothing(tmp_path: Path) -> None:
    def beside(book: Any, sheet: Any) -> None:
        sheet["D3"] = "=SUM(B2:B5)"

    assert read_workbook(written(tmp_path / "t.xlsx", beside)).column("p") == ["0", "1", "0", "1"]


def test_a_cell_merged_over_rows_is_the_value_of_each(tmp_path: Path) -> None:
    """As one patient's pictures are often written, and as one sees it."""

    def merge(book: Any, sheet: Any) -> None:
        sheet.append([None, None])
        sheet.append(["9.png", 1])
        sheet.merge_cells("B2:B3")
        sheet.merge_cells("B5:B6")  # beyond the last row but one, which is blank
        sheet.merge_cells("D1:E3")  # empty

    sheet = read_workbook(written(tmp_path / "t.xlsx", merge))
    assert (sheet.column("p"), list(sheet.lines)) == (["0", "0", "0", "1", "1"], [2, 3, 4, 5, 7])


@pytest.mark.parametrize("cells", ["A1:B1", "A3:B4"])
def test_a_cell_merged_over_columns_is_refused(tmp_path: Path, cells: str) -> None:
    def merge(book: Any, sheet: Any) -> None:
        sheet["C1"] = "q"
        sheet.merge_cells(cells)

    path = written(tmp_path / "t.xlsx", merge)
    with pytest.raises(InputError, match=rf"a cell for each column in .*, got {cells} merged into one"):
        read_workbook(path)


def test_the_first_visible_sheet_is_read(tmp_path: Path) -> None:
    def hide(book: Any, sheet: Any) -> None:
        sheet.sheet_state = "hidden"
        for row in (["file", "p"], ["seen.png", 1]):
            (book["Seen"] if "Seen" in book else book.create_sheet("Seen")).append(row)
        book.active = book["Seen"]

    sheet = read_workbook(written(tmp_path / "t.xlsx", hide))
    assert sheet.column("file") == ["seen.png"]
    assert "sheet 'Seen', the first visible one of 2, which alone is read" in sheet.where(0)


@pytest.mark.parametrize(("header", "told"), [(["file", "p"], True), (["code", "meaning"], False)])
def test_sheets_with_the_same_columns_that_are_not_read_are_told_of(
    tmp_path: Path, header: list[str], told: bool
) -> None:
    path = written(tmp_path / "t.xlsx", lambda book, _: book.create_sheet("2023").append(header))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read_workbook(path)
    texts = [str(each.message) for each in said if each.category is DataWarning]
    assert [text.split(",")[0] for text in texts] == ["further sheets with the same columns are not read: 2023"] * told


def hidden(path: str) -> list[str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert len(read_workbook(path)) == 4
    return [str(each.message).replace(path, "FILE") for each in said if each.category is DataWarning]


def test_rows_that_a_filter_hides_are_read_and_told_of(tmp_path: Path) -> None:
    def hide(book: Any, sheet: Any) -> None:
        sheet.auto_filter.ref = "A1:B5"
        sheet.auto_filter.add_filter_column(1, ["1"])
        for row in (2, 4, 9):  # the last is none
            sheet.row_dimensions[row].hidden = True

    (told,) = hidden(written(tmp_path / "t.xlsx", hide))
    said = "2 of 4 rows of FILE are hidden, as by a filter, and are read as the others, the first on line 2; show them"
    assert told.startswith(said)
    path = rewritten(str(tmp_path / "t.xlsx"), (r'(<row [^>]*)hidden="1"', r'\1customHeight="1" hidden="true"'))
    assert hidden(path) == [told]


@pytest.mark.parametrize("what", ["a filter of all", "a hidden column", "the header"])
def test_a_workbook_that_hides_no_row_of_the_table_says_nothing(tmp_path: Path, what: str) -> None:
    def change(book: Any, sheet: Any) -> None:
        sheet.auto_filter.ref = "A1:B5"
        if what == "a hidden column":
            sheet.column_dimensions["A"].hidden = True
        if what == "the header":
            sheet.row_dimensions[1].hidden = True

    assert hidden(written(tmp_path / "t.xlsx", change)) == []


def test_a_number_of_which_a_spreadsheet_has_cut_digits_is_no_id(tmp_path: Path) -> None:
    rows = [["file", "p"], ["1.png", 1234567890123456789.0], ["2.png", 123456789012345.0]]
    assert read_workbook(save(tmp_path / "t.xlsx", rows)).column("p") == ["1.234567890123457e+18", "123456789012345"]


@pytest.mark.parametrize(
    ("form", "seen"),
    [
        ("0000", ["0007", "12345", "1.5", "a"]),
        ('"P"000', ["P007", "P12345", "1.5", "a"]),
        ("\\P0", ["P7", "P12345", "1.5", "a"]),
        ("[$-407]00000", ["00007", "12345", "1.5", "a"]),
        ("000\\-00", ["000-07", "123-45", "1.5", "a"]),
        ('0" mm"', ["7", "12345", "1.5", "a"]),
        ("0.00", ["7", "12345", "1.5", "a"]),
        ("#,##0", ["7", "12345", "1.5", "a"]),
    ],
)
def test_an_id_has_the_zeros_that_one_sees(tmp_path: Path, form: str, seen: list[str]) -> None:
    book = openpyxl.Workbook()
    for row in (["ID", "polyp"], [7, True], [12345, 0], [1.5, None], ["a", 1.0]):
        book.active.append(row)
        book.active.cell(book.active.max_row, 1).number_format = form
    book.save(tmp_path / "t.xlsx")
    sheet = read_workbook(str(tmp_path / "t.xlsx"))
    assert sheet.column("ID") == seen
    assert sheet.column("polyp") == ["True", "0", "", "1"]


def test_workbooks_under_a_password_and_of_the_strict_form_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "locked.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000))
    with pytest.raises(InputError, match=r"locked\.xlsx, got one under a password, or an old \.xls; open it in Excel"):
        read_workbook(str(tmp_path / "locked.xlsx"))
    with (
        zipfile.ZipFile(save(tmp_path / "t.xlsx", [["a", "b"], [1, 2]])) as book,
        zipfile.ZipFile(tmp_path / "strict.xlsx", "w") as strict,
    ):
        for name in book.namelist():
            text = book.read(name)
            for kind in (b"spreadsheetml", b"officeDocument"):
                text = re.sub(
                    rb"http://schemas.openxmlformats.org/%s/2006" % kind, b"http://purl.oclc.org/ooxml/" + kind, text
                )
            strict.writestr(name, text)
    with pytest.raises(InputError, match=r"strict\.xlsx, got Strict Open XML; save it as Excel Workbook"):
        read_workbook(str(tmp_path / "strict.xlsx"))


def test_a_table_of_bars_is_read_and_one_of_blanks_is_told_of_separators(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image|polyp\na.png|1\nb.png|0\n")
    assert read_any(str(tmp_path / "t.csv")).column("polyp") == ["1", "0"]
    (tmp_path / "t.csv").write_text("image,found\na.png,a|b|c\nb.png,b\n")
    assert read_any(str(tmp_path / "t.csv")).column("found") == ["a|b|c", "b"]
    (tmp_path / "t.csv").write_text("image polyp\na.png 1\n")
    with pytest.raises(InputError, match=r"got the columns image polyp; part the cells by commas, semicolons, tabs"):
        read_any(str(tmp_path / "t.csv")).column("image")


@pytest.mark.parametrize("name", ["t.xlsx", "t.parquet"])
def test_a_table_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}, got nothing there; correct the path"):
        read_any(str(tmp_path / name))


def test_a_row_too_long_for_its_header_is_told_of_quotes_and_titles(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file;findings\na.png;polyp\nb.png;polyp; BE\n")
    with pytest.raises(InputError, match=r"line 3, got 3; put quotes round a cell that holds the separator$"):
        read_any(str(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("Ward 7\nfile,polyp\na.png,1\n")
    with pytest.raises(InputError, match=r"line 2, got 2; .*title"):
        read_any(str(tmp_path / "t.csv"))
