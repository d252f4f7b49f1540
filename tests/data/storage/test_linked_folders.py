"""Folders that are symbolic links hold pictures too; none is found twice, and no circle is endless."""

import os
from pathlib import Path

import pytest

from ibca_lightning.data.storage import files_below
from ibca_lightning.system.errors import DataWarning


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def below(folder: Path | str) -> list[str]:
    return sorted(files_below(str(folder)))


def test_a_folder_that_is_a_link_is_searched_and_what_it_links_to(tmp_path: Path) -> None:
    root, other, third = (made(tmp_path / name, "1.png", "deep/2.png") for name in ("root", "other", "third"))
    (root / "ward").symlink_to(other)
    (other / "deep" / "more").symlink_to(third, target_is_directory=True)
    expected = ["1.png", "deep/2.png", "ward/1.png", "ward/deep/2.png", "ward/deep/more/1.png"]
    assert below(root) == below(f"{root}/") == [*expected, "ward/deep/more/deep/2.png"]


def test_no_file_is_found_twice_and_under_the_name_without_a_link(tmp_path: Path) -> None:
    root, other = made(tmp_path / "root", "z/1.png"), made(tmp_path / "other", "y/2.png")
    (root / "a").symlink_to(root / "z")
    (root / "b").symlink_to(other / "y")
    (root / "c").symlink_to(other)  # holds what is b already
    assert below(root) == ["b/2.png", "z/1.png"]


@pytest.mark.parametrize("to", [".", "..", "/", "deep/.."])
def test_a_link_back_is_not_followed(tmp_path: Path, to: str) -> None:
    root = made(tmp_path / "parent" / "root", "1.png", "deep/2.png", "../3.png")
    (root / "deep" / "back").symlink_to(to if to == "/" else root / to)
    assert below(root) == ["1.png", "deep/2.png"]


def test_folders_that_link_to_each_other_are_searched_once(tmp_path: Path) -> None:
    root, other = made(tmp_path / "root", "1.png"), made(tmp_path / "other", "2.png")
    (root / "there").symlink_to(other)
    (other / "back").symlink_to(root)
    (other / "again").symlink_to(other)
    assert below(root) == ["1.png", "there/2.png"]


def test_hidden_links_and_those_that_lead_nowhere_are_no_folders(tmp_path: Path) -> None:
    root, other = made(tmp_path / "root", "1.png"), made(tmp_path / "other", "2.png", ".hidden/3.png")
    (root / ".there").symlink_to(other)
    (root / "nowhere").symlink_to(tmp_path / "gone")
    (root / "there").symlink_to(other)
    assert below(root) == ["1.png", "nowhere", "there/2.png"]


def test_a_folder_that_cannot_be_read_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, scandir = made(tmp_path / "root", "1.png", "closed/2.png"), os.scandir

    def refusing(path: str) -> object:
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.warns(DataWarning, match=r"cannot be read is passed over: .*closed \(Permission denied\)"):
        assert below(root) == ["1.png"]
