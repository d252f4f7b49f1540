"""Two pictures of a case (both eyes, prior and current, two kinds of photograph) as one picture, side by side."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from ibca_lightning.data.pictures.reading import Pixels, read_image
from ibca_lightning.data.tables.labels import is_blank
from ibca_lightning.data.tables.paths import absent, inside, missing
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.data.tables.table import encode
from ibca_lightning.datasets.layouts.made_pictures import writable, write_picture
from ibca_lightning.system.errors import InputError


def pairs_folder(root: str, pairs_dir: str | None, side: int) -> str:
    """Return the folder of the pairs of a data set, of one size."""
    below = os.path.join(root, "pairs") if pairs_dir is None else os.fspath(pairs_dir)
    return os.path.join(below, str(side))


def pair_pictures(
    sheet: Sheet, columns: Sequence[Sequence[str]], root: str, folder: str, pairs: str, side: int
) -> list[str]:
    """Write the picture of each row's two pictures, where it is not there yet or one of them is newer.

    Args:
        sheet: The table, for messages.
        columns: For each row the left picture and the right one, as paths below `folder`; a blank is black.
        root: The folder of the data set, which no path may leave.
        folder: The picture folder.
        pairs: Where to; made if need be.
        side: Of the square of each picture in pixels.

    Returns:
        For each row the path below `pairs`: `left/1.jpg` and `right/1.jpg` become `left/1+right+1.jpg`.

    Raises:
        InputError: If a picture is not there, both are blank, or two pairs would have one name.
    """
    shown = [
        ["" if is_blank(cell) else inside(cell, root, folder, sheet.where(row)) for row, cell in enumerate(column)]
        for column in columns
    ]
    gone = [(row, column[row]) for column in shown for row in absent(folder, encode(column)) if column[row]]
    if gone:
        named = [f"a picture at {os.path.join(folder, name)} ({sheet.where(row)})" for row, name in sorted(gone)]
        raise missing(named, "restore the picture or remove the row")
    made: dict[str, tuple[str, str]] = {}
    names = []
    for row, (left, right) in enumerate(zip(*shown, strict=True)):
        if not left and not right:
            raise InputError(f"a picture in {sheet.where(row)}", "blanks only", "fill in a path or remove the row")
        first, second = (os.path.splitext(name)[0] or "none" for name in (left, right))
        names.append(f"{first}+{second.replace('/', '+')}.jpg")
        if made.setdefault(names[-1], (left, right)) != (left, right):
            got = f"two called {names[-1]}"
            raise InputError(f"pairs of pictures with names of their own, to {sheet.where(row)}", got, "rename one")
    paths = {name: (_path(folder, left), _path(folder, right)) for name, (left, right) in made.items()}
    write_pairs(pairs, paths, side)
    return names


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, name) if name else ""


def write_pairs(folder: str, pairs: Mapping[str, tuple[str, str]], side: int) -> None:
    """Write the pictures that are not there yet or older than what they show: the first left, the second right, 2 to 1.

    A picture appears under its name when it is whole, whatever was stopped or ran at the same time.

    Args:
        folder: Where to; made if need be.
        pairs: For each file name (.jpg) the paths of the two pictures; a blank is black.
        side: Of the square of each in pixels; a picture keeps its proportions, on black.

    Raises:
        InputError: If a picture cannot be read or the folder cannot be written to.
    """
    with writable("pictures", folder, "pairs_dir"), ThreadPoolExecutor() as pool:
        for below in sorted({os.path.dirname(name) for name in pairs} | {""}):
            os.makedirs(os.path.join(folder, below), exist_ok=True)
        stale = [name for name in sorted(pairs) if _is_stale(os.path.join(folder, name), *pairs[name])]
        list(pool.map(lambda name: _write(os.path.join(folder, name), *pairs[name], side), stale))


def join(left: Pixels, right: Pixels, side: int) -> Pixels:
    """Put two pictures side by side.

    Args:
        left: (H, W, 3) uint8; the other picture may be of another size.
        right: Likewise.
        side: S, of the square of each.

    Returns:
        (S, 2 S, 3) uint8, each picture in the middle of its square.
    """
    pair = np.zeros((side, 2 * side, 3), dtype=np.uint8)
    for at, own in enumerate((left, right)):
        longest = max(own.shape[:2])
        height, width = (max(1, round(length * side / longest)) for length in own.shape[:2])
        way = cv2.INTER_AREA if longest > side else cv2.INTER_LINEAR
        top, start = (side - height) // 2, at * side + (side - width) // 2
        pair[top : top + height, start : start + width] = cv2.resize(own, (width, height), interpolation=way)
    return pair


def _is_stale(path: str, *pictures: str) -> bool:
    try:
        made = os.stat(path).st_mtime_ns
        return any(os.stat(picture).st_mtime_ns > made for picture in pictures if picture)
    except FileNotFoundError:  # of a picture: reading it says so
        return True


def _write(path: str, left: str, right: str, side: int) -> None:
    black = np.zeros((1, 1, 3), np.uint8)
    first, second = (read_image(each, side) if each else black for each in (left, right))
    write_picture(path, join(first, second, side))
