"""Tables that are read column by column say what the reader of CSV says."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ibca_lightning.data import columns_of_text
from ibca_lightning.data.tables import sheet
from ibca_lightning.data.tables.columns import with_values
from ibca_lightning.data.tables.sheet import Sheet, read_sheet

CELLS = ("0", "1", "", "-1", " 1", "\u00a0", "x y", "ä", "日本", "1.0", "0012", "NaN", "a/b.png", "\x0b")


def drawn(seed: int) -> str:
    """A table of random cells, separators and line ends; some have what takes the reader of CSV."""
    rng = np.random.default_rng(seed)
    separator, end = ";,\t"[seed % 3], ("\n", "\r\n")[seed % 2]
    rows = [[str(cell) for cell in rng.choice(CELLS, 4)] for _ in range(rng.integers(1, 40))]
    extra = ('"q,;"', "y" * 300)[seed % 2] if seed % 5 == 0 else "z"
    rows[-1][0] = extra
    lines = [separator.join(["image", "a", "b", "c"]), *(separator.join(row) for row in rows)]
    return end.join(lines) + ("", end, end + end)[seed % 3]


def both(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Sheet, Sheet]:
    """The table as it is read, and by the reader of CSV."""
    found = read_sheet(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(sheet, "_plain", lambda *_: None)
        return found, read_sheet(str(path))


@pytest.mark.parametrize("chunk", [7, 2**20])
def test_a_plain_table_is_read_as_by_the_reader_of_csv(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns_of_text, "_CHUNK", chunk)
    fast = 0
    for seed in range(60):
        (tmp_path / "t.csv").write_text(drawn(seed), encoding="utf-8", newline="")
        found, expected = both(tmp_path / "t.csv", monkeypatch)
        assert (found.header, [*found.rows], [*found.lines]) == (expected.header, [*expected.rows], [*expected.lines])
        fast += isinstance(found.lines, range)
        for name in found.header:
            texts, of_rows = found.coded(name)
            assert [texts[at] for at in of_rows] == found.column(name) == expected.column(name)
            assert len(texts) <= len(found)
        rows = [*range(0, len(found), 2)]
        assert [*found.take(rows).rows] == [tuple(expected.rows[row]) for row in rows]
        assert found.rows[0] == expected.rows[0]
        more = {"a": ["n"] * len(found), "new": found.column("b")}
        assert [*found.with_columns(more).rows] == [*expected.with_columns(more).rows]
    assert 40 < fast < 60  # both ways are taken


def test_labels_of_a_large_table_take_a_byte_each(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,a,b\n" + "".join(f"{at}.png,1,\n" for at in range(1000)))
    columns = read_sheet(str(tmp_path / "t.csv")).rows.columns  # type: ignore[attr-defined]
    assert [each.itemsize for each in columns] == [7, 1, 1]


def test_a_label_cell_with_a_line_break_stays_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('image,a,b\n1.png,yes,2\n2.png,"1\n0",0\n3.png,no,"3\n"\n')
    found = with_values(read_sheet(str(tmp_path / "t.csv")), ["a"], {"yes": 1, "no": 0}, ["b"])
    assert (found.column("a"), found.column("b")) == (["1", "1\n0", "0"], ["1", "0", "1"])
    assert [*found.rows] == [("1.png", "1", "1"), ("2.png", "1\n0", "0"), ("3.png", "0", "1")]


@pytest.mark.parametrize("piece", [3, 2**16])
def test_cells_of_any_length_come_back(piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quoted, long, with ends of lines; of a list file too: as Python's reader has them."""
    monkeypatch.setattr(columns_of_text, "_PIECE", piece)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cells = (*CELLS, "q,;", "two\nlines", "y" * 300, "ä" * 90, "z" * 5000)
        table = [[str(cell).strip() for cell in rng.choice(cells, 3)] for _ in range(rng.integers(2, 40))]
        table = [row for row in table if any(row)]
        with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["a", "b", "c"], *table])
        found = read_sheet(str(tmp_path / "t.csv"))
        assert [list(row) for row in found.rows] == table
        rows = [*range(0, len(table), 3), 0]
        assert [list(row) for row in found.take(rows).rows] == [table[row] for row in rows]
        for at, name in enumerate(found.header):
            texts, of_rows = found.coded(name)
            expected = [row[at] for row in table]
            assert [texts[row] for row in of_rows] == found.column(name) == expected
            assert found.rows[-1][at] == expected[-1]
    (tmp_path / "list.txt").write_text("".join(f"{at}.png 0,{at % 2}\n\n" for at in range(50)))
    listed = read_sheet(str(tmp_path / "list.txt"), ["image", "a", "b"])
    assert [*listed.rows] == [(f"{at}.png", "0", str(at % 2)) for at in range(50)]
    assert list(listed.lines) == [*range(1, 101, 2)]
