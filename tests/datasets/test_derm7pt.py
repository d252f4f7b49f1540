import re
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from ibca_lightning.data import Derm7pt
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_derm7pt
from tests.datasets.contract import DataModuleContract

CRITERIA = (
    *("pigment_network atypical", "blue_whitish_veil present", "vascular_structures irregular"),
    *("pigmentation irregular", "streaks irregular", "dots_and_globules irregular", "regression_structures present"),
)


class TestDerm7pt(DataModuleContract):
    labels_are_columns = False
    class_names: ClassVar = list(CRITERIA)
    rows: ClassVar = {"train": 40, "val": 20, "test": 30}

    def write(self, root: Path) -> None:
        fake_derm7pt.write(root)

    def module(self, root: Path, **common: Any) -> Derm7pt:
        return Derm7pt(str(root), **common)


class TestBothPhotographs(TestDerm7pt):
    pictures_are_made = True

    def module(self, root: Path, **common: Any) -> Derm7pt:
        return Derm7pt(str(root), view="both", pair_pixels=32, **common)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derm7pt")
    fake_derm7pt.write(folder)
    return folder


def test_a_case_by_hand(root: Path) -> None:
    line = (root / "meta/meta.csv").read_text().splitlines()[6]
    assert line.startswith("6,clark nevus,5,atypical,regular,absent,absent,regular,absent,comma,")
    data = Derm7pt(str(root), form="levels", melanoma=True)
    found = {
        int(data.table(split).lines[row]): data.table(split).labels[row].tolist()
        for split in ("train", "val", "test")
        for row in range(len(data.table(split)))
    }
    assert len(found) == 90
    assert {name for name, label in zip(data.class_names, found[7], strict=True) if label} == {
        *("pigment_network atypical", "streaks regular", "dots_and_globules regular", "vascular_structures regular"),
    }
    # Every fifth case from the second and the fourth is a melanoma, of two kinds; melanosis is none.
    assert {line for line, row in found.items() if row[-1]} == {line for line in found if (line - 2) % 5 in (1, 3)}


def test_levels_hold_the_criteria(root: Path) -> None:
    few, many = Derm7pt(str(root)), Derm7pt(str(root), form="levels")
    assert len(many.class_names) == 12
    at = [many.class_names.index(name) for name in few.class_names]
    for split in ("train", "val", "test"):
        assert (many.table(split).labels[:, at] == few.table(split).labels).all()


def test_the_other_photograph_is_read_and_the_official_rows_kept(root: Path) -> None:
    derm, clinic = Derm7pt(str(root)), Derm7pt(str(root), view="clinic")
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        rows = [int(line) for line in (root / f"meta/{name}_indexes.csv").read_text().split()[1:]]
        assert (derm.table(split).lines == [row + 2 for row in rows]).all()
        assert (derm.table(split).labels == clinic.table(split).labels).all()
        assert derm.table(split).name(0).endswith(f"l{rows[0]:03d}.jpg")
        assert clinic.table(split).name(0).endswith(f"{rows[0]:03d}.JPG")


def test_both_photographs_stand_side_by_side(tmp_path: Path) -> None:
    fake_derm7pt.write(tmp_path, below="release_v0")
    both = Derm7pt(str(tmp_path), view="both", pair_pixels=64)
    derm, table = Derm7pt(str(tmp_path)).table("val"), both.table("val")
    assert (table.labels == derm.labels).all()
    assert table.folder == str(tmp_path / "pairs/64")
    assert re.fullmatch(r"(.AL)/(.\d\d)l(\d{3})\+NEL\+\2\3\.jpg", table.name(0))
    pair = read_image(str(tmp_path / "pairs/64" / table.name(0)))
    clinic = Derm7pt(str(tmp_path), view="clinic").table("val").name(0)
    for half, name in ((pair[:, :64], derm.name(0)), (pair[:, 64:], clinic)):
        shown = read_image(str(tmp_path / "release_v0/images" / name))
        expected = (
            cv2.resize(shown, (64, 48), interpolation=cv2.INTER_AREA).mean((0, 1)) * 0.75
        )  # black above and below
        np.testing.assert_allclose(half.mean((0, 1)), expected, atol=3)


def test_the_folder_of_the_release_is_found(tmp_path: Path) -> None:
    fake_derm7pt.write(tmp_path, below="release_v0")
    assert len(Derm7pt(str(tmp_path)).table("val")) == 20


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("meta.csv", (",typical,", ",tipical,"), r"absent, atypical, typical in column 'pigment_network' of .*line"),
        ("meta.csv", ("streaks", "strakes"), "a column 'streaks'"),
        ("meta.csv", ("l003.jpg", "l103.jpg"), r"l103\.jpg.*meta\.csv, line 5"),
        ("valid_indexes.csv", ("indexes\n", "indexes\n91\n"), r"a row of .*from 0 to 90 in .*line 2, got '91'"),
        ("valid_indexes.csv", ("indexes\n", "indexes\n-1\n"), r"a row of .*got '-1'"),
        ("train_indexes.csv", ("indexes", "index"), "a column 'indexes'"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, file: str, change: tuple[str, str], said: str) -> None:
    fake_derm7pt.write(tmp_path)
    path = tmp_path / "meta" / file
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(InputError, match=said):
        Derm7pt(str(tmp_path)).setup("fit")


def test_a_case_in_two_splits_is_an_error(tmp_path: Path) -> None:
    fake_derm7pt.write(tmp_path)
    row = (tmp_path / "meta/train_indexes.csv").read_text().split()[1]
    with (tmp_path / "meta/test_indexes.csv").open("a") as file:
        file.write(f"{row}\n")
    with pytest.raises(InputError, match="every picture in one split only"):
        Derm7pt(str(tmp_path)).setup("fit")


def test_a_blank_level_is_unknown(tmp_path: Path) -> None:
    fake_derm7pt.write(tmp_path)
    path = tmp_path / "meta/meta.csv"
    path.write_text(path.read_text().replace(",comma,", ",,"))
    data = Derm7pt(str(tmp_path), form="levels")
    at = [number for number, name in enumerate(data.class_names) if name.startswith("vascular")]
    unknown = sum(int((data.table(split).labels == -1).sum()) for split in ("train", "val", "test"))
    assert unknown == sum(int((data.table(s).labels[:, at] == -1).sum()) for s in ("train", "val", "test")) > 10


def test_missing_files_and_wrong_options_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"doi 10\.1109/JBHI\.2018\.2824327.*root/meta/meta\.csv"):
        Derm7pt(str(tmp_path)).setup()
    with pytest.raises(InputError, match=r"data\.form: criteria or levels, got 'all'"):
        Derm7pt(str(tmp_path), form="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"data\.view: derm, clinic or both"):
        Derm7pt(str(tmp_path), view="dermoscopy")  # type: ignore[arg-type]
