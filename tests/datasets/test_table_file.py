from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ibca_lightning.datasets.layouts.table_file import read_workbook
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
