"""The files below a folder by name, for tables that leave out the extension, or the folders a picture lies in."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set

from ibca_lightning.data.pictures.header import EXTENSIONS
from ibca_lightning.data.storage import files_below
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.datasets.layouts.picture_files import only_pictures
from ibca_lightning.system.errors import InputError


def _may_be_picture(file: str) -> bool:
    """Whether its extension is that of pictures, or none, as of `IM_0001` and `1.2.840.7`: others are not opened."""
    extension = os.path.splitext(file)[1]
    return extension.lower() in EXTENSIONS or re.match(r"\.[^\W\d]", extension) is None


class PictureIndex:
    """What pictures lie in and below a folder, by path, by path without extension, by name, by name without extension.

    Args:
        folder: The folder; hidden files and folders are passed over, links to folders are followed.

    Attributes:
        files: Every picture, by extension, or by content where there is none, relative to the folder, in POSIX form,
            sorted.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        below = (file for file in files_below(folder) if _may_be_picture(file))
        self.files, _ = only_pictures(folder, [*below])
        self._by_path, self._by_name = [tuple(defaultdict[str, list[str]](list) for _ in range(2)) for _ in range(2)]
        self._known: set[str] = set()
        for file in self.files:
            head, _, name = file.rpartition("/")
            self._known.update(_folders(head))
            for found, key in zip(
                (*self._by_path, *self._by_name), (file, _stem(file), name, _stem(name)), strict=True
            ):
                found[key].append(file)

    def find(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return the files that each different cell of a column may mean; none for a blank.

        They are those of its whole path. Else they lie in its folders: the cell may leave some out, or name those above
        as another machine does (`D:/scans/siteA/7.png`, with either slash). Folders that nobody knows count for nothing
        where none of the column is known; else the picture is missing, as one of its name is another patient's.
        """
        found, elsewhere, above = dict[str, list[str]](), dict[str, list[str]](), set[tuple[str, ...]]()
        placed, names = False, [*dict.fromkeys(names)]
        shared = {*os.path.commonprefix([_folders(n.replace("\\", "/"))[:-1] for n in names if n.strip()])}  # noqa: RUF071
        for name in names:
            path = re.sub(r"^(\./)+", "", name.strip().replace("\\", "/"))
            head, _, last = path.rpartition("/")
            if exact := next((each[path] for each in self._by_path if path in each), []) if last else []:
                found[name], placed = exact, placed or bool(head)
                continue
            alike = next((each[last] for each in self._by_name if last in each), []) if last else []
            if not (folders := _folders(head)):
                found[name] = alike
            elif self._known.isdisjoint(folders):
                elsewhere[name] = alike
            else:
                found[name], placed = [file for file in alike if self._lies_in(folders, file, shared)], True
                above |= {folders[: -file.count("/")] for file in found[name] if folders[-1] in _folders(file)[-2:-1]}
        if placed:
            root = {name: _folders(name.replace("\\", "/"))[:-1] in above for name in elsewhere}
            elsewhere = {n: [file for file in files if root[n] and "/" not in file] for n, files in elsewhere.items()}
        return found | elsewhere

    def _lies_in(self, folders: tuple[str, ...], file: str, shared: Set[str]) -> bool:
        """Whether a file lies in folders of a cell: further ones above in one of the two, or between in the file.

        What all cells begin with tells none from another, whatever it is called.
        """
        own = _folders(file)[:-1]
        above = len(folders) - len(own)
        if own and above >= 0 and folders[above:] == own and self._known.isdisjoint({*folders[:above]} - shared):
            return True
        left = iter(own)
        return all(folder in left for folder in folders)  # in this order

    def named(self, sheet: Sheet, names: Sequence[str]) -> list[str]:
        """Return the files of a column; a cell that means none stays as it is, for `build_table` to judge.

        Raises:
            InputError: If a cell may mean several files.
        """
        files, every = [], self.find(names)
        for row, name in enumerate(names):
            found = every[name]
            if len(found) > 1:
                fix = "write the path of the picture below data.image_dir"
                raise InputError(f"one picture '{name}' below {self.folder} ({sheet.where(row)})", _some(found), fix)
            files.append(found[0] if found else name)
        return files


def _folders(path: str) -> tuple[str, ...]:
    """The parts of a path, without regard to case and form of Unicode."""
    parts = unicodedata.normalize("NFC", path).casefold().split("/")
    return tuple(part for part in parts if part not in ("", "."))


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _some(found: Sequence[str]) -> str:
    return f"{len(found)}: {', '.join(found[:3])}{', ...' * (len(found) > 3)}"
