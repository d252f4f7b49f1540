"""Pictures without labels, for prediction."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from torch.utils.data import Dataset

from ibca_lightning.data.pictures.dicom import is_dicom
from ibca_lightning.data.pictures.header import EXTENSIONS, PICTURES, kind_of
from ibca_lightning.data.pictures.transforms import evaluation_transform
from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.system.strangers import regular

_DIRECTORY = b"1.2.840.10008.1.3.10"


class PictureFolder(Dataset[dict[str, Any]]):
    """A picture, or all pictures in and below a folder in the order of their paths.

    An item is `{"image": uint8 (3, S, S), "id": str}`, the id relative to the folder in POSIX form. Hidden files are
    passed over, and files whose content is no picture unless they have one of `EXTENSIONS`. A file given by itself may
    have any name.

    Args:
        path: A file or a folder.
        image_size: S.
        preprocessing: That of the data module the model was trained with.

    Raises:
        InputError: If there is no picture.
    """

    def __init__(self, path: str, image_size: int, preprocessing: Mapping[str, Any]) -> None:
        self.folder, self.ids, self.passed_over = pictures_below(os.fspath(path))
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


def pictures_below(path: str) -> tuple[str, list[str], list[str]]:
    """The folder of a picture and its name in it; of a folder, the names of all pictures below it, and of other files.

    Raises:
        InputError: If there is no picture.
    """
    if os.path.isfile(path):
        return os.path.dirname(path), [os.path.basename(path)], []
    if not os.path.isdir(path):
        raise InputError(f"a picture or a folder of pictures at {path}", "nothing there", "correct the path")
    names, others = _pictures(path)
    if not names:
        raise InputError(f"at least one picture ({', '.join(sorted(PICTURES))}) in {path}", "none", "correct the path")
    return path, names, others


def only_pictures(folder: str, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of some files in a folder that are pictures, by their extension or content, and the others; both sorted."""
    kept = sorted({name for name in names if _is_picture(os.path.join(folder, name))})
    return kept, sorted({*names} - {*kept})


def _is_picture(path: str) -> bool:
    if os.path.splitext(path)[1].lower() in EXTENSIONS:
        return True
    try:
        with open(regular(path), "rb") as file:
            head = file.read(512)
    except OSError:
        return False
    # The index of an archive is DICOM too (Media Storage Directory), and no picture.
    return (kind_of(memoryview(head)) in PICTURES or is_dicom(memoryview(head))) and _DIRECTORY not in head


def _pictures(folder: str) -> tuple[list[str], list[str]]:
    found: list[str] = []
    for head, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.relpath(os.path.join(head, name), folder).replace(os.sep, "/")
            for name in files
            if not name.startswith(".")
        ]
    return only_pictures(folder, found)
