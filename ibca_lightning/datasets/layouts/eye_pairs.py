"""Both eyes of a patient as one picture, side by side."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from ibca_lightning.data.pictures.reading import Pixels, read_image
from ibca_lightning.datasets.layouts.made_pictures import writable, write_picture


def write_pairs(folder: str, pairs: Mapping[str, tuple[str, str]], side: int) -> None:
    """Write the pictures that are not there yet: the first eye left, the second right, 2 to 1.

    A picture appears under its name when it is whole, whatever was stopped or ran at the same time.

    Args:
        folder: Where to; made if need be.
        pairs: For each file name (.jpg) the paths of the two eyes.
        side: Of the square of each eye in pixels; an eye keeps its proportions, on black.

    Raises:
        InputError: If an eye cannot be read or the folder cannot be written to.
    """
    with writable("pictures", folder, "pairs_dir"), ThreadPoolExecutor() as pool:
        os.makedirs(folder, exist_ok=True)
        absent = sorted(pairs.keys() - set(os.listdir(folder)))
        list(pool.map(lambda name: _write(os.path.join(folder, name), *pairs[name], side), absent))


def join(left: Pixels, right: Pixels, side: int) -> Pixels:
    """Put two eyes side by side.

    Args:
        left: (H, W, 3) uint8; the other eye may be of another size.
        right: Likewise.
        side: S, of the square of each eye.

    Returns:
        (S, 2 S, 3) uint8, each eye in the middle of its square.
    """
    pair = np.zeros((side, 2 * side, 3), dtype=np.uint8)
    for at, eye in enumerate((left, right)):
        longest = max(eye.shape[:2])
        height, width = (max(1, round(length * side / longest)) for length in eye.shape[:2])
        way = cv2.INTER_AREA if longest > side else cv2.INTER_LINEAR
        top, start = (side - height) // 2, at * side + (side - width) // 2
        pair[top : top + height, start : start + width] = cv2.resize(eye, (width, height), interpolation=way)
    return pair


def _write(path: str, left: str, right: str, side: int) -> None:
    write_picture(path, join(read_image(left, side), read_image(right, side), side))
