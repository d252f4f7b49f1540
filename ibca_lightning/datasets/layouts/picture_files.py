"""Which files of a folder are pictures, by name or content; nothing of torch is imported for it."""

import os
from collections.abc import Iterable

from ibca_lightning.data import storage
from ibca_lightning.data.pictures.dicom import is_dicom
from ibca_lightning.data.pictures.header import EXTENSIONS, PICTURES, kind_of
from ibca_lightning.system.errors import InputError

_DIRECTORY = b"1.2.840.10008.1.3.10"


def pictures_below(path: str) -> tuple[str, list[str], list[str]]:
    """The folder of a picture and its name in it; of a folder, the names of all pictures below it, and of other files.

    Raises:
        InputError: If there is no picture.
    """
    if storage.is_file(path):
        return os.path.dirname(path), [os.path.basename(path)], []
    if not storage.is_folder(path):
        raise InputError(f"a picture or a folder of pictures at {path}", "nothing there", "correct the path")
    names, others = only_pictures(path, storage.files_below(path))
    if not names:
        raise InputError(f"at least one picture ({', '.join(sorted(PICTURES))}) in {path}", "none", "correct the path")
    return path, names, others


def only_pictures(folder: str, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of some files in a folder that are pictures, by their extension or content, and the others; both sorted."""
    files = {*names}  # a listing can be gone through once
    kept = {name for name in files if _is_picture(os.path.join(folder, name))}
    return sorted(kept), sorted(files - kept)


def _is_picture(path: str) -> bool:
    if os.path.splitext(path)[1].lower() in EXTENSIONS:
        return True
    try:
        head = storage.beginning(path, 512)
    except OSError:
        return False
    # The index of an archive is DICOM too (Media Storage Directory), and no picture.
    return (kind_of(memoryview(head)) in PICTURES or is_dicom(memoryview(head))) and _DIRECTORY not in head
