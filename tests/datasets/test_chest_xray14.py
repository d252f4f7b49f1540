from pathlib import Path
from typing import Any, ClassVar

import pytest

from ibca_lightning.data import ChestXray14
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_chest_xray14
from tests.datasets.contract import DataModuleContract


class TestChestXray14(DataModuleContract):
    labels_are_columns = False
    class_names: ClassVar = list(fake_chest_xray14.LABELS)
    rows: ClassVar = {"train": 80, "test": 40}

    def write(self, root: Path) -> None:
        fake_chest_xray14.write(root)

    def module(self, root: Path, **common: Any) -> ChestXray14:
        return ChestXray14(str(root), **{"val_fraction": 0.2, **common})


def test_findings_become_labels(tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path)
    module = ChestXray14(str(tmp_path), no_finding=True)
    assert module.class_names[-1] == "No Finding"
    table = module.table("test")
    rows = {Path(table.name(row)).name: table.labels[row].nonzero()[0].tolist() for row in range(len(table))}
    # Patient 56 (index 55) shows finding 10, and at the second visit finding 6 too; patient 60 shows nothing.
    assert rows["00000056_000.png"] == [10]
    assert rows["00000056_001.png"] == [6, 10]
    assert rows["00000060_001.png"] == [14]
    assert table.name(0) == "images_005/images/00000041_000.png"


def test_one_folder_and_the_later_table_are_read_alike(tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path / "twelve")
    fake_chest_xray14.write(tmp_path / "one", flat=True, file="Data_Entry_2017_v2020.csv")
    for split in ("train", "val", "test"):
        twelve, one = (ChestXray14(str(tmp_path / name)).table(split) for name in ("twelve", "one"))
        assert (twelve.labels == one.labels).all()
        assert twelve.groups.tolist() == one.groups.tolist()
    assert one.name(0) == "images/00000041_000.png"


def test_official_lists_decide_and_patients_stay_together(tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path)
    module = ChestXray14(str(tmp_path), subgroup_columns=["Patient Gender"])
    patients = {split: set(module.table(split).groups.tolist()) for split in ("train", "val", "test")}
    assert patients["test"] == {str(number).encode() for number in range(41, 61)}
    assert not patients["train"] & patients["val"]
    assert len(patients["train"] | patients["val"]) == 40
    assert set(module.table("val").subgroups["Patient Gender"].tolist()) == {b"M", b"F"}


def test_a_finding_of_no_class_is_named(tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path)
    file = tmp_path / "Data_Entry_2017.csv"
    file.write_text(file.read_text().replace("00000003_000.png,Effusion", "00000003_000.png,Effusions"))
    with pytest.raises(InputError, match=r"Data_Entry_2017\.csv, line 6, got 'Effusions'"):
        ChestXray14(str(tmp_path)).setup()


def test_lists_that_do_not_fit_are_explained(tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path)
    train, test = tmp_path / "train_val_list.txt", tmp_path / "test_list.txt"
    official = train.read_text()
    train.write_text(official.replace("00000002_000.png\n", ""))
    with pytest.raises(InputError, match=r"'00000002_000\.png' .*Data_Entry_2017\.csv, line 4\) in train_val_list"):
        ChestXray14(str(tmp_path)).setup()
    train.write_text(f"{official}\n00000041_000.png")
    with pytest.raises(InputError, match=r"one list only, got '00000041_000\.png' again in .*test_list\.txt, line 1"):
        ChestXray14(str(tmp_path)).setup()
    train.write_text(official)
    # A patient whose pictures the lists tear apart.
    train.write_text(f"{official}\n00000060_001.png")
    test.write_text(test.read_text().replace("\n00000060_001.png", ""))
    with pytest.raises(InputError, match="every group in one split only, got '60'"):
        ChestXray14(str(tmp_path)).setup()


def test_missing_archives_are_counted(tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path)
    (tmp_path / "images_003").rename(tmp_path / "elsewhere")
    # Patients 3, 15, 27 and 39 of training lie there, two pictures each.
    with pytest.raises(InputError, match=r"a picture 00000003_000\.png in .* as on 7 further lines; get ChestX-ray14"):
        ChestXray14(str(tmp_path)).setup()


@pytest.mark.parametrize("gone", ["Data_Entry_2017.csv", "test_list.txt", "images_*"])
def test_missing_parts_say_what_to_get(tmp_path: Path, gone: str) -> None:
    fake_chest_xray14.write(tmp_path)
    for path in tmp_path.glob(gone):
        path.rename(tmp_path / f"old_{path.name}")
    with pytest.raises(InputError, match=r"get ChestX-ray14 .*root/images_001/images"):
        ChestXray14(str(tmp_path)).setup()


def test_boxes_are_masks_of_a_test_set_of_their_own(tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path)
    module = ChestXray14(str(tmp_path), boxes=True, image_size=64, num_workers=0)
    assert module.test_names == ["test", "boxes"]
    plain, boxed = (next(iter(loader)) for loader in module.test_dataloader())
    assert "mask" not in plain
    # Patient 4 (index 3) has a box too, but is one of training.
    assert [Path(name).name for name in boxed["id"]] == [f"{patient:08d}_001.png" for patient in (46, 47, 48, 49)]
    for at, patient in enumerate((45, 46, 47, 48)):
        masks = boxed["mask"][at]
        assert masks.any(dim=(1, 2)).nonzero().flatten().tolist() == [patient % 15]
        # 1024 pixels become 64: from 128.5 / 16 down to 384.75 / 16, and from (256 + patient) / 16 for 512 / 16.
        rows, columns = (masks[patient % 15].any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
        assert rows == list(range(8, 25))
        assert columns == list(range((256 + patient) // 16, -(-(256 + patient + 512) // 16)))


def test_a_wrong_box_is_named(tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path)
    file = tmp_path / "BBox_List_2017.csv"
    text = file.read_text()
    for old, new, match in (
        ("Atelectasis", "Atelectases", r"'Finding Label' of .*BBox_List_2017\.csv, line 2, got 'Atelectases'"),
        ("301,128.5,512", "301,128.5,0", r"line 2, got 301, 128\.5, 0, 256\.25"),
        ("301,128.5,512", "301,much,512", r"line 2, got 301, much, 512, 256\.25"),
    ):
        file.write_text(text.replace(old, new, 1))
        with pytest.raises(InputError, match=match):
            ChestXray14(str(tmp_path), boxes=True).setup("test")
    file.unlink()
    with pytest.raises(InputError, match=r"BBox_List_2017\.csv.*get ChestX-ray14"):
        ChestXray14(str(tmp_path), boxes=True).setup("test")
