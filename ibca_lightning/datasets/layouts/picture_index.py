"""The files below a folder by name, for tables that leave out the extension, or the folders a picture lies in."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence

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
        self._found: tuple[dict[str, list[str]], ...] = tuple(defaultdict(list) for _ in range(4))
        for file in self.files:
            name = file.rpartition("/")[2]
            for found, key in zip(self._found, (file, _stem(file), name, _stem(name)), strict=True):
                found[key].append(file)

    def find(self, name: str) -> list[str]:
        """Return the files that a cell may mean: those of its whole path, else those of its last part; none if blank.

        Paths of another machine (`D:/scans/7.png`, with either slash) are known by their last part.
        """
        path = re.sub(r"^(\./)+", "", name.strip().replace("\\", "/"))
        last = path.rpartition("/")[2]
        tries = zip(self._found, (path, path, last, last), strict=True)
        return next((found[key] for found, key in tries if key in found), []) if last else []

    def named(self, sheet: Sheet, names: Sequence[str]) -> list[str]:
        """Return the files of a column; a cell that means none stays as it is, for `build_table` to judge.

        Raises:
            InputError: If a cell may mean several files.
        """
        files = []
        for row, name in enumerate(names):
            found = self.find(name)
            if len(found) > 1:
                fix = "write the path of the picture below data.image_dir"
                raise InputError(f"one picture '{name}' below {self.folder} ({sheet.where(row)})", _some(found), fix)
            files.append(found[0] if found else name)
        return files


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _some(found: Sequence[str]) -> str:
    return f"{len(found)}: {', '.join(found[:3])}{', ...' * (len(found) > 3)}"
