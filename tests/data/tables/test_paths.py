"""Paths of pictures, looked at all at once."""

from itertools import product
from pathlib import Path

from ibca_lightning.data.tables.paths import absent, are_plain, is_plain


def test_names_are_plain_together_where_each_is() -> None:
    names = ["".join(letters) for length in range(5) for letters in product("a./\\\n", repeat=length)]
    for name in names:
        assert are_plain([name]) == are_plain(["b/c.png", name, "d"]) == bool(is_plain(name)), name


def test_what_is_a_folder_is_no_picture(tmp_path: Path) -> None:
    names = [f"{head}{at}.png" for head in ("", "a/") for at in range(5)]
    (tmp_path / "a").mkdir()
    for name in names:
        (tmp_path / name).touch()
    assert absent(str(tmp_path), names) == []
    for name in names[2::5]:
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
    assert absent(str(tmp_path), names) == [2, 7]
