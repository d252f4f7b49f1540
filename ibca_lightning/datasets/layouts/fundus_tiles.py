"""Cuts fundus photographs and their lesion masks into square tiles, and writes them as a table, pictures and masks."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.pictures.masks import Bits, pack, resize_bits
from ibca_lightning.data.pictures.reading import Pixels
from ibca_lightning.datasets.layouts.made_pictures import writable, write_picture
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.whole_files import whole_folder, write_csv

# Where the field of view of IDRiD's camera lies, in parts of the width of a photograph: 275 to 3692 of 4288 pixels.
_CENTRE, _WIDTH = 1984 / 4288, 3417 / 4288
# The field of view is where the largest channel, after a mean filter of 9 x 9 pixels, exceeds this.
_DARK = 20
_QUALITY = 90


@dataclass(frozen=True)
class Photograph:
    """A photograph and its masks.

    Attributes:
        name: Its name, the group of its tiles.
        image: (H, W, 3) uint8, RGB.
        masks: (L, H, W) bool, L up to 8.
    """

    name: str
    image: Pixels
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class Tile:
    """A part of a photograph.

    Attributes:
        name: `PHOTOGRAPH_rROWcCOLUMN`.
        image: (S, S, 3) uint8, RGB.
        bits: (S, S) uint8, bit i set where mask i is.
        labels: For each mask whether any of its pixels lies in the tile.
    """

    name: str
    image: Pixels
    bits: Bits
    labels: tuple[bool, ...]


def cut(photograph: Photograph, tile: int, pixels: int) -> Iterator[Tile]:
    """Cut a photograph by a grid without overlap, which is centred on the height and on the field of view.

    As many rows as fit into the height, as many columns as the field of view needs; tiles that lie less than half in
    the field of view are dropped. What is above, below or beside the grid is lost: 144 pixel rows at either end for
    512, none for a divisor of the height. A tile is shrunk by area averaging; a bit of its mask is set where any pixel
    of the lesion falls, so that the smallest survives and the labels agree with the mask.

    Args:
        photograph: The photograph.
        tile: Side of a tile in the photograph, in pixels.
        pixels: S, side of a tile as written, at most `tile`.

    Returns:
        The tiles, row by row.

    Raises:
        InputError: If the photograph is smaller than a tile.
    """
    height, width = photograph.image.shape[:2]
    rows, columns = height // tile, min(width // tile, -(-round(_WIDTH * width) // tile))
    if not rows or not columns:
        raise InputError(
            f"a photograph of {tile} x {tile} pixels or more ({photograph.name})",
            f"{width} x {height}",
            "lower data.tile",
        )
    top = (height - rows * tile) // 2
    left = min(max(round(_CENTRE * width - columns * tile / 2), 0), width - columns * tile)
    seen = cv2.blur(photograph.image.max(axis=2), (9, 9)) > _DARK
    for row in range(rows):
        for column in range(columns):
            y, x = top + row * tile, left + column * tile
            part = slice(y, y + tile), slice(x, x + tile)
            if seen[part].mean() < 0.5:
                continue
            masks = photograph.masks[(slice(None), *part)]
            image = np.ascontiguousarray(photograph.image[part])
            if pixels < tile:
                image = cv2.resize(image, (pixels, pixels), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
            yield Tile(
                f"{photograph.name}_r{row}c{column}",
                image,
                resize_bits(pack(masks)[0], pixels, pixels),
                tuple(bool(mask.any()) for mask in masks),
            )


def write_tiles(
    folder: str, splits: Mapping[str, Iterable[Photograph]], mask_names: Sequence[str], tile: int, pixels: int
) -> None:
    """Write the tiles of some photographs: `{split}.csv`, `images/*.jpg`, `masks/*.png`.

    A table has the columns `image`, `source` (the photograph) and one for each mask. All is written into a folder
    beside, which is then renamed: a folder of this name is whole, whatever was stopped or ran at the same time.

    Args:
        folder: The folder to make; where it is there already nothing is done.
        splits: For each split its photographs.
        mask_names: Names of the masks.
        tile: Side of a tile in the photographs, in pixels.
        pixels: Side of a tile as written.

    Raises:
        InputError: If a photograph cannot be cut or the folder cannot be written to.
    """
    if os.path.isdir(folder):
        return
    with writable("tiles", folder, "tiles_dir"), whole_folder(folder) as part:
        for split, photographs in splits.items():
            rows: list[list[object]] = [["image", "source", *mask_names]]
            for photograph in photographs:
                for each in cut(photograph, tile, pixels):
                    write_picture(f"{part}/images/{each.name}.jpg", each.image, _QUALITY)
                    write_picture(f"{part}/masks/{each.name}.png", each.bits)
                    rows.append([f"{each.name}.jpg", photograph.name, *map(int, each.labels)])
            write_csv(part / f"{split}.csv", rows)
