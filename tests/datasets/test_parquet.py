"""Parquet tables are read as the same table in CSV would be, and strangers' ones are refused in one line."""

import datetime
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ibca_lightning.data import CSVDataModule
from ibca_lightning.datasets.layouts.tables import parquet
from ibca_lightning.datasets.layouts.tables.table_file import read_any
from ibca_lightning.system.errors import InputError
from tests.command_line import done
from tests.start import raw_sets


def saved(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_cells_become_the_text_of_a_csv_file(tmp_path: Path) -> None:
    sheet = read_any(
        saved(
            tmp_path / "t.parquet", id=["007", None, " a"], n=[1.0, 0.5, None], ok=[True, False, None],
            day=[datetime.date(2024, 3, 1)] * 3, kind=pa.array(["x", "x", None]).dictionary_encode(),
            nothing=[None] * 3,
        )
    )  # fmt: skip
    assert sheet.header == ["id", "n", "ok", "day", "kind", "nothing"]
    assert [*sheet.rows] == [
        ("007", "1", "True", "2024-03-01", "x", ""), ("", "0.5", "False", "2024-03-01", "x", ""),
        ("a", "", "", "2024-03-01", "", ""),
    ]  # fmt: skip
    assert sheet.where(1).endswith("t.parquet, line 2")


def test_init_and_the_data_module_take_one(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    table = saved(tmp_path / "t.parquet", file=names, polyp=[at % 2 for at in range(60)], patient=[*range(30)] * 2)
    output = tmp_path / "e.yaml"
    assert "1 class: polyp" in done(
        "init", "--table", table, "--images", tmp_path / "p", "--output", output, "--yes"
    ).out  # fmt: skip
    data = CSVDataModule(str(tmp_path), "t.parquet", image_column="file", image_dir="p", label_columns=["polyp"])
    assert sum(len(each) for each in data.split_tables().values()) == 60


class _Own(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.string(), "tests.own")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, data: bytes) -> "_Own":
        raise AssertionError("made from what a file says")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([b"\0"]), "text, numbers or times in column 'c'"),
        (pa.array([{"a": 1}]), "text, numbers or times in column 'c'"),
        (pa.array([["a"]]), "text, numbers or times in column 'c'"),
        (pa.ExtensionArray.from_storage(_Own(), pa.array(["a"])), "text, numbers or times in column 'c'"),
        (pa.array([], pa.string()), "got none"),
    ],
    ids=["binary", "struct", "list", "extension", "no rows"],
)
def test_what_is_no_table_of_text_is_refused(tmp_path: Path, column: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_any(saved(tmp_path / "t.parquet", c=column))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n"])
def test_a_file_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"a Parquet table at .*t\.parquet"):
        read_any(str(tmp_path / "t.parquet"))
    with pytest.raises(InputError, match="a Parquet table at"):
        read_any(str(tmp_path / "no.parquet"))


def test_its_size_is_bounded_before_it_is_read_and_a_repeated_text_is_held_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "a" * 10**6
    sheet = read_any(saved(tmp_path / "t.parquet", c=[long] * 1000, d=["b"] * 1000))
    assert len({id(row[0]) for row in sheet.rows}) == 1
    monkeypatch.setattr(parquet, "_CELLS", 1999)
    with pytest.raises(InputError, match="got 1000 rows of 2 columns"):
        read_any(str(tmp_path / "t.parquet"))


def test_without_pyarrow_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'ibca-lightning\[parquet\]'"):
        read_any(str(tmp_path / "t.parquet"))
