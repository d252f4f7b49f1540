"""Which pictures a command line means: files, folders, patterns such as `scans/*.png`, tables of paths."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ibca_lightning.data import storage
from ibca_lightning.datasets.layouts.picture_files import only_pictures, pictures_below
from ibca_lightning.datasets.layouts.tables.table_file import read_any
from ibca_lightning.system.errors import InputError, PictureError

_TABLES = (".csv", ".xlsx", ".xlsm", ".parquet", ".pq")


@dataclass(frozen=True)
class PictureList:
    """Pictures by id.

    Attributes:
        files: The path of each picture by its id, which is that path as seen from one of `folders`.
        folders: In the order in which they were named, each once; "" is the current one.
        passed_over: The paths of files in folders and patterns that are no pictures.
    """

    files: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def list_pictures(images: Sequence[str], column: str = "image", image_dir: str | None = None) -> PictureList:
    """Find the pictures that a user names, each once: sorted within a folder or pattern, in the order of a table.

    Args:
        images: Each a picture; a folder, searched below too; a pattern with `*`, `?`, `[...]` or `**`, which passes
            over hidden files and other files than pictures; or a table of paths (.csv, .xlsx, .parquet), which may be
            absolute ones and of files that are not there.
        column: Of the paths in a table.
        image_dir: Where the paths in a table are seen from; default the folder that it lies in.

    Raises:
        InputError: If one of `images` names no picture, or two pictures have one id.
    """
    found = PictureList()
    for entry in images:
        folder, names, others = _one(entry, column, image_dir)
        found.passed_over.extend(os.path.join(folder, name) for name in others)
        if folder not in found.folders:
            found.folders.append(folder)
        for name in names:
            path = os.path.join(folder, name)
            before = found.files.setdefault(name, path)
            if before != path and storage.real(before) != storage.real(path):
                raise InputError("pictures with names that differ", f"{before} and {path}", "give their common folder")
    return found


def _one(images: str, column: str, image_dir: str | None) -> tuple[str, list[str], list[str]]:
    """A folder, the pictures' paths in it, and those of files that are none."""
    if images.lower().endswith(_TABLES) and storage.is_file(images):
        names = read_any(images).column(column)
        if not all(names):
            raise InputError(f"a path in every row of '{column}' in {images}", "a blank", "fill it in, or drop the row")
        return os.path.dirname(images) if image_dir is None else image_dir, names, []
    if images.lower().endswith((".xls", ".ods", ".tsv")) and storage.is_file(images):
        raise InputError("pictures, or a table of paths as .csv, .xlsx or .parquet", images, "save it as one of these")
    if not glob.has_magic(images) or storage.exists(images):
        return pictures_below(images)
    parts = images.replace(os.sep, "/").split("/")
    folder = "/".join(parts[: next(at for at, part in enumerate(parts) if glob.has_magic(part))])
    folder = folder or ("/" if images.startswith("/") else "")
    names = (
        storage.remote.matching(images, folder)
        if storage.is_remote(images)
        else [
            name.replace(os.sep, "/")
            for name in glob.glob(os.path.relpath(images, folder or "."), root_dir=folder or None, recursive=True)
            if not os.path.isdir(os.path.join(folder, name))
        ]
    )
    names, others = only_pictures(folder, names)
    if not names:
        raise InputError(f"at least one picture that fits {images}", "none", "correct the pattern")
    return folder, names, others


def require_writable(name: str) -> None:
    """Refuse an id that no table can hold, and give back.

    Raises:
        PictureError: When it is no UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise PictureError(f"a name in UTF-8 for {name!a}", "other bytes", "rename the file") from None


def inside(name: str) -> str:
    """An id without what would lead out of a folder: a table of paths may hold absolute ones, and `..`.

    Examples:
        >>> from ibca_lightning.use.picture_list import inside
        >>> inside("../scans/1.png")
        'scans/1.png'
    """
    parts = os.path.normpath(os.path.splitdrive(name)[1]).replace(os.sep, "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".."))
