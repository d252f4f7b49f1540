"""The items of a table: read, transform, label."""

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ibca_lightning.data.cache import Cache, Prepared
from ibca_lightning.data.pictures.masks import Bits, MaskFolder, pack, read_mask, unpack
from ibca_lightning.data.pictures.reading import PictureFile, Pixels
from ibca_lightning.data.pictures.transforms import Transform
from ibca_lightning.data.tables.table import Table, decode
from ibca_lightning.marks.painter import Painter
from ibca_lightning.system.errors import InputError, PictureError


class PictureDataset(Dataset[dict[str, Any]]):
    """Rows of a table as items of a batch.

    An item is `{"image": uint8 (3, S, S), "label": int8 (L,), "index": int64, "id": str, "group": str}`, with
    `"mask": bool (L, S, S)` where there is a mask folder, `"spurious_mask"` likewise where marks are drawn,
    `"drawn_mask"` where the transform draws noise, and `"subgroup": {column: str}` where there are such columns.

    Args:
        table: The rows.
        transform: What makes a picture S x S.
        masks: The folder of the masks; None where there are none.
        cache: Where pictures are kept as they are before augmentation; None reads them each time.

    Attributes:
        painter: What draws marks on the pictures, behind the cache and before augmentation; None where nothing does.
    """

    painter: Painter | None = None

    def __init__(
        self, table: Table, transform: Transform, masks: MaskFolder | None = None, cache: Cache | None = None
    ) -> None:
        self.table, self.transform, self.masks, self.cache = table, transform, masks, cache

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> NDArray[np.int8]:
        """(N, L) in {0, 1, -1}."""
        return self.table.labels

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Read one row.

        Raises:
            PictureError: With file, row and picture, if the picture or its mask cannot be used.
            InputError: If something else is wrong, such as a full disk below the cache.
        """
        item = described(self.table, row)
        try:
            return item | self.finished(row, *self._prepared(row, item["id"]))
        except InputError as error:
            raise type(error)(f"{error.expected} ({self.table.where(row)})", error.got, error.fix) from None

    def finished(self, row: int, pixels: Pixels, planes: list[Bits]) -> dict[str, Any]:
        """Return picture and masks of a row, from what `Transform.prepare` returned."""
        if self.painter is not None:
            lesion = None if self.masks is None else self.masks.select(planes[0]).any(dim=0).numpy()
            pixels, marks = self.painter.paint(row, self.table.name(row), pixels, lesion)
            planes = [*planes, *pack(marks)]
        image, planes = self.transform.finish(pixels, planes)
        item: dict[str, Any] = {"image": image, **self.transform.drawn_mask(planes)}
        if self.masks is not None:
            item["mask"] = self.masks.select(planes[0])
        if self.painter is not None:
            item["spurious_mask"] = unpack(planes[self.masks is not None :], self.labels.shape[1])
        return item

    def picture(self, row: int) -> str | PictureFile:
        """Return the picture of a row, for `Transform.read`."""
        return os.path.join(self.table.folder, self.table.name(row))

    def _prepared(self, row: int, name: str) -> Prepared:
        """What `Transform.prepare` makes of a row."""
        files = [os.path.join(self.table.folder, name)]
        if self.masks is not None and (mask := self.masks.file(name)):
            files.append(mask)
        return self.cache.fetch(row, files, lambda: self._prepare(*files)) if self.cache else self._prepare(*files)

    def _prepare(
        self, picture: str | PictureFile, mask: str | None = None, *, mask_data: Pixels | None = None
    ) -> Prepared:  # fmt: skip
        image = self.transform.read(picture)
        if mask is None:
            nothing = [np.zeros(image.shape[:2], np.uint8)] if self.masks is not None else []
            return self.transform.prepare(image, nothing)
        bits = read_mask(mask, mask_data)
        check_proportions(image.shape[:2], bits.shape, mask)
        return self.transform.prepare(image, [bits])


def described(table: Table, row: int) -> dict[str, Any]:
    """Return the item of a row without its picture."""
    item = {
        "label": torch.from_numpy(table.labels[row].copy()),
        "index": torch.tensor(row),
        "id": table.name(row),
        "group": decode(table.groups[row]),
    }
    if table.subgroups:
        item["subgroup"] = {column: decode(values[row]) for column, values in table.subgroups.items()}
    return item


def check_proportions(image: tuple[int, ...], mask: tuple[int, ...], path: str) -> None:
    """Refuse, as a PictureError, a mask whose proportions differ from its picture's by more than a pixel."""
    # The picture may have been decoded at an eighth of its size, each side rounded up: so proportions, within a pixel.
    (height, width), (rows, columns) = image, mask
    if abs(height * columns / rows - width) > 1 + columns / rows:
        expected = f"a mask with the proportions of its picture (height {height}, width {width} as decoded) at {path}"
        raise PictureError(expected, f"height {rows}, width {columns}", "make the mask from the same picture")
