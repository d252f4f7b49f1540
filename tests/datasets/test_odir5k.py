from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from ibca_lightning.data import ODIR5K
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.datasets.layouts.pairs import join, write_pairs
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_odir5k
from tests.datasets.contract import DataModuleContract


class TestEyes(DataModuleContract):
    labels_are_columns = False
    class_names: ClassVar = list(fake_odir5k.LABELS)
    rows: ClassVar = {"train": 95}

    def write(self, root: Path) -> None:
        fake_odir5k.write(root)

    def module(self, root: Path, **common: Any) -> ODIR5K:
        return ODIR5K(str(root), **common)


class TestPatients(TestEyes):
    pictures_are_made = True
    rows: ClassVar = {"train": 48}

    def module(self, root: Path, **common: Any) -> ODIR5K:
        return ODIR5K(str(root), level="patient", pair_pixels=32, **common)


SPLITS = ("train", "val", "test")


def labels_of(module: ODIR5K) -> dict[str, list[int]]:
    tables = [module.table(split) for split in SPLITS]
    return {Path(t.name(row)).stem: t.labels[row].tolist() for t in tables for row in range(len(t))}


def test_eyes_have_labels_of_their_own_and_patients_the_union(tmp_path: Path) -> None:
    fake_odir5k.write(tmp_path)
    eyes = labels_of(ODIR5K(str(tmp_path)))
    patients = labels_of(ODIR5K(str(tmp_path), level="patient", pair_pixels=32))
    assert len(eyes) == 95
    assert len(patients) == 48
    # Patient 8: left eye normal, right eye D.
    assert eyes["8_left"] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert eyes["8_right"] == [0, 1, 0, 0, 0, 0, 0, 0]
    assert patients["8"] == [0, 1, 0, 0, 0, 0, 0, 0]
    assert patients["17"] == [0, 1, 0, 1, 0, 0, 0, 0]


def test_both_eyes_of_a_patient_are_in_one_split(tmp_path: Path) -> None:
    fake_odir5k.write(tmp_path)
    module = ODIR5K(str(tmp_path), subgroup_columns=["Patient Sex"])
    groups = [set(module.table(split).groups.tolist()) for split in SPLITS]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 48
    assert b"0" in set().union(*groups)
    assert module.table("test").subgroups["Patient Sex"][0] in (b"Male", b"Female")


def test_a_workbook_says_what_the_csv_says(tmp_path: Path) -> None:
    fake_odir5k.write_workbook(tmp_path / "xlsx", 24)
    fake_odir5k.write(tmp_path / "csv", 24)
    book, text = (ODIR5K(str(tmp_path / kind), level="patient", pair_pixels=16) for kind in ("xlsx", "csv"))
    assert labels_of(book) == labels_of(text)
    assert book.table("test").groups.tolist() == text.table("test").groups.tolist()
    assert book.table("test").where(0).startswith(str(tmp_path / "xlsx/ODIR-5K/ODIR-5K/data.xlsx") + ", line ")


def test_left_eye_stands_left_in_its_own_proportions() -> None:
    left, right = np.full((20, 40, 3), 200, np.uint8), np.full((80, 40, 3), 100, np.uint8)
    pair = join(left, right, 40)
    expected = np.zeros((40, 80), np.uint8)
    expected[10:30, :40] = 200
    expected[:, 50:70] = 100
    assert (pair == expected[..., None]).all()


def test_pairs_are_written_once_and_whole(tmp_path: Path) -> None:
    fake_odir5k.write(tmp_path, patients=16)
    module = ODIR5K(str(tmp_path), level="patient", pair_pixels=32, image_size=32, num_workers=0)
    module.prepare_data()
    folder = tmp_path / "pairs/32"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{patient}.jpg" for patient in range(16))
    assert read_image(str(folder / "3.jpg")).shape == (32, 64, 3)
    (folder / "3.jpg").unlink()
    marked = cv2.imencode(".jpg", np.full((32, 64, 3), 9, np.uint8))[1].tobytes()
    (folder / "4.jpg").write_bytes(marked)
    module.setup()
    assert read_image(str(folder / "3.jpg")).shape == (32, 64, 3)
    assert (folder / "4.jpg").read_bytes() == marked


def test_a_damaged_eye_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    fake_odir5k.write(tmp_path, patients=8)
    eye = tmp_path / "ODIR-5K/ODIR-5K/Training Images/2_right.jpg"
    eye.write_bytes(eye.read_bytes()[:9])
    with pytest.raises(InputError, match=r"2_right\.jpg"):
        ODIR5K(str(tmp_path), level="patient", pair_pixels=32).setup()
    assert not [path for path in (tmp_path / "pairs/32").iterdir() if path.name.startswith((".", "2."))]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"data\.pairs_dir"):
        write_pairs(str(tmp_path / "file/below"), {}, 32)


def test_wrong_input_is_explained(tmp_path: Path) -> None:
    for options, text in (
        ({"level": "eyes"}, "eye or patient"),
        ({"table": "data.csv"}, r"full_df\.csv or data\.xlsx"),
        ({"table": "data.xlsx"}, "labels of patients only; set data.level to patient"),
        ({"pair_pixels": 0}, "pair_pixels of 1 or more"),
    ):
        with pytest.raises(InputError, match=text):
            ODIR5K(str(tmp_path), **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"full_df\.csv in .*get ODIR-5K"):
        ODIR5K(str(tmp_path)).setup()
    fake_odir5k.write(tmp_path, 16)
    file = tmp_path / "full_df.csv"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("['G']", "G", 1), encoding="utf-8")
    with pytest.raises(InputError, match=r"a list such as .*full_df\.csv, line 6, got 'G'"):
        ODIR5K(str(tmp_path)).setup()
    file.write_text(text.replace("cataract,1,0,0", "cataract,0,0,1", 1), encoding="utf-8")
    with pytest.raises(InputError, match=r"patient '0' in .*another one on line 3 than on line 2"):
        ODIR5K(str(tmp_path), level="patient").setup()
    (tmp_path / "ODIR-5K/ODIR-5K/Training Images/7_left.jpg").unlink()
    with pytest.raises(InputError, match=r"a picture 7_left\.jpg in .*Training Images.*line 16"):
        ODIR5K(str(tmp_path)).setup()
    (tmp_path / "ODIR-5K/data.xlsx").write_text("no workbook")
    with pytest.raises(InputError, match=r"an Excel workbook at .*data\.xlsx"):
        ODIR5K(str(tmp_path), level="patient", table="data.xlsx").setup()
