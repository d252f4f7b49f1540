from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ibca_lightning.data import Endo
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_endo
from tests.datasets.contract import DataModuleContract


class TestEndo(DataModuleContract):
    class_names: ClassVar = list(fake_endo.LABELS)
    rows: ClassVar = {"train": 50, "test": 30}

    def write(self, root: Path) -> None:
        fake_endo.write(root)

    def module(self, root: Path, **common: Any) -> Endo:
        return Endo(str(root), **common)


def test_validation_is_whole_patients_and_holds_every_class(tmp_path: Path) -> None:
    fake_endo.write(tmp_path, image_dir="image")
    module = Endo(str(tmp_path))
    val = module.table("val")
    assert len(np.unique(val.groups)) == 2
    assert len(val) == 10
    assert (val.labels == 1).sum(axis=0).tolist() == [2, 2, 2, 2]


def test_lists_are_read_and_their_shared_patients_reported(tmp_path: Path) -> None:
    fake_endo.write_lists(tmp_path)
    module = Endo(str(tmp_path), lists=True)
    with pytest.warns(UserWarning, match=r"every group in one split only.*20210622000.*10 such"):
        module.setup()
    assert [len(module.table(split)) for split in ("train", "val", "test")] == [25, 25, 20]
    assert (module.table("test").labels == 1).sum(axis=0).tolist() == [4, 4, 4, 0]


def test_a_patient_in_both_folders_is_an_error_that_can_be_waived(tmp_path: Path) -> None:
    fake_endo.write(tmp_path)
    base = tmp_path / "MedFMC_val/endo"
    (base / "images/20210622010_000.png").rename(base / "images/20210622000_900.png")
    file = base / "endo_val.csv"
    file.write_text(file.read_text().replace("20210622010_000.png,20210622010", "20210622000_900.png,20210622000"))
    with pytest.raises(InputError, match=r"'20210622000'.*endo_val\.csv, line 2"):
        Endo(str(tmp_path)).setup()
    with pytest.warns(UserWarning, match="20210622000"):
        Endo(str(tmp_path), group_overlap="warn").setup()


def test_missing_files_say_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"MedFMC \(doi .*MedFMC_"):
        Endo(str(tmp_path)).setup()
    with pytest.raises(InputError, match=r"data\.root.*MedFMC"):
        Endo(str(tmp_path / "none")).setup()


def test_a_short_list_line_is_named(tmp_path: Path) -> None:
    fake_endo.write_lists(tmp_path)
    file = tmp_path / "val_20.txt"
    file.write_text(file.read_text().replace(" 0\n", "\n", 1))
    with pytest.raises(InputError, match=r"5 values in .*val_20\.txt, line 1, got 4"):
        Endo(str(tmp_path), lists=True).setup()
