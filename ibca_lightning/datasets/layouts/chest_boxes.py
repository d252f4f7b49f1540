"""The boxes that radiologists drew into some pictures of ChestX-ray14, as masks."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from ibca_lightning.data.pictures.masks import Bits, mask_name
from ibca_lightning.data.tables.sheet import read_sheet
from ibca_lightning.datasets.layouts.made_pictures import writable, write_picture
from ibca_lightning.system.errors import InputError

# The corners are those of the released pictures, all of this side; a copy of smaller ones has the same proportions.
_SIDE = 1024
_COLUMNS = ("Bbox [x", "y", "w", "h]")


def read_boxes(path: str, labels: Sequence[str], aliases: Mapping[str, str]) -> dict[str, Bits]:
    """Read `BBox_List_2017.csv`.

    Args:
        path: The table: a row for each box, its left, top, width and height in pixels of 1024 x 1024.
        labels: The labels of bit 0, 1, ..., up to eight.
        aliases: Other names of labels in the table.

    Returns:
        For each picture that has boxes its bit plane (1024, 1024) uint8.

    Raises:
        InputError: If a label is not known, or a box is none or leaves the picture.
    """
    sheet = read_sheet(path)
    columns = [sheet.column(name) for name in ("Image Index", "Finding Label", *_COLUMNS)]
    planes: dict[str, Bits] = {}
    for row, (picture, label, *corners) in enumerate(zip(*columns, strict=True)):
        label = aliases.get(label, label)
        if label not in labels:
            raise InputError(
                f"one of {', '.join(labels)} in the column 'Finding Label' of {sheet.where(row)}",
                f"'{label}'",
                "correct it",
            )
        try:
            left, top, width, height = (float(value) for value in corners)
        except ValueError:
            left = top = width = height = float("nan")
        if not (width > 0 and height > 0 and 0 <= left < _SIDE and 0 <= top < _SIDE):
            raise InputError(
                f"left, top, width and height of a box in {_SIDE} x {_SIDE} pixels in {sheet.where(row)}",
                ", ".join(corners),
                "restore the table",
            )
        plane = planes.setdefault(picture, np.zeros((_SIDE, _SIDE), dtype=np.uint8))
        x, y = int(left), int(top)
        plane[y : max(y + 1, round(top + height)), x : max(x + 1, round(left + width))] |= 1 << labels.index(label)
    return planes


def write_masks(folder: str, planes: Mapping[str, Bits]) -> None:
    """Write the bit planes that are not there yet, as PNG.

    Args:
        folder: Where to; made if need be.
        planes: By the path of a picture below the picture folder.

    Raises:
        InputError: If the folder cannot be written to.
    """
    with writable("masks", folder, "boxes_dir"):
        for name, plane in planes.items():
            path = os.path.join(folder, mask_name(name))
            if not os.path.exists(path):
                write_picture(path, plane)
