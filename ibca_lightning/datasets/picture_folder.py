"""Pictures without labels, for prediction."""

import os
from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset

from ibca_lightning.data.pictures.transforms import evaluation_transform
from ibca_lightning.datasets.layouts.picture_files import pictures_below
from ibca_lightning.system.errors import PictureError


class PictureFolder(Dataset[dict[str, Any]]):
    """A picture, or all pictures in and below a folder in the order of their paths.

    An item is `{"image": uint8 (3, S, S), "id": str}`, the id relative to the folder in POSIX form. Hidden files are
    passed over, and files whose content is no picture unless they have a picture's extension. A file given by itself
    may have any name.

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
