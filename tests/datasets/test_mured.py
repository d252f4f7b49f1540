from pathlib import Path
from typing import Any, ClassVar

import pytest

from ibca_lightning.data import MuReD
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_mured
from tests.datasets.contract import DataModuleContract


class TestMuReD(DataModuleContract):
    class_names: ClassVar = list(fake_mured.HEADER[1:])
    rows: ClassVar = {"train": 80, "test": 40}

    def write(self, root: Path) -> None:
        fake_mured.write(root)

    def module(self, root: Path, **common: Any) -> MuReD:
        return MuReD(str(root), **common)


def test_ids_stay_strings_and_get_their_extension(tmp_path: Path) -> None:
    fake_mured.write(tmp_path)
    module = MuReD(str(tmp_path), image_size=16, num_workers=0)
    names = {module.table(split).name(row) for split in ("train", "val") for row in range(len(module.table(split)))}
    assert {"0000.png", "im0001.png", "(0002)aria_d_2.tif", "0003.jpg"} <= names


def test_validation_holds_every_class(tmp_path: Path) -> None:
    fake_mured.write(tmp_path)
    module = MuReD(str(tmp_path))
    assert ((module.table("val").labels == 1).sum(axis=0) > 0).all()
    assert ((module.table("train").labels == 1).sum(axis=0) > 0).all()


def test_other_copies_are_read_too(tmp_path: Path) -> None:
    fake_mured.write(tmp_path, train=40, val=20, nested=False, val_name="test_data.csv")
    assert len(MuReD(str(tmp_path)).table("test")) == 20


@pytest.mark.parametrize("gone", ["train_data.csv", "val_data.csv", "images"])
def test_a_missing_part_says_where_to_get_it(tmp_path: Path, gone: str) -> None:
    fake_mured.write(tmp_path, train=20, val=20, nested=False)
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"10\.17632/pc4mb3h8hz\.1.*root/train_data\.csv"):
        MuReD(str(tmp_path)).setup("fit")


def test_a_missing_picture_names_file_and_line(tmp_path: Path) -> None:
    fake_mured.write(tmp_path, train=20, val=20)
    (tmp_path / "images/images/im0001.png").unlink()
    with pytest.raises(InputError, match=r"im0001.*train_data\.csv, line 3"):
        MuReD(str(tmp_path)).setup("fit")
