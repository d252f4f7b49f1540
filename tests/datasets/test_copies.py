"""Named sets as their copies lie about, and what is said of a folder that is none of them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from ibca_lightning.data import ODIR5K, ChestXray14, CheXpert, Derm7pt, IDRiD, MuReD, RFMiD
from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.datasets.layouts.copies import all_present, first_present, found_in
from ibca_lightning.system.errors import InputError
from tests.datasets import (
    fake_chest_xray14,
    fake_chexpert,
    fake_derm7pt,
    fake_idrid,
    fake_mured,
    fake_odir5k,
    fake_rfmid,
)

SETS: dict[type[TableDataModule], Any] = {
    ODIR5K: fake_odir5k, ChestXray14: fake_chest_xray14, CheXpert: fake_chexpert, Derm7pt: fake_derm7pt,
    MuReD: fake_mured, RFMiD: fake_rfmid,
}  # fmt: skip
PICTURES = "ODIR-5K/ODIR-5K/Training Images"


@pytest.mark.parametrize("kind", SETS, ids=lambda kind: kind.__name__)
def test_a_set_that_was_unpacked_a_folder_deeper_is_the_same(kind: type[TableDataModule], tmp_path: Path) -> None:
    SETS[kind].write(tmp_path / "as it is")
    SETS[kind].write(tmp_path / "deeper" / "archive")
    (tmp_path / "deeper" / "archive.zip").touch()
    plain, deeper = (kind(root=str(tmp_path / name)).table("test") for name in ("as it is", "deeper"))
    assert (plain.labels == deeper.labels).all()
    assert [deeper.name(row).removeprefix("archive/") for row in range(3)] == [plain.name(row) for row in range(3)]
    assert all((Path(deeper.folder) / deeper.name(row)).is_file() for row in range(len(deeper)))


def test_eyes_of_a_copy_with_preprocessed_pictures_alone(tmp_path: Path) -> None:
    fake_odir5k.write(tmp_path)
    (tmp_path / PICTURES).rename(tmp_path / "preprocessed_images")
    shutil.rmtree(tmp_path / "ODIR-5K")
    (tmp_path / "preprocessed_images/5_right.jpg").unlink()  # it has no row either
    eyes = ODIR5K(str(tmp_path))
    assert sum(len(eyes.table(split)) for split in ("train", "val", "test")) == 95
    with pytest.warns(match=r"1 of 48 patients left out: one eye is not in preprocessed_images; add .*Training Images"):
        patients = ODIR5K(str(tmp_path), level="patient", pair_pixels=16).split_tables()
    names = {table.name(row) for table in patients.values() for row in range(len(table))}
    assert names == {f"{patient}.jpg" for patient in range(48) if patient != 5}


def test_an_eye_that_the_release_has_is_missed_where_it_is_not(tmp_path: Path) -> None:
    fake_odir5k.write(tmp_path, 16)
    (tmp_path / PICTURES / "5_right.jpg").unlink()
    with pytest.raises(InputError, match=r"a picture 5_right\.jpg in"):
        ODIR5K(str(tmp_path), level="patient", pair_pixels=16).split_tables()


@pytest.mark.parametrize("level", ["eye", "patient"])
def test_pictures_may_lie_elsewhere(tmp_path: Path, level: Any) -> None:
    fake_odir5k.write(tmp_path / "odir", 16)
    shutil.move(tmp_path / "odir" / PICTURES, tmp_path / "photos")
    options: dict[str, Any] = {"level": level, "pair_pixels": 16}
    for place in (str(tmp_path / "photos"), "../photos"):
        table = ODIR5K(str(tmp_path / "odir"), image_dir=place, **options).table("test")
        assert len(table) == sum(1 for row in range(len(table)) if (Path(table.folder) / table.name(row)).is_file()) > 0
    with pytest.raises(InputError, match=r"the folder of the pictures \(data\.image_dir\) at .*nowhere"):
        ODIR5K(str(tmp_path / "odir"), image_dir="nowhere", **options).table("test")


def test_the_copy_of_chest_xray14_with_224_pixels(tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path, flat=True)
    expected = ChestXray14(str(tmp_path)).table("test").labels
    (tmp_path / "images-224").mkdir()
    (tmp_path / "images").rename(tmp_path / "images-224/images-224")
    names = {"train_val_list": "train_val_list_NIH", "test_list": "test_list_NIH"}
    for old, new in names.items():
        (tmp_path / f"{old}.txt").rename(tmp_path / f"{new}.txt")
    (tmp_path / "BBox_List_2017.csv").rename(tmp_path / "BBox_List_2017_Official_NIH.csv")
    module = ChestXray14(str(tmp_path), boxes=True, image_size=16)
    assert (module.table("test").labels == expected).all()
    assert module.table("test").name(0) == "images-224/images-224/00000041_000.png"
    assert len(module.test_sets()["boxes"]) == 4  # type: ignore[arg-type]


def test_the_archives_of_the_whole_chexpert_side_by_side(tmp_path: Path) -> None:
    fake_chexpert.write(tmp_path / "small")
    first = tmp_path / "whole" / "CheXpert-v1.0 batch 1 (validate & csv)"
    fake_chexpert.write(first)
    for patient in sorted((first / "train").iterdir()):
        batch = first.parent / ("CheXpert-v1.0 batch 2 (train 1)" if patient.name < "patient00031" else
                                "CheXpert-v1.0 batch 3 (train 2)")  # fmt: skip
        shutil.move(patient, batch / patient.name)
    (first / "train").rmdir()
    small, whole = (CheXpert(str(tmp_path / name)).split_tables() for name in ("small", "whole"))
    for split in ("train", "val", "test"):
        assert (small[split].labels == whole[split].labels).all()
        paths = [Path(whole[split].folder) / whole[split].name(row) for row in range(len(whole[split]))]
        assert [path.name for path in paths] == [Path(small[split].name(row)).name for row in range(len(paths))]
        assert all(path.is_file() for path in paths)
    (first.parent / "CheXpert-v1.0 batch 3 (train 2)" / "patient00040").rename(tmp_path / "gone")
    with pytest.raises(InputError, match=r"a picture at .*patient00040"):
        CheXpert(str(tmp_path / "whole")).split_tables()


def test_a_segmentation_in_a_folder_of_the_address(tmp_path: Path) -> None:
    fake_idrid.write(tmp_path / "archive", below="A.%20Segmentation/A. Segmentation")
    (tmp_path / "archive" / "B.%20Disease%20Grading").mkdir()
    assert len(IDRiD(str(tmp_path), tile=89, tile_pixels=20).table("test")) >= 27


def test_what_is_there_instead_is_said(tmp_path: Path) -> None:
    for name in ("archive.zip", "notes.txt", *(f"{at}.png" for at in range(7))):
        (tmp_path / name).touch()
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError) as caught:
        RFMiD(str(tmp_path)).table("train")
    assert caught.value.got == "0.png, 1.png, 2.png, 3.png, 4.png, 5.png and 4 more"
    assert caught.value.fix.startswith("get RFMiD (doi ")
    for path in tmp_path.glob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"got archive\.zip \(not unpacked\), notes\.txt, photos/; get MuReD \(doi"):
        MuReD(str(tmp_path)).table("train")
    assert found_in(str(tmp_path / "photos")) == "nothing there"


def test_two_copies_in_one_folder_are_not_chosen_from(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "images").mkdir(parents=True)
    for find in (first_present, all_present):
        with pytest.raises(InputError, match=r"images once below .*, got it in one, two; choose"):
            find(str(tmp_path), ["images"], "choose")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="at least one of the folders file, "):
        all_present(str(tmp_path), ["file"], "choose")
    (tmp_path / "images/images").mkdir(parents=True)
    assert first_present(str(tmp_path), ["images"], "choose") == str(tmp_path / "images/images"), (
        "the root itself first"
    )
    assert all_present(str(tmp_path), ["images", "no"], "choose") == ["images/images", "images"]
