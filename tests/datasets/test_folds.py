"""Cross-validation over tables of several files; what each data set must do stands in the contract."""

from pathlib import Path

import pytest

from ibca_lightning.data import CSVDataModule
from ibca_lightning.system.errors import InputError


def module(tree: Path, **options: object) -> CSVDataModule:
    given = {"val_csv": "val.csv", "test_csv": "test.csv", "group_column": "patient", "image_dir": "images"}
    return CSVDataModule(str(tree), exclude_columns=["sex", "age"], **(given | options))  # type: ignore[arg-type]


def test_rows_of_two_files_keep_their_file_labels_masks_and_subgroups(tree: Path) -> None:
    options = {"mask_dir": "masks", "subgroup_columns": ["sex"], "exclude_columns": ["age"]}
    given = {"val_csv": "val.csv", "test_csv": "test.csv", "group_column": "patient", "image_dir": "images"}
    plain, fold = (
        CSVDataModule(str(tree), image_size=16, num_workers=0, augment="none", **(given | options | more))  # type: ignore[arg-type]
        for more in ({}, {"fold": 1, "folds": 3})
    )
    items = {
        item["id"]: item
        for data in (plain.train_set(), plain.val_set())
        for item in map(data.__getitem__, range(len(data)))
    }
    assert 0 < len(fold.table("val")) < len(items)
    files = set()
    for table, data in ((fold.table("train"), fold.train_set()), (fold.table("val"), fold.val_set())):
        for row in range(len(table)):
            item, same = data[row], items[table.name(row)]
            assert item["image"].equal(same["image"])
            assert item["label"].tolist() == same["label"].tolist()
            assert item["subgroup"] == same["subgroup"]
            assert item["mask"].equal(same["mask"])
            file, line = table.where(row).split(", line ")
            files.add(Path(file).name)
            assert Path(file).read_text().splitlines()[int(line) - 1].split(",")[0] == table.name(row)
    assert files == {"train.csv", "val.csv"}


def test_every_fold_of_a_seed_has_the_same_parts_and_another_seed_others(tree: Path) -> None:
    def validated(**options: object) -> list[set[bytes]]:
        tables = [module(tree, fold=at, folds=3, **options).table("val") for at in range(3)]
        return [set(table.groups.tolist()) for table in tables]

    first = validated()
    assert first == validated()
    assert all(not one & two for one, two in zip(first, [*first[1:], first[0]], strict=True))
    assert any(validated(split_seed=seed) != first for seed in range(1, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 5}, "data.fold from 0 to 4, got 5"),
        ({"fold": -1}, "data.fold from 0 to 4"),
        ({"fold": 0, "folds": 1}, "data.folds of 2 or more"),
        ({"fold": 0, "folds": 1000}, "at least 1000 groups"),
        ({"fold": 0, "splits": "splits.csv"}, "one of data.splits and data.fold"),
    ],
)
def test_wrong_folds_are_refused(options: dict[str, object], message: str, tree: Path) -> None:
    with pytest.raises(InputError) as caught:
        module(tree, **options).split_tables()
    assert message in str(caught.value)
