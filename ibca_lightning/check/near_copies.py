"""Pictures of two splits that show the same thing though their pixels differ: compressed again, scaled, brightened.

Our own on purpose. A hash of 64 bits (`imagehash`) sees the outline alone: medical pictures share it, so that tiles of
different eyes are as near as copies (numbers: the page of this room). Here the common outline is taken away: of each
picture a `look` is kept, 32 x 32 local contrasts; the mean of all looks is subtracted; every pair of two splits is
compared by correlation, a multiplication of matrices, which is exact and takes minutes for 100,000 pictures.
Pairs above `_ALIKE` are read again and compared by their details at 128 x 128, which lets other patients go.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ibca_lightning.check.content import Contents
from ibca_lightning.check.look import details
from ibca_lightning.system.errors import InputError

_FINE = 128  # side at which pairs are compared once more
_MARGIN = 8  # pixels of that by which a copy may be shifted
_ALIKE, _SAME = 0.8, 0.65  # correlations of looks, of details; measured: see the page
_LOOKED_AT = 2000  # pairs that are read again, the most alike first
_BLOCK = 4096  # rows compared at once


class NearCopy(NamedTuple):
    """A row of one split, a row of another that shows the same, and the correlation of their details."""

    first: Contents
    row: int
    second: Contents
    other: int
    alike: float


def near_copies(contents: Mapping[str, Contents]) -> list[NearCopy]:
    """Find the near copies of two splits, most alike first; copies to the pixel are left to their hashes."""
    splits = [split for split in contents.values() if split.has_pictures.any()]
    if not splits:
        return []
    mean = np.concatenate([split.looks[split.has_pictures] for split in splits]).mean(axis=0, dtype=np.float32)
    fine: dict[tuple[str, int], NDArray[np.float32] | None] = {}

    def of_row(split: Contents, row: int) -> NDArray[np.float32] | None:
        if (split.name, row) not in fine:
            try:
                fine[split.name, row] = details(split.picture(row, _FINE), _FINE, 4, 1)
            except InputError:  # it was there a minute ago
                fine[split.name, row] = None
        return fine[split.name, row]

    found = []
    for _, first, row, second, other in sorted(_candidates(splits, mean), key=lambda each: -each[0])[:_LOOKED_AT]:
        one, two = of_row(first, row), of_row(second, other)
        if one is None or two is None:
            continue
        inner = one[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        alike = float(cv2.matchTemplate(two, inner, cv2.TM_CCOEFF_NORMED).max())
        if alike >= _SAME:
            found.append(NearCopy(first, row, second, other, alike))
    return sorted(found, key=lambda each: -each.alike)


def _candidates(
    splits: list[Contents], mean: NDArray[np.float32]
) -> Iterator[tuple[float, Contents, int, Contents, int]]:
    """Pairs of two splits whose looks are alike; of each block of pairs the most alike."""
    for first, second in combinations(splits, 2):
        if not {first.name, second.name} & {"train", "val"}:
            continue  # several test sets may show the same scenes on purpose
        for start in range(0, len(first), _BLOCK):
            ours = _centred(first.looks[start : start + _BLOCK], mean)
            for begin in range(0, len(second), _BLOCK):
                alike = ours @ _centred(second.looks[begin : begin + _BLOCK], mean).T
                here, there = np.nonzero(alike >= _ALIKE)
                scores = alike[here, there]
                for at in np.argsort(-scores)[:_LOOKED_AT].tolist():
                    row, other = start + int(here[at]), begin + int(there[at])
                    if (first.digests[row] != second.digests[other]).any():
                        yield float(scores[at]), first, row, second, other


def _centred(looks: NDArray[np.int8], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Looks without what all have in common, of length 1 each; all 0 where there is no picture, or one colour."""
    shown = looks.any(axis=1, keepdims=True)
    values: NDArray[np.float32] = np.where(shown, looks - mean, 0).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return values
