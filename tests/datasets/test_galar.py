from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ibca_lightning.data import Galar
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_galar
from tests.datasets.contract import DataModuleContract


class TestGalar(DataModuleContract):
    class_names: ClassVar = [*fake_galar.LABELS, *fake_galar.VIEW]
    rows: ClassVar = {"train": 96, "test": 24}

    def write(self, root: Path) -> None:
        fake_galar.write(root)

    def module(self, root: Path, **common: Any) -> Galar:
        return Galar(str(root), stride=2, videos=list(range(1, 11)), **common)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("galar")
    fake_galar.write(folder)
    return folder


def videos(data: Galar) -> dict[str, set[str]]:
    return {split: {g.decode() for g in data.table(split).groups.tolist()} for split in ("train", "val", "test")}


def test_whole_videos_stand_in_one_split_whatever_the_stride(root: Path) -> None:
    data = Galar(str(root))
    split = videos(data)
    assert [len(part) for part in split.values()] == [7, 1, 2]
    assert set.union(*split.values()) == {str(number) for number in range(1, 11)}
    for stride in (5, 24, 1000):
        other = Galar(str(root), stride=stride)
        assert videos(other) == split
        assert len(other.table("test")) == 2 * -(-24 // stride)


def test_labels_are_read_by_name_in_both_kinds_of_table(root: Path) -> None:
    data = Galar(str(root))
    for split in ("train", "val", "test"):
        table = data.table(split)
        for row in range(len(table)):
            video, line = int(table.groups[row]), int(table.lines[row]) - 2
            expected = [int(line % 24 == at or (line + video) % 24 == at) for at in range(24)]
            assert table.labels[row].tolist() == expected + [line % 2 if video > 8 else -1] * 5
            assert table.name(row) == f"Frames/{video}/frame_{100 + 2 * line:06d}.PNG"
            assert table.where(row) == f"{root}/Labels/{video}.csv, line {line + 2}"


def test_some_classes_and_some_videos_are_read(root: Path) -> None:
    data = Galar(str(root), classes=["good view", "polyp"], videos=[9, 3, 10, 4])
    assert data.class_names == ["good view", "polyp"]
    assert set.union(*videos(data).values()) == {"3", "4", "9", "10"}
    unknown = {
        group.decode()
        for split in ("train", "val", "test")
        for group, label in zip(data.table(split).groups, data.table(split).labels[:, 0], strict=True)
        if label == -1
    }
    assert unknown == {"3", "4"}


def test_the_folders_of_the_archives_are_read_too(tmp_path: Path) -> None:
    fake_galar.write(tmp_path, frames=3, archives=True)
    names = np.concatenate([Galar(str(tmp_path)).table(split).names for split in ("train", "val", "test")])
    assert len(names) == 30
    assert b"Galar_Frames_6_to_10/recording_7/frame_000104.PNG" in names


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((",hematin,", ",haematin,"), "no column hematin"),
        ((",frame", ",number"), "a column 'frame'"),
        ((",102\n", ",x2\n"), r"number of a frame in .*Labels/2\.csv, line 3, got 'x2'"),
        ((",102\n", ",104\n"), r"every picture once.*lines 3 and 4"),
        ((",102\n", ",103\n"), r"Frames/2/frame_000103\.PNG.*2\.csv, line 3"),
        (("0,102\n", "3,102\n"), r"column 'lymphangioectasis' of .*2\.csv, line 3"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    fake_galar.write(tmp_path, videos=4, frames=4)
    file = tmp_path / "Labels/2.csv"
    file.write_bytes(file.read_bytes().replace(b"\r", b""))
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(InputError, match=said):
        Galar(str(tmp_path)).setup()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stride": 0}, "data.stride of 1 or more"),
        ({"classes": ["section"]}, r"some of z-line, .*data\.classes"),
        ({"classes": ["polyp", "polyp"]}, "each once"),
        ({"videos": [1, 2, 81]}, r"a table 81\.csv"),
        ({"videos": [1, 2]}, "at least 3 groups"),
    ],
)
def test_a_wrong_option_is_named(root: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Galar(str(root), **options).setup()


def test_missing_files_say_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Figshare, article 25304616.*root/Labels/VIDEO\.csv"):
        Galar(str(tmp_path)).setup()
    fake_galar.write(tmp_path, videos=3, frames=2)
    (tmp_path / "Frames/2").rename(tmp_path / "Frames/elsewhere")
    with pytest.raises(InputError, match=r"frames of video 2.*Figshare.*data\.videos"):
        Galar(str(tmp_path)).setup()
