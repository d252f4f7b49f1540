from pathlib import Path
from typing import Any, ClassVar

import pytest

from ibca_lightning.data import MedFMChestDR
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_medfm_chestdr
from tests.datasets.contract import DataModuleContract


class TestMedFMChestDR(DataModuleContract):
    class_names: ClassVar = list(fake_medfm_chestdr.LABELS)
    rows: ClassVar = {"train": 60, "test": 40}

    def write(self, root: Path) -> None:
        fake_medfm_chestdr.write(root)

    def module(self, root: Path, **common: Any) -> MedFMChestDR:
        return MedFMChestDR(str(root), **common)


def test_lists_of_both_separators_are_read(tmp_path: Path) -> None:
    fake_medfm_chestdr.write_lists(tmp_path)
    module = MedFMChestDR(str(tmp_path), lists=True)
    for split in ("train", "val", "test"):
        assert module.table(split).labels.tolist() == [[int(a == b) for b in range(19)] for a in range(19)]


def test_a_picture_in_two_lists_is_an_error(tmp_path: Path) -> None:
    fake_medfm_chestdr.write_lists(tmp_path)
    train, val = (tmp_path / "chest/train_20.txt"), (tmp_path / "chest/val_20.txt")
    val.write_text(val.read_text() + train.read_text().splitlines()[4])
    with pytest.raises(InputError, match=r"5B0F704\.png.*train_20\.txt, line 5.*val_20\.txt, line 20"):
        MedFMChestDR(str(tmp_path), lists=True).setup()


def test_a_study_keeps_its_pictures_together(tmp_path: Path) -> None:
    fake_medfm_chestdr.write(tmp_path)
    file = tmp_path / "MedFMC_train/chest/chest_train.csv"
    header, *lines = file.read_text().splitlines()
    lines = [f"{line},{row // 3}" for row, line in enumerate(lines)]
    file.write_text("\n".join([f"{header},study_id", *lines]))
    module = MedFMChestDR(str(tmp_path))
    studies = [set(module.table(split).groups.tolist()) for split in ("train", "val")]
    assert not studies[0] & studies[1]
    assert len(studies[0] | studies[1]) == 20


def test_the_copy_without_labels_and_missing_files_are_explained(tmp_path: Path) -> None:
    fake_medfm_chestdr.write(tmp_path)
    file = tmp_path / "MedFMC_val/chest/chest_val.csv"
    file.write_text("\n".join(line.split(",")[0] for line in file.read_text().splitlines()))
    with pytest.raises(InputError, match=r"label columns pleural_effusion.*chest_val\.csv, got no column"):
        MedFMChestDR(str(tmp_path)).setup()
    file.unlink()
    with pytest.raises(InputError, match=r"chest_val\.csv.*got in MedFMC_val/chest: images/; get MedFMC "):
        MedFMChestDR(str(tmp_path)).setup()
