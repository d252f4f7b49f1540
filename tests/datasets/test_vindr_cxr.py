from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
import pytest

from ibca_lightning.data import LabelPolicy, VinDrCXR
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_vindr_cxr
from tests.datasets.contract import DataModuleContract


class TestVinDrCXR(DataModuleContract):
    class_names: ClassVar = list(fake_vindr_cxr.LABELS)
    rows: ClassVar = {"train": 40, "test": 16}

    def write(self, root: Path) -> None:
        fake_vindr_cxr.write(root, train=40, test=16)

    def module(self, root: Path, **common: Any) -> VinDrCXR:
        return VinDrCXR(str(root), **common)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vindr")
    fake_vindr_cxr.write(folder, train=30, test=28)
    return folder


def labels(data: VinDrCXR, *splits: str) -> dict[int, list[int]]:
    """Return the labels of the pictures by the number at the end of their names."""
    tables = [data.table(split) for split in splits]
    return {int(t.name(row)[4:32], 16): t.labels[row].tolist() for t in tables for row in range(len(t))}


def test_most_readers_decide_or_any_or_all(root: Path) -> None:
    truth = {row: fake_vindr_cxr.truth(row) for row in range(30)}
    assert labels(VinDrCXR(str(root)), "train", "val") == truth
    assert labels(VinDrCXR(str(root), labels=LabelPolicy(readers="all")), "train", "val") == truth
    found = labels(VinDrCXR(str(root), labels=LabelPolicy(readers="any")), "train", "val")
    extra = {row: int((np.array(found[row]) - truth[row]).sum()) for row in truth}
    # Reader R8 adds the class after the first; it is there already in none of these pictures.
    assert set(extra.values()) == {1}


def test_the_other_name_of_the_test_table_is_the_same_class(root: Path) -> None:
    test = labels(VinDrCXR(str(root)), "test")
    assert test == {row: fake_vindr_cxr.truth(row) for row in range(28)}
    assert sum(row[26] for row in test.values()) == 2


def test_both_photometric_kinds_are_read_alike(root: Path) -> None:
    seen = set()
    for path in sorted((root / "test").glob("*.dicom"))[:4]:
        header = pydicom.dcmread(path)
        seen.add(header.PhotometricInterpretation)
        pixels = header.pixel_array.astype(int)
        white = 4095 - pixels if header.PhotometricInterpretation == "MONOCHROME1" else pixels
        assert np.abs(read_image(str(path))[..., 1] - white / 4095 * 255).max() <= 1
    assert seen == {"MONOCHROME1", "MONOCHROME2"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("R09", "R8"), r"every reader once for a picture in .*image_labels_train.* on lines \d+ and \d+"),
        (("rad_id", "reader"), r"every reader once"),
        (("Lung cyst", "Cyst"), "no column Lung cyst"),
        ((",1,", ",2,"), r"0, 1, -1 or blank in column .*line \d+"),
        (("image_id", "id"), "a column 'image_id'"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    fake_vindr_cxr.write(tmp_path, train=3, test=1)
    file = tmp_path / "annotations/image_labels_train.csv"
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(InputError, match=said):
        VinDrCXR(str(tmp_path)).setup("fit")


def test_missing_files_say_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"PhysioNet, doi 10\.13026/3akn-b287"):
        VinDrCXR(str(tmp_path)).setup("fit")
    fake_vindr_cxr.write(tmp_path, train=3, test=2)
    next((tmp_path / "test").glob("*.dicom")).unlink()
    with pytest.raises(InputError, match=r"fa9d0.*image_labels_test\.csv, line"):
        VinDrCXR(str(tmp_path)).setup("fit")
