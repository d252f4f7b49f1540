from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ibca_lightning.datasets.layouts.table_file import read_any, read_workbook
from ibca_lightning.system.errors import InputError


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
