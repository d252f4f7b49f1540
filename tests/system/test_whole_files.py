"""Files and folders that are there whole or not at all."""

import json
from pathlib import Path

import pytest

from ibca_lightning.system.whole_files import whole_folder, write_csv, write_json


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"name": "\u00e9"})
    assert json.loads((tmp_path / "new" / "a.json").read_text(encoding="utf-8")) == {"name": "\u00e9"}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "new" / "a.json", float("nan"))
    write_csv(tmp_path / "new" / "b.csv", [("id", "x"), ("a,b", 1)])
    with pytest.raises(ZeroDivisionError):
        write_csv(tmp_path / "new" / "b.csv", ([1 / at] for at in (1, 0)))
    assert (tmp_path / "new" / "b.csv").read_bytes() == b'id,x\n"a,b",1\n'
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.json", "b.csv"]


def test_a_folder_is_whole_and_the_first_one_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "tiles") as part:
        (part / "missing" / "half").touch()
    assert not list(tmp_path.iterdir())
    with whole_folder(tmp_path / "tiles") as slower:
        with whole_folder(tmp_path / "tiles") as faster:
            (faster / "fast").touch()
        (slower / "slow").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["tiles", "fast"]
