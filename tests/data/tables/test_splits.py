import pickle
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ibca_lightning.data.tables import splits
from ibca_lightning.data.tables.groups.grouping import otherwise_written
from ibca_lightning.data.tables.splits import (
    SpellingWarning,
    _place,
    check_overlap,
    cross_validated,
    keep_share,
    split_fold,
    split_groups,
    split_off,
)
from ibca_lightning.data.tables.table import Table, encode
from ibca_lightning.system.errors import InputError


def made(groups: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Groups of 1 to 30 rows whose label rates differ much, as patients do; the last label is rare."""
    rng = np.random.default_rng(seed)
    names, labels = [], []
    for group in range(groups):
        rows, rate = rng.integers(1, 30), rng.random(5) * (0.9, 0.6, 0.5, 0.3, 0.08)
        names += [f"g{group}"] * rows
        labels.append(rng.random((rows, 5)) < rate)
    return encode(names), np.concatenate(labels).astype(np.int8)


@pytest.mark.parametrize("groups", [20, 200])
@pytest.mark.parametrize("fractions", [(0.8, 0.2), (0.7, 0.1, 0.2)])
def test_every_label_is_spread_as_the_rows_are(groups: int, fractions: tuple[float, ...]) -> None:
    names, labels = made(groups)
    parts = split_groups(names, labels, fractions, seed=0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(names)))
    seen = [set(names[part].tolist()) for part in parts]
    assert not any(seen[a] & seen[b] for a in range(len(seen)) for b in range(a))
    for part, fraction in zip(parts, fractions, strict=True):
        rows = np.concatenate([(labels[part] == 1).sum(0), [len(part)]])
        wanted = fraction * np.concatenate([(labels == 1).sum(0), [len(labels)]])
        slack = 4 if groups == 20 else 2  # few large groups cannot be laid exactly
        assert (np.abs(rows - wanted) <= 0.1 * wanted + slack).all(), (rows, wanted)


@pytest.mark.parametrize("seed", range(4))
def test_each_group_goes_where_the_parts_then_come_nearest_to_their_shares(seed: int) -> None:
    """The formula of the docstring by a naive loop, which sums over parts what the code only compares."""
    names, labels = made(24, seed)
    fractions, random = np.array([[0.7], [0.1], [0.2]]), np.random.default_rng(seed)
    unique = np.unique(names)
    rows = np.concatenate([labels == 1, np.ones((len(names), 1))], axis=1)
    shares = np.stack([rows[names == name].sum(0) for name in unique]) / rows.sum(0)

    def unevenness(have: np.ndarray) -> float:
        return float(((have - fractions) ** 2 / fractions).sum())

    trials = []
    for _ in range(20):
        have, part_of = np.zeros((3, shares.shape[1])), np.zeros(24, int)
        for group in np.argsort(-shares.max(1) * random.uniform(0.5, 1, 24)):
            after = [have + (np.arange(3) == part)[:, None] * shares[group] for part in range(3)]
            part_of[group] = np.argmin([unevenness(each) for each in after])
            have = after[part_of[group]]
        trials.append((unevenness(have), part_of))
    best = min(trials, key=lambda trial: trial[0])[1]
    parts = split_groups(names, labels, fractions[:, 0], seed)
    assert [np.unique(names[part]).tolist() for part in parts] == [unique[best == part].tolist() for part in range(3)]


def test_it_depends_on_groups_and_seed_not_on_the_order_of_rows() -> None:
    names, labels = made(30)
    order = np.random.default_rng(1).permutation(len(names))

    def val(names: np.ndarray, labels: np.ndarray, seed: int) -> set[bytes]:
        return set(names[split_groups(names, labels, (0.8, 0.2), seed)[1]].tolist())

    assert val(names, labels, 0) == val(names[order], labels[order], 0)
    assert len({frozenset(val(names, labels, seed)) for seed in range(5)}) > 1


def test_no_part_is_empty() -> None:
    names = encode(["big"] * 50 + ["one", "two"])
    parts = split_groups(names, np.ones((52, 1), np.int8), (0.98, 0.01, 0.01), 0)
    assert all(len(part) for part in parts)
    assert [len(part) for part in split_groups(names, np.full((52, 1), -1, np.int8), (0.99, 0.01), 0)] == [51, 1]
    with pytest.raises(InputError, match=r"at least 3 groups.*got 2"):
        split_groups(encode(["a", "b", "b"]), np.ones((3, 1), np.int8), (0.5, 0.25, 0.25), 0)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None])
def test_a_seed_is_a_whole_number_from_0(seed: Any) -> None:
    with pytest.raises(InputError, match=r"data.split_seed, a whole number from 0, got"):
        split_groups(encode(["a", "b", "c"]), np.ones((3, 1), np.int8), (0.5, 0.5), seed)


def test_a_part_too_small_for_any_group_gets_the_smallest_of_the_fullest() -> None:
    names = encode(["big"] * 50 + ["small"] * 2 + ["smallest"])
    labels = np.ones((53, 3), np.int8)
    labels[50:52, 1] = 0  # the smallest by its rows, of whichever label it has most
    parts = split_groups(names, labels, (0.998, 0.001, 0.001), 0)
    assert [sorted(set(names[part].tolist())) for part in parts] == [[b"big"], [b"smallest"], [b"small"]]


def test_every_group_validates_in_exactly_one_fold() -> None:
    names, labels = made(30)
    folds = [split_fold(names, labels, fold, 5, seed=3) for fold in range(5)]
    for train, val in folds:
        assert sorted([*train.tolist(), *val.tolist()]) == list(range(len(names)))
        assert train.tolist() == sorted(train.tolist())
        assert not set(names[train].tolist()) & set(names[val].tolist())
        share = (labels[val] == 1).sum(0) / (labels == 1).sum(0)
        assert (np.abs(share[:4] - 0.2) < 0.1).all(), share
    assert sorted(np.concatenate([val for _, val in folds]).tolist()) == list(range(len(names)))
    assert np.array_equal(split_fold(names, labels, 2, 5, seed=3)[1], folds[2][1])
    assert not np.array_equal(split_fold(names, labels, 2, 5, seed=4)[1], folds[2][1])
    for fold, number, message in ((5, 5, "data.fold from 0 to 4, got 5"), (-1, 5, "got -1"), (0, 1, "data.folds of 2")):
        with pytest.raises(InputError, match=message):
            split_fold(names, labels, fold, number, 0)


def test_a_share_is_whole_groups_and_seeded() -> None:
    names, labels = made(200)
    kept = keep_share(names, labels, 0.1, seed=0)
    assert abs(len(kept) - len(names) / 10) < 5
    assert (np.abs((labels[kept] == 1).sum(0) - (labels == 1).sum(0) / 10) < 6).all()
    assert np.array_equal(np.flatnonzero(np.isin(names, names[kept])), kept), "no group is cut"
    assert np.array_equal(keep_share(names, labels, 0.1, seed=0), kept)
    assert not np.array_equal(keep_share(names, labels, 0.1, seed=1), kept)
    assert keep_share(names, labels, 1.0, seed=1).tolist() == list(range(len(names)))
    for fraction in (0, -1, 1.1):
        with pytest.raises(InputError, match=r"data.train_fraction above 0 and up to 1"):
            keep_share(names, labels, fraction, 0)


def numbered(split: str, rows: int) -> Table:
    """A table of rows with a group each, of which every second has the label."""
    names = encode([f"{split} {at:03d}" for at in range(rows)])
    labels = (np.arange(rows)[:, None] % 2).astype(np.int8)
    return Table(f"{split}.csv", "images", np.arange(2, rows + 2, dtype=np.int32), names, labels, names, {})


def test_what_is_not_given_is_split_off_from_training() -> None:
    train, val = numbered("train", 40), numbered("val", 10)
    parts = split_off({"train": train}, {"val": 0.2, "test": 0.25}, seed=0)
    assert {name: len(table) for name, table in parts.items()} == {"train": 22, "val": 8, "test": 10}
    assert sorted(np.concatenate([table.names for table in parts.values()]).tolist()) == sorted(train.names.tolist())
    given = split_off({"train": train, "val": val}, {"val": 0.2, "test": 0.25}, seed=0)
    assert given["val"] is val
    assert (len(given["train"]), len(given["test"])) == (30, 10)
    assert list(split_off({"train": train}, {"val": 0.2, "test": 0.0}, 0)) == ["train", "val"]
    assert split_off({"train": train, "val": val}, {"val": 0.0, "test": 0.0}, 0) == {"train": train, "val": val}


@pytest.mark.parametrize(
    ("val", "test", "message"),
    [
        (0.0, 0.1, "data.val_fraction above 0 and below 1, got 0.0"),
        (-0.1, 0.1, "data.val_fraction above 0 and below 1, got -0.1"),
        (0.1, -0.1, "data.test_fraction above 0 and below 1, got -0.1"),
        (0.1, 1.0, "data.test_fraction above 0 and below 1, got 1.0"),
        (0.5, 0.5, "fractions that leave something to train on, got {'val': 0.5, 'test': 0.5}"),
    ],
)
def test_fractions_that_cannot_be_are_named(val: float, test: float, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        split_off({"train": numbered("train", 40)}, {"val": val, "test": test}, 0)


def test_a_fold_divides_training_and_validation_and_leaves_the_test() -> None:
    tables = {name: numbered(name, rows) for name, rows in (("train", 20), ("val", 10), ("test", 5))}
    turns = [cross_validated(tables, fold, 3, seed=1) for fold in range(3)]
    own = sorted([*tables["train"].names.tolist(), *tables["val"].names.tolist()])
    assert sorted(name for turn in turns for name in turn["val"].names.tolist()) == own
    for turn in turns:
        assert (len(turn["train"]), len(turn["val"])) == (20, 10)
        assert turn["test"] is tables["test"]
        assert sorted([*turn["train"].names.tolist(), *turn["val"].names.tolist()]) == own
    assert cross_validated(tables, 0, 3, seed=1)["val"].names.tolist() == turns[0]["val"].names.tolist()
    assert cross_validated(tables, 0, 3, seed=2)["val"].names.tolist() != turns[0]["val"].names.tolist()


@pytest.mark.parametrize("pair", [("train", "val"), ("train", "test"), ("val", "test")])
@pytest.mark.parametrize("what", ["picture", "group"])
def test_what_stands_in_any_two_splits_is_named(pair: tuple[str, str], what: str) -> None:
    tables = {}
    for split in ("train", "val", "test"):
        pictures, groups = ([f"{kind} of {split}", f"other {kind} of {split}"] for kind in ("picture", "group"))
        if split in pair:
            (pictures if what == "picture" else groups)[1] = "shared"
        lines, labels = np.array([2, 3], np.int32), np.zeros((2, 1), np.int8)
        tables[split] = Table(f"{split}.csv", "images", lines, encode(pictures), labels, encode(groups), {})
    one, two = pair
    message = rf"every {what} in one split only, got 'shared' in {one} \({one}.csv, .*3\) and in {two} \({two}.csv"
    with pytest.raises(InputError, match=message):
        check_overlap(tables, "error")
    with pytest.warns(UserWarning, match=message):
        check_overlap(tables, "warn")


def test_one_name_in_two_folders_is_two_pictures() -> None:
    lines, labels = np.array([2], np.int32), np.zeros((1, 1), np.int8)
    tables = {
        split: Table(f"{split}.csv", folder, lines, encode(["1.png"]), labels, encode([split]), {})
        for split, folder in (("train", "images/train"), ("test", "images/test"))
    }
    check_overlap(tables, "error")
    tables["test"] = replace(tables["test"], folder="images/train")
    with pytest.raises(InputError, match=r"every picture in one split only, got '1\.png'"):
        check_overlap(tables, "error")


def test_the_first_of_groups_that_are_written_otherwise_is_told(recwarn: pytest.WarningsRecorder) -> None:
    one = replace(numbered("train", 3), groups=encode(["P1", "P2", "x"]))
    other = replace(numbered("val", 3), groups=encode(["p-1", "p 2", "y"]))
    third = replace(numbered("test", 3), groups=encode(["X", "z", "w"]))
    check_overlap({"train": one, "val": other, "test": third}, "error")
    told = [str(each.message) for each in recwarn if each.category is SpellingWarning]
    assert [re.findall(r"'(.*?)' in", text) for text in told] == [["P2", "p 2"], ["x", "X"]]
    # Pictures that are groups of their own have numbers, not spellings.
    recwarn.clear()
    alone = [replace(table, groups=table.names) for table in (
        replace(numbered("t", 1), names=encode(["1.png"])), replace(numbered("t", 1), names=encode(["01.png"])),
    )]  # fmt: skip
    check_overlap({"train": alone[0], "val": alone[1]}, "error")
    assert not recwarn


def test_many_groups_are_placed_in_fewer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    monkeypatch.setattr(splits, "_place", lambda *given: passes.append(1) or _place(*given))
    for groups, expected in ((400, 20), (1000, 10), (9000, 1), (20000, 1)):
        passes.clear()
        split_groups(encode([str(at) for at in range(groups)]), np.ones((groups, 1), np.int8), (0.5, 0.5), 0)
        assert len(passes) == expected


def test_four_of_many_that_stand_in_two_splits_are_named_and_all_counted() -> None:
    one, other = numbered("train", 6), replace(numbered("train", 6), file="test.csv")
    got = "'train 000' in train (train.csv, line 2) and in test (test.csv, line 2), also 'train 001', also 'train 002'"
    with pytest.raises(InputError, match=re.escape(f"got {got}, also 'train 003', 6 such in all; correct the splits")):
        check_overlap({"train": one, "test": other}, "error")


def test_many_single_rows_are_split_exactly() -> None:
    labels = (np.random.default_rng(0).random((20000, 4)) < (0.5, 0.1, 0.01, 0.002)).astype(np.int8)
    part = split_groups(encode([str(at) for at in range(20000)]), labels, (0.75, 0.25), 0)[1]
    assert np.abs(labels[part].sum(0) - labels.sum(0) / 4).max() <= 2
    assert abs(len(part) - 5000) <= 2


def test_a_large_table_is_small_for_a_worker() -> None:
    rows = 100_000
    names = encode([f"part{at % 12}/{at:08d}_000.png" for at in range(rows)])
    labels = np.zeros((rows, 14), np.int8)
    table = Table("t.csv", "images", np.arange(rows, dtype=np.int32), names, labels, names, {})
    assert len(pickle.dumps(table)) < 70 * rows
    assert table.name(99_999) == "part3/00099999_000.png"
    assert table.take(np.array([5, 7])).lines.tolist() == [5, 7]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [("3.0", "3", True), ("0003", "3", True), ("PT3", "pt3", True), ("PT-3", "pt 3", True), ("PT_003", "PT3", True),
     ("pt3 ", "pt3", True), ("\uff30\uff343", "PT3", True), ("u\u0308", "\u00fc", True), ("PT003.00", "pt3", True),
     ("A 01", "a1", True), ("PT\u20133", "PT-3", True), ("PT\u20113", "PT3", True), ("PT\u22123", "pt3", True),
     ("ID:3", "ID 3", True), ("ID=03", "id.3", True), ("P/3", "P#3", True), ("DOE^JANE", "Doe, Jane", True),
     ("12000.000", "12000", True), ("7.000000", "07", True), ("12,000", "12000", True), ("1,234,567", "1234567", True),
     ("1,000", "1", False), ("12,00", "1200", False), ("0,123", "123", False), ("12.345", "12345", False),
     ("\u0663", "3", True), ("PT\u06f3", "PT-3", True), ("1\u20132", "12", False), ("1 234", "1234", False),
     ("1-1", "11", False), ("30", "3", False), ("PT3", "PT30", False), ("3.1", "3", False), ("10", "1-0", False)],
)  # fmt: skip
def test_groups_that_are_written_otherwise_are_found(one: str, other: str, alike: bool) -> None:
    found = otherwise_written(encode(["x", one, one]), encode(["y", "z", other]))
    assert found == ([(1, 2)] if alike else [])
    assert otherwise_written(encode([one]), encode([one])) == []


def test_groups_that_are_placed_in_blocks_go_where_all_at_once_would(monkeypatch: pytest.MonkeyPatch) -> None:
    names, labels = made(60)
    whole = split_groups(names, labels, (0.7, 0.1, 0.2), seed=3)
    monkeypatch.setattr(splits, "_BLOCK", 7)
    for part, expected in zip(split_groups(names, labels, (0.7, 0.1, 0.2), seed=3), whole, strict=True):
        np.testing.assert_array_equal(part, expected)
