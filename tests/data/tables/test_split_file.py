"""A split written into the run folder, and read again."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ibca_lightning.data import CSVDataModule, Endo
from ibca_lightning.data.tables.split_file import apply_splits, read_splits, trained_on, training_rows, write_splits
from ibca_lightning.data.tables.table import Table, encode
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, ibca, rows, written
from tests.datasets import fake_csv, fake_endo


def ids(tables: dict[str, Table]) -> dict[str, list[str]]:
    return {split: [table.name(row) for row in range(len(table))] for split, table in tables.items()}


def module(root: Path, **options: object) -> CSVDataModule:
    given = {"train_csv": "all.csv", "group_column": "patient", "image_dir": "images", "test_fraction": 0.2}
    return CSVDataModule(str(root), exclude_columns=["sex", "age"], **(given | options))  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fake_csv.write(tmp_path / "tree", rows=60)
    return tmp_path / "tree"


@pytest.mark.slow
def test_a_run_writes_its_split_and_another_repeats_it_whatever_its_seed(tree: Path, here: Path) -> None:
    data = {"train_csv": "all.csv", "val_csv": None, "test_csv": None, "split_seed": 3}
    config = written(here / "e.yaml", experiment(tree, **data))
    fast = ("--trainer.limit_train_batches", 1, "--trainer.limit_val_batches", 1)
    other_split = ("--data.split_seed", 4, "--data.val_fraction", 0.4)
    done("fit", "--config", config, "--run_dir", "a", *fast)
    done("fit", "--config", config, "--run_dir", "b", *other_split, *fast)
    done("fit", "--config", config, "--run_dir", "c", *other_split, "--data.splits", "a/splits.csv", *fast)
    first, other, again = (rows(Path(run) / "splits.csv") for run in "abc")
    assert first == again
    assert first != other
    assert sorted(row["id"] for row in first) == sorted(row["image"] for row in rows(tree / "all.csv"))
    splits_of = {group: {row["split"] for row in first if row["group"] == group} for group in ["0000", "0001"]}
    assert all(len(splits) == 1 for splits in splits_of.values())
    result = ibca("fit", "--config", config, "--run_dir", "a", "--ckpt_path", "a/checkpoints/last.ckpt",
                  *other_split, "--trainer.max_epochs", 2, *fast)  # fmt: skip
    assert result.code == 2
    assert "the splits that this run began with" in result.errors[0]
    done("fit", "--config", config, "--run_dir", "a", "--ckpt_path", "a/checkpoints/last.ckpt",
         "--trainer.max_epochs", 2, *fast)  # fmt: skip


def test_every_array_of_every_split_is_that_of_the_first_run(root: Path, tmp_path: Path) -> None:
    first = module(root)
    write_splits(tmp_path / "s.csv", first.split_tables())
    for options in ({}, {"split_seed": 7}, {"test_fraction": 0.0}, {"test_fraction": 0.5, "val_fraction": 0.4}):
        again = module(root, splits=str(tmp_path / "s.csv"), **options).split_tables()
        assert list(again) == ["train", "val", "test"]
        for split, table in first.split_tables().items():
            for name in ("lines", "names", "labels", "groups"):
                assert np.array_equal(getattr(table, name), getattr(again[split], name))


def test_a_file_that_says_the_same_is_left_alone_and_another_is_refused(root: Path, tmp_path: Path) -> None:
    path, tables = tmp_path / "s.csv", module(root).split_tables()
    write_splits(path, dict(reversed(tables.items())))
    splits = [row["split"] for row in rows(path)]
    assert splits == [split for split in ("train", "val", "test") for _ in range(len(tables[split]))]
    before = path.stat()
    write_splits(path, tables)
    assert path.stat() == before
    # As where the spelling of a patient was corrected meanwhile.
    write_splits(path, {split: replace(table, groups=table.names) for split, table in tables.items()})
    with pytest.raises(InputError, match="the splits that this run began with"):
        write_splits(path, {"train": tables["test"], "val": tables["val"], "test": tables["train"]})
    with pytest.raises(InputError, match="the splits that this run began with"):
        write_splits(path, {"train": tables["train"], "val": tables["val"]})
    assert path.stat() == before


def test_an_official_test_table_stays_what_it_is(tmp_path: Path) -> None:
    fake_endo.write(tmp_path / "endo")
    first = Endo(str(tmp_path / "endo"))
    write_splits(tmp_path / "s.csv", first.split_tables())
    again = Endo(str(tmp_path / "endo"), split_seed=9, splits=str(tmp_path / "s.csv"))
    assert ids(again.split_tables()) == ids({split: first.table(split) for split in ("train", "val", "test")})
    text = (tmp_path / "s.csv").read_text()
    (tmp_path / "s.csv").write_text(text.replace(",test\n", ",val\n", 1).replace(",test\r\n", ",val\r\n", 1))
    with pytest.raises(InputError, match=r"every row of .* in one of test"):
        Endo(str(tmp_path / "endo"), splits=str(tmp_path / "s.csv")).split_tables()


def edited(path: Path, change: object) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    change(table)  # type: ignore[operator]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.pop(3), r"every row of .*all.csv in one of test, train, val in .* at .*all.csv, line \d+"),
        (lambda table: table.append(["x.png", "0000", "train"]), r"rows of the tables only in .* at .*s.csv, line 62;"),
        (lambda table: table.append([*table[1][:2], "val"]), r"once in .*, got another at .*line 2, .*line 62"),
        (lambda table: table[1].__setitem__(2, "holdout"), r"train, val or test in .*s.csv, line 2, got 'holdout'"),
        (lambda table: table[0].__setitem__(0, "picture"), r"the columns id, group, split in"),
        (lambda table: [row.__setitem__(2, "train") for row in table[1:]], r"rows of val in .*s.csv, got none"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_and_the_rows_are_named(
    change: object, message: str, root: Path, tmp_path: Path
) -> None:
    write_splits(tmp_path / "s.csv", module(root).split_tables())
    edited(tmp_path / "s.csv", change)
    with pytest.raises(InputError, match=message):
        module(root, splits=str(tmp_path / "s.csv")).split_tables()


@pytest.mark.parametrize(("gone", "rest"), [(3, ";"), (5, " and 2 more;")])
def test_three_places_are_named_and_the_rest_is_counted(gone: int, rest: str, root: Path, tmp_path: Path) -> None:
    write_splits(tmp_path / "s.csv", module(root).split_tables())
    edited(tmp_path / "s.csv", lambda table: table.__delitem__(slice(1, 1 + gone)))
    with pytest.raises(InputError, match=rf"got another at (\S*all\.csv, line \d+(, )?){{3}}{rest}"):
        module(root, splits=str(tmp_path / "s.csv")).split_tables()


def test_a_file_that_cuts_a_group_is_a_leak(root: Path, tmp_path: Path) -> None:
    write_splits(tmp_path / "s.csv", module(root).split_tables())

    def move(table: list[list[str]]) -> None:
        row = next(row for row in table if row[2] == "train")
        row[2] = "val"

    edited(tmp_path / "s.csv", move)
    with pytest.raises(InputError, match="every group in one split only"):
        module(root, splits=str(tmp_path / "s.csv")).split_tables()
    with pytest.warns(UserWarning, match="every group in one split only"):
        module(root, splits=str(tmp_path / "s.csv"), group_overlap="warn").split_tables()


def test_a_row_more_in_the_table_is_named(root: Path, tmp_path: Path) -> None:
    write_splits(tmp_path / "s.csv", module(root).split_tables())
    last = rows(root / "all.csv")[-1]
    shutil.copy(root / "images" / last["image"], root / "images" / "new.png")
    with (root / "all.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(["new.png", *list(last.values())[1:]])
    with pytest.raises(InputError, match=r"got another at .*all.csv, line 62"):
        module(root, splits=str(tmp_path / "s.csv")).split_tables()


def table(file: str, names: str, folder: str = "images", **subgroups: str) -> Table:
    """Pictures of one letter, each of a patient of its own."""
    labels, rows = np.zeros((len(names), 1), np.int8), np.arange(len(names), dtype=np.int32)
    groups = encode([f"p{name}" for name in names])
    of = {column: encode(list(values)) for column, values in subgroups.items()}
    return Table(file, folder, rows, encode(list(names)), labels, groups, of)


def wrote(path: Path, *entries: str) -> str:
    """A split file with `a train`, `b val` and so on."""
    rows = (entry.split() for entry in entries)
    path.write_text("\n".join(["id,group,split", *(f"{name},p{name},{split}" for name, split in rows)]) + "\n")
    return str(path)


def test_a_row_stays_in_the_table_and_the_folder_that_it_is_of(tmp_path: Path) -> None:
    tables = {"train": table("train.csv", "abc"), "test": table("test.csv", "de")}
    rows = ("a train", "b val", "c train", "d test")
    found = apply_splits(wrote(tmp_path / "s.csv", *rows, "e test"), tables)
    assert ids(found) == {"train": ["a", "c"], "val": ["b"], "test": ["d", "e"]}
    for other in ("train", "val"):  # the official test set is none to train or to validate on
        with pytest.raises(InputError, match=r"every row of test\.csv in one of test in .*s\.csv, got another at test"):
            apply_splits(wrote(tmp_path / "s.csv", *rows, f"e {other}"), tables)
    with pytest.raises(InputError, match=r"every row of train\.csv in one of train, val in"):
        apply_splits(wrote(tmp_path / "s.csv", "a train", "b val", "c test", "d test", "e test"), tables)
    # One table of pictures in two folders, which are called alike.
    folders = {"train": table("t.csv", "ab", "train"), "test": table("t.csv", "ab", "test")}
    found = apply_splits(wrote(tmp_path / "s.csv", "a train", "b val", "a test", "b test"), folders)
    assert ids(found) == {"train": ["a"], "val": ["b"], "test": ["a", "b"]}
    assert [each.folder for each in found.values()] == ["train", "train", "test"]
    with pytest.raises(InputError, match=r"rows of train in .*s\.csv, got none"):
        apply_splits(wrote(tmp_path / "s.csv", "a val", "b val"), {"train": table("t.csv", "ab")})


def test_what_a_run_trained_on_is_read_from_its_file(tmp_path: Path) -> None:
    path = wrote(tmp_path / "s.csv", "a train", "b val", "c test", "d train")
    assert trained_on(path) == {"a", "d"}
    assert read_splits(path) == [("a", "train"), ("b", "val"), ("c", "test"), ("d", "train")]
    (tmp_path / "other.csv").write_text("id,patient,split\na,p,train\n")  # somebody else's
    for none in ("nowhere.csv", "other.csv"):
        assert trained_on(tmp_path / none) is read_splits(tmp_path / none) is None


def test_rows_that_are_trained_on_are_called_as_joined_sets_call_them() -> None:
    one, two = table("1.csv", "ab", site="ns", sex="fm"), table("2.csv", "c", site="w")
    files = {".x": {"train": one, "test": two}, ".y": {"train": two}}
    assert training_rows(files, str.upper) == (
        ["X/A", "X/B", "Y/C"],
        ["x/pa", "x/pb", "y/pc"],
        {"site": ["n", "s", "w"]},
    )
    alone = training_rows({"": {"train": one}}, str)
    assert alone == (["a", "b"], ["pa", "pb"], {"site": ["n", "s"], "sex": ["f", "m"]})
