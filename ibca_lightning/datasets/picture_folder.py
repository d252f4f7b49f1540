"""Pictures without labels, for prediction."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

from ibca_lightning.data.pictures.dicom import is_dicom
from ibca_lightning.data.pictures.header import PICTURES, kind_of
from ibca_lightning.data.pictures.transforms import evaluation_transform
from ibca_lightning.system.errors import InputError, PictureError

log = logging.getLogger(__name__)

_DIRECTORY = b"1.2.840.10008.1.3.10"
_NAMED = 4
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom", ".npz"})


class PictureFolder(Dataset[dict[str, Any]]):
    """A picture, or all pictures in and below a folder in the order of their paths.

    An item is `{"image": uint8 (3, S, S), "id": str}`, the id relative to the folder in POSIX form. Hidden files are
    passed over, and files whose content is no picture unless they have one of `EXTENSIONS`; those are counted and
    named. A file given by itself may have any name.

    Args:
        path: A file or a folder.
        image_size: S.
        preprocessing: That of the data module the model was trained with.

    Raises:
        InputError: If there is no picture.
    """

    def __init__(self, path: str, image_size: int, preprocessing: Mapping[str, Any]) -> None:
        self.folder, self.ids = pictures_below(os.fspath(path))
        self.transform = evaluation_transform(image_size, preprocessing)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, at: int) -> dict[str, Any]:
        """Read one picture."""
        try:
            image = self.transform.read(os.path.join(self.folder, self.ids[at]))
        except PictureError as error:  # its advice is about the row of a table
            raise PictureError(error.expected, error.got, "restore the file or take it out of the folder") from None
        return {"image": self.transform(image)[0], "id": self.ids[at]}


def pictures_below(path: str) -> tuple[str, list[str]]:
    """The folder of a picture and its name in it; of a folder, the names of all pictures below it.

    Raises:
        InputError: If there is no picture.
    """
    if os.path.isfile(path):
        return os.path.split(path)[0], [os.path.basename(path)]
    if not os.path.isdir(path):
        raise InputError(f"a picture or a folder of pictures at {path}", "nothing there", "correct the path")
    names = _pictures(path)
    if not names:
        raise InputError(f"at least one picture ({', '.join(sorted(PICTURES))}) in {path}", "none", "correct the path")
    return path, names


def only_pictures(folder: str, names: Sequence[str]) -> list[str]:
    """Those of some files in a folder that are pictures, by their extension or content; how many are not is said."""
    kept = [name for name in names if _is_picture(os.path.join(folder, name))]
    passed = sorted({*names} - {*kept})
    if passed:
        shown = ", ".join(map(repr, passed[:_NAMED])) + (", ..." if len(passed) > _NAMED else "")
        log.warning("%d files in %s are no pictures and are passed over: %s", len(passed), folder or ".", shown)
    return kept


def _is_picture(path: str) -> bool:
    if os.path.splitext(path)[1].lower() in EXTENSIONS:
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError:
        return False
    # The index of an archive is DICOM too (Media Storage Directory), and no picture.
    return (kind_of(memoryview(head)) in PICTURES or is_dicom(memoryview(head))) and _DIRECTORY not in head


def _pictures(folder: str) -> list[str]:
    found: list[str] = []
    for head, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.relpath(os.path.join(head, name), folder).replace(os.sep, "/")
            for name in files
            if not name.startswith(".") and os.path.isfile(os.path.join(head, name))
        ]
    return sorted(only_pictures(folder, found))
