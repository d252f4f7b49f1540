from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from ibca_lightning.data import PadChest
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_padchest
from tests.datasets.contract import DataModuleContract


def module(root: Path, **options: Any) -> PadChest:
    return PadChest(str(root), **{"min_positives": 5, **options})


def tree(root: Path, change: tuple[str, str] = ("", "")) -> Path:
    """Write the tree with an unpacked table in which one text is replaced once."""
    fake_padchest.write(root, patients=12, packed=False)
    file = root / fake_padchest.FILE
    file.write_text(file.read_text().replace(*change, 1) if change[0] else file.read_text())
    return root


class TestPadChest(DataModuleContract):
    labels_are_columns = False
    class_names: ClassVar = list(fake_padchest.LABELS)
    rows: ClassVar = {"train": 71, "test": 18}

    def write(self, root: Path) -> None:
        fake_padchest.write(root)

    def module(self, root: Path, **common: Any) -> PadChest:
        return module(root, **common)


def test_classes_are_the_frequent_names_or_those_asked_for(tmp_path: Path) -> None:
    tree(tmp_path)
    assert "dextrocardia" not in module(tmp_path).class_names
    every = module(tmp_path, min_positives=1).class_names
    assert every == sorted([*fake_padchest.LABELS, "dextrocardia"])
    chosen = module(tmp_path, classes=["unchanged", "Cardiomegaly"])
    assert chosen.class_names == ["unchanged", "Cardiomegaly"]
    assert sum((chosen.table(split).labels == 1).sum(axis=0)[0] for split in ("train", "val", "test")) == 17


def test_lists_become_labels(tmp_path: Path) -> None:
    tree(tmp_path)
    data = module(tmp_path)
    found = {
        data.table(split).where(row).rpartition(" ")[2]: data.table(split).labels[row].tolist()
        for split in ("train", "val", "test")
        for row in range(len(data.table(split)))
    }
    assert len(found) == 35
    assert found["2"] == [1, 0, 0, 0, 1, 0], "a blank before the name, an empty name and a quote in the report"
    assert found["3"] == [-1] * 6, "no list"
    assert "4" not in found, "excluded"
    assert found["6"] == [0, 0, 1, 0, 1, 0]


def test_patients_stay_strings_and_in_one_split(tmp_path: Path) -> None:
    tree(tmp_path)
    data = module(tmp_path)
    groups = [set(data.table(split).groups.tolist()) for split in ("train", "val", "test")]
    assert b"0001" in set.union(*groups)
    assert sum(map(len, groups)) == len(set.union(*groups)) == 12


def test_sixteen_bits_are_read(tmp_path: Path) -> None:
    tree(tmp_path)
    path = next((tmp_path / "images/50").glob("*.png"))
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    assert np.array_equal(read_image(str(path))[..., 0], stored >> 8)


def test_a_flat_folder_and_some_rows_are_read(tmp_path: Path) -> None:
    fake_padchest.write(tmp_path / "flat", patients=12, nested=False)
    assert len(module(tmp_path / "flat").table("train")) > 10
    tree(tmp_path / "zips")
    (tmp_path / "zips/images/1").rename(tmp_path / "zips/images/elsewhere")
    with pytest.raises(InputError, match=r"images/1 .*labels_160K.*line 3.*data\.image_dirs"):
        module(tmp_path / "zips").setup()
    part = module(tmp_path / "zips", image_dirs=[0, 50, 54], projections=["PA"])
    names = [part.table(split).name(row) for split in ("train", "val") for row in range(len(part.table(split)))]
    assert names
    assert {name.split("/")[0] for name in names} == {"0", "50"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_positives": 0}, "min_positives of 1 or more"),
        ({"min_positives": 1000}, "lower data.min_positives"),
        ({"classes": []}, "at least one name in data.classes"),
        ({"classes": ["nodule", "Nodule "]}, "each once"),
        ({"classes": ["fracture"]}, "'fracture', which no row names"),
        ({"projections": ["LL"]}, r"'Projection' .*\(AP, AP_horizontal, L, PA\), got 'LL'"),
        ({"image_dirs": [7]}, "'ImageDir' .*got '7'"),
        ({"val_fraction": 0.0}, "val_fraction above 0"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    tree(tmp_path)
    with pytest.raises(InputError, match=said):
        module(tmp_path, **options).setup()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("'unchanged']", "unchanged]"), r"a list such as .*line \d+"),
        (("'normal', 'unchanged'", "'normal', 3"), r"a list such as .*line \d+"),
        (("PatientID", "Patient"), "a column 'PatientID'"),
        ((",Labels", ",Label"), "a column 'Labels'"),
        ((",0001,", ",,"), "a group in .*line 5"),
        ((",0001,", ",0001,,"), "10 values in .*line 5"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    tree(tmp_path, change)
    with pytest.raises(InputError, match=said):
        module(tmp_path, classes=["normal"]).setup()


def test_missing_and_damaged_files_say_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root.*BIMCV"):
        module(tmp_path / "none").setup()
    with pytest.raises(InputError, match=r"160K_01\.02\.19\.csv\.gz or .*root/images/ImageDir/ImageID"):
        module(tmp_path).setup()
    fake_padchest.write(tmp_path, patients=6)
    packed = tmp_path / f"{fake_padchest.FILE}.gz"
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"a gzip file at .*csv\.gz.*restore"):
        module(tmp_path).setup()
