"""Paths of pictures, looked at all at once."""

from itertools import product
from pathlib import Path

from ibca_lightning.data.tables.paths import absent, are_plain, is_plain
from ibca_lightning.data.tables.table import encode


def test_names_are_plain_together_where_each_is() -> None:
    names = ["".join(letters) for length in range(5) for letters in product("a./\\\n", repeat=length)]
    for name in names:
        assert are_plain(encode([name])) == are_plain(encode(["b/c.png", name, "d"])) == bool(is_plain(name)), name


def test_what_is_a_folder_is_no_picture(tmp_path: Path) -> None:
    names = [f"{head}{at}.png" for head in ("", "a/") for at in range(5)]
    (tmp_path / "a").mkdir()
    for name in names:
        (tmp_path / name).touch()
    assert absent(str(tmp_path), encode(names)) == []
    for name in names[2::5]:
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
    assert absent(str(tmp_path), encode(names)) == [2, 7]


def test_files_that_begin_or_end_like_others_are_told_apart(tmp_path: Path) -> None:
    files = [f"{at}.png" for at in range(5)]
    for folder in ("", "a", "a/b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for file in files:
            (tmp_path / folder / file).touch()
    for cut in ([file[:-1] for file in files], [f"1{file}" for file in files], [f"b/{file}" for file in files]):
        assert absent(str(tmp_path), encode(cut)) == [*range(5)]
    shuffled = [f"{folder}{file}" for file in files for folder in ("", "a/b/", "a/")]
    assert absent(str(tmp_path), encode(shuffled)) == []
    assert absent(str(tmp_path), encode([*shuffled, "a/b/5.png", "c/0.png", "a/1.PNG", "ä.png"])) == [15, 16, 17, 18]
