"""The house stays one that is read at sight: few rooms, none too large, each with a page."""

from pathlib import Path

from tests.command_line import REPOSITORY

PACKAGE = REPOSITORY / "ibca_lightning"
ASIDE = {"datasets"}  # one file each for what is many by nature


def lines(files: list[Path]) -> int:
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def test_few_rooms_and_none_of_them_too_large() -> None:
    rooms = [path for path in PACKAGE.iterdir() if path.is_dir() and list(path.glob("*.py"))]
    assert len(rooms) <= 16
    assert len(list(PACKAGE.glob("*.py"))) <= 3
    whole = lines(list(PACKAGE.rglob("*.py")))
    shares = {room.name: lines(list(room.rglob("*.py"))) / whole for room in rooms}
    assert {name: share for name, share in shares.items() if share > 0.2} == {}


def test_the_page_of_the_house_leads_to_every_room() -> None:
    page = (PACKAGE / "README.md").read_text(encoding="utf-8")
    rooms = [path for path in PACKAGE.iterdir() if path.is_dir() and list(path.glob("*.py"))]
    assert [room.name for room in rooms if f"({room.name}/README.md)" not in page] == []
    assert [room.name for room in rooms if not (room / "README.md").is_file()] == []


def test_no_folder_is_a_heap() -> None:
    folders = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]
    files = {folder.relative_to(PACKAGE).as_posix(): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: number for name, number in files.items() if number > 15 and name not in ASIDE} == {}
