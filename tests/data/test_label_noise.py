"""Labels made wrong on purpose: as many as asked, the same in every split of the table, in training alone."""

from pathlib import Path

import numpy as np
import pytest

from ibca_lightning.data import CSVDataModule, JoinedDataModule
from ibca_lightning.data.label_noise import LabelNoise, changes
from ibca_lightning.data.tables.table import Table, encode
from ibca_lightning.system.errors import InputError


def table(rows: int = 4000) -> Table:
    labels = np.random.default_rng(0).choice(np.array([0, 1, -1], np.int8), (rows, 3), p=[0.6, 0.3, 0.1])
    names = encode([f"{row}.png" for row in range(rows)])
    return Table("t.csv", "", np.arange(rows, dtype=np.int32), names, labels, names)


def test_shares_are_those_asked_for_and_unknown_labels_stay() -> None:
    clean = table()
    noisy = LabelNoise(flip=0.1, missed=0.5, seed=3).applied(clean).labels
    for label, share in ((0, 0.1), (1, 0.5), (-1, 0.0)):
        changed = (noisy != clean.labels)[clean.labels == label]
        assert changed.mean() == pytest.approx(share, abs=0.03)
        assert changed.reshape(-1).any() == bool(share)
    flipped = LabelNoise(flip=0.2).applied(clean).labels != clean.labels
    assert [flipped[clean.labels == label].mean() for label in (0, 1)] == pytest.approx([0.2, 0.2], abs=0.03)
    assert np.array_equal(LabelNoise().applied(clean).labels, clean.labels)


def test_what_becomes_of_a_label_depends_on_its_picture_alone() -> None:
    clean, noise = table(200), LabelNoise(flip=0.3, seed=1)
    rows = np.random.default_rng(1).permutation(200)[:50]
    assert np.array_equal(noise.applied(clean.take(rows)).labels, noise.applied(clean).take(rows).labels)
    assert not np.array_equal(LabelNoise(flip=0.3, seed=2).applied(clean).labels, noise.applied(clean).labels)
    assert all(label != given for _, _, label, given in changes(clean, noise.applied(clean), ["a", "b", "c"]))


def test_only_training_has_it_and_says_what_it_changed(tree: Path) -> None:
    given = {"image_dir": "images", "group_column": "patient", "exclude_columns": ["sex", "age"], "image_size": 32}
    clean = CSVDataModule(str(tree), val_csv="val.csv", test_csv="test.csv", **given)
    noisy = CSVDataModule(str(tree), val_csv="val.csv", test_csv="test.csv", label_noise=LabelNoise(0.3), **given)
    tables = clean.split_tables(), noisy.split_tables()
    for split in ("val", "test"):
        assert np.array_equal(*(each[split].labels for each in tables))
    assert np.array_equal(noisy.training_labels(), tables[1]["train"].labels)
    before, after = (each["train"] for each in tables)
    (listed,) = noisy.label_changes().values()
    assert listed == changes(before, after, clean.class_names)
    assert len(listed) == int((before.labels != after.labels).sum()) > 0
    assert clean.label_changes() == {}
    joined = JoinedDataModule([noisy, CSVDataModule(str(tree), val_csv="val.csv", test_csv="test.csv", **given)])
    assert list(joined.label_changes()) == [".CSVDataModule"]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"flip": 1.0}, "flip and missed in"), ({"missed": -0.1}, "flip and missed in"), ({"split": "test"}, "got test")],
)
def test_wrong_options_are_refused(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        LabelNoise(**options)
