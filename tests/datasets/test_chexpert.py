from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ibca_lightning.data import CheXpert, LabelPolicy
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_chexpert
from tests.datasets.contract import DataModuleContract


class TestCheXpert(DataModuleContract):
    class_names: ClassVar = list(fake_chexpert.LABELS)
    rows: ClassVar = {"train": 120, "test": 56}

    def write(self, root: Path) -> None:
        fake_chexpert.write(root)

    def module(self, root: Path, **common: Any) -> CheXpert:
        return CheXpert(str(root), **{"val_fraction": 0.2, **common})


def labels_of(table: Any, patient: str) -> list[int]:
    """The labels at the classes patient % 14 onwards: positive, uncertain, negative, not mentioned."""
    row = table.groups.tolist().index(patient.encode())
    return np.roll(table.labels[row], -int(patient[-5:]) % 14)[:4].tolist()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chexpert")
    fake_chexpert.write(root)
    return root


@pytest.mark.parametrize(
    ("policy", "train", "val"),
    [
        (None, [1, -1, 0, 0], [1, -1, 0, 0]),
        (LabelPolicy(uncertain="zero"), [1, 0, 0, 0], [1, -1, 0, 0]),
        (LabelPolicy(uncertain="one"), [1, 1, 0, 0], [1, -1, 0, 0]),
        (LabelPolicy(blank="ignore"), [1, -1, 0, -1], [1, -1, 0, -1]),
    ],
)
def test_uncertain_and_blank_labels_follow_the_policy(
    root: Path, policy: LabelPolicy | None, train: list[int], val: list[int]
) -> None:
    module = CheXpert(str(root), labels=policy)
    for split, expected in (("train", train), ("val", val)):
        for patient in {group.decode() for group in module.table(split).groups}:
            assert labels_of(module.table(split), patient) == expected, patient
    assert (module.table("test").labels == -1).sum() == 0


def test_patients_of_the_path_stay_together(root: Path) -> None:
    module = CheXpert(str(root), subgroup_columns=["Sex"])
    groups = {split: set(module.table(split).groups.tolist()) for split in ("train", "val", "test")}
    assert len(groups["train"] | groups["val"]) == 60
    assert not groups["train"] & groups["val"]
    assert b"patient64541" in groups["test"]
    assert module.table("test").name(0) == "valid/patient64541/study1/view1_frontal.jpg"
    assert module.table("test").subgroups["Sex"][0] == b"Female"


@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_one_view_only(root: Path, view: str) -> None:
    module = CheXpert(str(root), view=view)  # type: ignore[arg-type]
    tables = [module.table(split) for split in ("train", "val", "test")]
    assert [len(tables[0]) + len(tables[1]), len(tables[2])] == [60, 28]
    assert all(table.name(row).endswith(f"{view}.jpg") for table in tables for row in range(len(table)))


def test_the_release_may_lie_below_the_root(tmp_path: Path) -> None:
    fake_chexpert.write(tmp_path, inside="CheXpert-v1.0-small")
    module = CheXpert(str(tmp_path), image_size=16, num_workers=0)
    assert next(iter(module.test_dataloader()))["id"][0] == "valid/patient64541/study1/view1_frontal.jpg"


def test_wrong_input_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="all, frontal or lateral"):
        CheXpert(str(tmp_path), view="ap")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"get CheXpert .*root/valid\.csv"):
        CheXpert(str(tmp_path)).setup()
    fake_chexpert.write(tmp_path)
    file = tmp_path / "train.csv"
    text = file.read_text()
    for wrong, line in (
        (text.replace("train/patient00002/", "train/someone/", 1), r"patient12345.*train\.csv, line 4.*someone"),
        (text.replace("small/train/patient00002", "small/../patient00002", 1), r"below .*train\.csv, line 4.*\.\."),
        (text.replace("-1.0", "-2.0", 1), r"0, 1, -1 or blank in column '\w.*' of .*train\.csv, line 2, got '-2\.0'"),
        (text.replace("Lung Lesion", "Lung lesion"), r"no column Lung Lesion"),
        (text.replace(",Lateral,", ",Side,").replace(",Frontal,", ",Side,"), r"'Frontal/Lateral' .*only Side"),
    ):
        file.write_text(wrong)
        with pytest.raises(InputError, match=line):
            CheXpert(str(tmp_path), view="frontal" if "Side" in wrong else "all").setup()
