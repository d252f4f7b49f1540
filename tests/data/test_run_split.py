"""A model is never evaluated on what it was trained on, however its table was changed since."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ibca_lightning.data import CSVDataModule, JoinedDataModule, run_split
from ibca_lightning.data.run_split import RunSplit
from ibca_lightning.data.tables.split_file import read_splits, write_splits
from ibca_lightning.data.tables.table import Table, encode
from ibca_lightning.system.errors import DataWarning, InputError
from tests.command_line import done, ibca, refused, rows
from tests.datasets import fake_csv


def module(root: Path, **options: Any) -> CSVDataModule:
    given = {"train_csv": "all.csv", "group_column": "patient", "image_dir": "images", "test_fraction": 0.3}
    return CSVDataModule(str(root), exclude_columns=["sex", "age"], num_workers=0, **(given | options))


def ids(data: CSVDataModule) -> dict[str, set[str]]:
    return {split: set(map(table.name, range(len(table)))) for split, table in data.split_tables().items()}


def changed(table: Path, change: Callable[[list[list[str]]], object]) -> None:
    with table.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    change(lines)
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)


def of(data: Any, folder: Path, split: str = "test", answer: Any = "keep") -> Any:
    data.run_split = RunSplit(str(folder), (split,), answer)
    return data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A table, and beside it `run/splits.csv` of a run on it."""
    fake_csv.write(tmp_path / "tree", rows=60)
    (tmp_path / "run").mkdir()
    write_splits(tmp_path / "run/splits.csv", module(tmp_path / "tree").split_tables())
    return tmp_path / "tree"


def test_a_table_whose_groups_were_corrected_is_split_as_the_run_was(root: Path, tmp_path: Path) -> None:
    trained = ids(module(root))

    def correct(lines: list[list[str]]) -> None:
        for line in lines[1:]:
            line[1] = f"P{int(line[1]) // 2}"  # two spellings of each patient become one

    changed(root / "all.csv", correct)
    assert ids(module(root, group_overlap="warn"))["test"] & trained["train"]  # without the run
    for split in ("test", "val"):
        data = of(module(root), tmp_path / "run", split)
        with pytest.warns(DataWarning, match=r"the split of .*splits.csv is kept"):
            data.read_tables()
        assert ids(data) == trained


@pytest.mark.parametrize("options", [{}, {"split_seed": 5}, {"fold": 1, "folds": 3}])
def test_whatever_else_divides_the_table(options: dict[str, Any], root: Path, tmp_path: Path) -> None:
    data = of(module(root, **options), tmp_path / "run", "val")
    data.setup("validate")
    assert ids(data) == ids(module(root))


def test_tested_pictures_that_were_trained_on_are_refused_and_counted(root: Path, tmp_path: Path) -> None:
    trained = ids(module(root))["train"]
    changed(root / "all.csv", lambda lines: lines.pop())  # a picture less: the run's split is none of this table
    data, seen = of(module(root, split_seed=5), tmp_path / "run"), ids(module(root, split_seed=5))["test"] & trained
    for read in (data.read_tables, lambda: data.setup("test")):
        got = rf"{len(seen)} of \d+ that it was trained on, '\S+' first \(.*splits.csv\)"
        with pytest.raises(InputError, match=rf"{got}; give the pictures that it was trained with, or others alone"):
            read()  # to give the file of splits would not do: it is none of this table
    with pytest.raises(InputError, match=r"give --data.splits .*splits.csv"):
        of(module(root, split_seed=5), tmp_path / "run", answer="refuse").read_tables()
    with pytest.warns(DataWarning, match=r"give --data.splits .*splits.csv"):
        of(module(root, split_seed=5), tmp_path / "run", answer="warn").read_tables()


def test_another_data_set_is_not_asked(root: Path, tmp_path: Path) -> None:
    shutil.move(root / "images", root / "far/images")

    def elsewhere(lines: list[list[str]]) -> None:
        for line in lines[1:]:
            line[0] = f"images/{line[0]}"

    changed(root / "all.csv", elsewhere)
    own = ids(module(root, image_dir="far", split_seed=5))
    assert ids(of(module(root, image_dir="far", split_seed=5), tmp_path / "run")) == own
    data = of(module(root, image_dir="far", split_seed=5), tmp_path)  # a copy of the checkpoint: no run
    data.read_tables()
    assert ids(data) == own


def test_a_name_of_train_and_test_folders_is_that_of_two_pictures(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("id,group,split\n1.png,a,train\n2.png,b,val\n1.png,c,test\n")
    held = RunSplit(str(tmp_path), ("test",), "keep")
    assert not held._seen("test", {"test": SimpleNamespace(names=encode(["1.png"]))}, str)


@pytest.mark.parametrize("sets", [1, 2])
def test_a_file_is_read_once(sets: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def data() -> Any:
        return module(root) if sets == 1 else JoinedDataModule([module(root), module(root)], num_workers=0)

    for suffix, tables in data().split_files().items():
        write_splits(tmp_path / f"splits{suffix}.csv", tables)
    asked: list[str] = []
    monkeypatch.setattr(run_split, "read_splits", lambda file: asked.append(file.name) or read_splits(file))
    again = of(data(), tmp_path)
    again.read_tables()
    again.setup("test")
    assert sorted(asked) == sorted(path.name for path in tmp_path.glob("splits*.csv"))


def table(*names: str, file: str = "t.csv") -> Table:
    ids, rows = encode(list(names)), len(names)
    return Table(file, "images", np.arange(rows, dtype=np.int32), ids, np.zeros((rows, 1), np.int8), ids, {})


def wrote(file: Path, **splits: str) -> None:
    """A `splits.csv` with pictures of one letter: `train="ab"`."""
    rows = [f"{name},{name},{split}" for split, names in splits.items() for name in names]
    file.write_text("\n".join(["id,group,split", *rows]) + "\n")


def test_names_are_compared_as_the_run_wrote_them(tmp_path: Path) -> None:
    wrote(tmp_path / "splits.csv", train="AB", val="C", test="D")
    tables = {"train": table("a", "d"), "val": table("c"), "test": table("b")}
    held = RunSplit(str(tmp_path), ("test",), "keep")
    with pytest.warns(DataWarning, match=r"splits\.csv is kept"):
        kept = held.kept(tables, str.upper)
    assert kept is not None
    assert [kept[split].name(0) for split in ("val", "test")] == ["c", "d"]
    with pytest.raises(InputError, match=r"got 1 of 1 that it was trained on, 'B' first"):
        held.require_unseen(tables, str.upper)
    wrote(tmp_path / "splits.z.csv", train="EF", val="G", test="H")  # of two joined sets, the other one
    other = {"train": table("h"), "val": table("g"), "test": table("e", "f")}
    with pytest.raises(InputError, match=r"got 2 of 2 .* first \(.*splits\.z\.csv\)"):
        held.require_unseen(other, str.upper)


def test_every_held_out_split_is_asked(tmp_path: Path) -> None:
    wrote(tmp_path / "splits.csv", train="ab", val="c", test="d")
    held = RunSplit(str(tmp_path), ("val", "test"), "keep")
    tables = {"train": table("a", "d"), "val": table("c"), "test": table("b")}
    with pytest.warns(DataWarning, match="is kept"):
        assert held.kept(tables)
    with pytest.raises(InputError, match="test pictures that the model has not seen"):
        held.require_unseen(tables)
    held.require_unseen({"val": table("c"), "test": table("d")})


def test_which_file_of_joined_sets_tells_of_these_pictures(tmp_path: Path) -> None:
    def held(suffix: str = ".b") -> RunSplit:
        return RunSplit(str(tmp_path), ("test",), "refuse", suffix)

    tables = {"test": table("a", "b")}
    held().require_unseen(tables)  # no file
    wrote(tmp_path / "splits.csv", train="a", test="b")  # the run had one set, and now it is one of several
    with pytest.raises(InputError, match=r"got 1 of 2 .*'a' first \(.*splits\.csv\)"):
        held().require_unseen(tables)
    (tmp_path / "splits.csv").unlink()
    wrote(tmp_path / "splits.a.csv", train="b", test="a")
    wrote(tmp_path / "splits.b.csv", train="a", test="b")  # the same pictures, divided otherwise
    for suffix, first in ((".a", "b"), (".b", "a")):
        with pytest.raises(InputError, match=rf"'{first}' first \(.*splits\{suffix}\.csv"):
            held(suffix).require_unseen(tables)
    wrote(tmp_path / "splits.a.csv", train="bcd", test="a")  # all of them as well, but of more besides
    with pytest.raises(InputError, match=r"'a' first \(.*splits\.b\.csv"):
        held(".a").require_unseen(tables)


def test_each_of_joined_sets_and_one_of_them_alone(root: Path, tmp_path: Path) -> None:
    def joined(**options: Any) -> JoinedDataModule:
        return JoinedDataModule([module(root), module(root, **options)], num_workers=0)

    for suffix, tables in joined().split_files().items():
        write_splits(tmp_path / f"splits{suffix}.csv", tables)
    data = of(joined(split_seed=5), tmp_path)
    data.read_tables()
    assert all(ids(each) == ids(module(root)) for each in data.sets.values())
    alone = of(module(root, split_seed=5), tmp_path)
    with pytest.warns(DataWarning, match="is kept"):
        alone.read_tables()
    assert ids(alone) == ids(module(root))


def test_joined_sets_are_known_in_another_order(root: Path, tmp_path: Path) -> None:
    fake_csv.write(other := tmp_path / "other", rows=60)

    def rename(lines: list[list[str]]) -> None:
        for line in lines[1:]:
            file = Path(other, "images", line[0])
            file.rename(file.with_stem(f"b{file.stem}"))
            line[0] = Path(line[0]).with_stem(f"b{file.stem}").as_posix()

    changed(other / "all.csv", rename)
    for suffix, tables in JoinedDataModule([module(root), module(other)]).split_files().items():
        write_splits(tmp_path / f"splits{suffix}.csv", tables)
    data = of(JoinedDataModule([module(other, split_seed=5), module(root)]), tmp_path)
    with pytest.warns(DataWarning, match=r"splits.CSVDataModule_2.csv is kept"):
        data.read_tables()
    assert [ids(each) for each in data.sets.values()] == [ids(module(other)), ids(module(root))]


def test_every_command_that_evaluates_a_split(run: Path, tree: Path, here: Path, tmp_path: Path) -> None:
    """As if a picture of test, and one of val, had been one to train on."""
    own = here / "own"
    shutil.copytree(run, own)
    given = ("--config", own / "config.yaml", "--ckpt_path", own / "checkpoints/best.ckpt")
    for split, commands in (("test", ("test", "predict", "faithfulness")), ("val", ("validate",))):
        shutil.copy(run / "splits.csv", own / "splits.csv")
        at = next(at for at, row in enumerate(rows(own / "splits.csv"), 1) if row["split"] == split)
        changed(own / "splits.csv", lambda lines, at=at: lines[at].__setitem__(2, "train"))
        name = rows(own / "splits.csv")[at - 1]["id"]
        for command in commands:
            refused(command, *given, names=(f"1 of {'5' if split == 'val' else '10'}", f"'{name}'", "own/splits.csv"))
        result = ibca("fit", *given, "--run_dir", tmp_path / "new", "--trainer.max_epochs", 3)
        assert result.code == 2
        assert "give --data.splits own/splits.csv" in result.errors[0]
    with pytest.warns(DataWarning, match="val pictures that the model has not seen, got 1 of 5"):
        done("fit", "--config", own / "config.yaml", "--model.init_from", own / "checkpoints/best.ckpt",
             "--run_dir", tmp_path / "new", "--trainer.max_epochs", 1)  # fmt: skip


def test_pictures_of_equal_names_of_another_folder_are_told_of(
    run: Path, tree: Path, here: Path, tmp_path: Path
) -> None:
    """Another hospital numbers its pictures as well; that they are the same cannot be known, and is said."""
    shutil.copytree(tree, ext := tmp_path / "ext")
    for name in ("val.csv", "test.csv"):
        (ext / name).unlink()
    (ext / "train.csv").rename(ext / "theirs.csv")
    own = here / "own"
    shutil.copytree(run, own)
    given = ("--config", own / "config.yaml", "--ckpt_path", own / "checkpoints/best.ckpt", "--data.root", ext)
    with pytest.warns(DataWarning, match=r"with names of those that it was trained on, .* in another folder"):
        done("test", *given, "--data.test_csv", "theirs.csv", "--run_dir", "elsewhere")
    assert len(rows(Path("elsewhere/test_predictions.csv"))) == 15
