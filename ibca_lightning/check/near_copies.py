"""Pictures of two splits that show the same thing though their pixels differ: compressed again, scaled, brightened.

Our own on purpose. A hash of 64 bits (`imagehash`) sees the outline alone: medical pictures share it, so that by dHash
942 pairs of different eyes in idrid_tiles (train, test) are equal, and 6,685 within 4 bits. Here the common outline is
taken away: of each picture a `look` is kept, 32 x 32 local contrasts; the mean of all looks is subtracted; pairs of two
splits are compared by correlation. Of many, every pair is first compared by an eighth of that: coordinates of a look
along the directions in which looks differ most, and the length of what they leave out. The product of the coordinates
and that of the lengths is the most that two looks can correlate by (Cauchy and Schwarz), so that no pair is lost by
going on with the few above `_ALIKE` alone.
Pairs above `_ALIKE`, the first `_LOOKED_AT`, are read again and must agree by `_SAME` in their details at 128 x 128,
which lets other patients go. Measured on edd2020, chula_rbc12 and idrid_tiles: different pictures reached 0.56 there;
of 60 pictures each, copies saved as JPEG of quality 50 had 0.78 or more, those scaled by half or brightened 0.95.
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
_ALIKE, _SAME = 0.8, 0.65  # correlations of looks, of details; measured: see above
_LOOKED_AT = 2000  # pairs that are read again, the most alike first
_BLOCK = 4096  # rows compared at once
_SHORT = 127  # numbers beside a length, an eighth of a look
_FEW = 30_000_000  # pairs of which the whole looks are compared sooner than the directions are found
_SPARSE = 64  # of so many pairs of a block one at most is worth being gone on with alone
_ROUNDING = 1e-3  # of float32, and more: the length of what is left is the root of a difference


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
    total = np.sum([split.looks.sum(axis=0, dtype=np.int64) for split in splits], axis=0)  # 0 where there is no picture
    mean = (total / sum(np.count_nonzero(split.has_pictures) for split in splits)).astype(np.float32)
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
    # Several test sets may show the same scenes on purpose.
    pairs = [(one, two) for one, two in combinations(splits, 2) if {one.name, two.name} & {"train", "val"}]
    many = sum(len(one) * len(two) for one, two in pairs) > _FEW
    short = _shortened(splits, mean) if many else {}
    for first, second in pairs:
        for start in range(0, len(first), _BLOCK):
            for begin in range(0, len(second), _BLOCK):
                here, there = slice(start, start + _BLOCK), slice(begin, begin + _BLOCK)
                most = short[first.name][here] @ short[second.name][there].T if many else None
                rows, others, scores = _alike(first.looks[here], second.looks[there], mean, most)
                for at in np.argsort(-scores)[:_LOOKED_AT].tolist():
                    row, other = start + int(rows[at]), begin + int(others[at])
                    if (first.digests[row] != second.digests[other]).any():
                        yield float(scores[at]), first, row, second, other


def _alike(
    ours: NDArray[np.int8], theirs: NDArray[np.int8], mean: NDArray[np.float32], most: NDArray[np.float32] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The rows of both whose looks are alike, and how much they are, at most `most`."""
    may = None if most is None else np.flatnonzero(most >= _ALIKE - _ROUNDING)
    if may is None or len(may) * _SPARSE > len(ours) * len(theirs):
        alike = _centred(ours, mean) @ _centred(theirs, mean).T
        rows, others = np.nonzero(alike >= _ALIKE)
        return rows, others, alike[rows, others]
    rows, others = np.divmod(may, len(theirs))
    (own, at), (other, there) = (np.unique(each, return_inverse=True) for each in (rows, others))
    one, two = _centred(ours[own], mean), _centred(theirs[other], mean)
    pieces = [slice(start, start + _BLOCK) for start in range(0, len(may), _BLOCK)]
    scores = [np.einsum("ij,ij->i", one[at[piece]], two[there[piece]]) for piece in pieces]
    alike = np.concatenate([*scores, np.empty(0, np.float32)])
    kept = alike >= _ALIKE
    return rows[kept], others[kept], alike[kept]


def _shortened(splits: list[Contents], mean: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Of each look its coordinates along `_SHORT` directions, those of the largest variance, and what these leave out.

    They are found on a sample; whichever they are, products of these rows are bounds.
    """
    sample = np.concatenate([split.looks[:: max(1, -(-len(split) // _BLOCK))] for split in splits])
    centred = _centred(sample, mean)
    directions = np.linalg.eigh(centred.T @ centred).eigenvectors[:, -_SHORT:]

    def shortened(looks: NDArray[np.int8]) -> NDArray[np.float32]:
        whole = _centred(looks, mean)
        known = whole @ directions
        left = (whole * whole).sum(axis=1, keepdims=True) - (known * known).sum(axis=1, keepdims=True)
        return np.hstack([known, np.sqrt(np.maximum(left, 0))])

    return {
        split.name: np.concatenate([shortened(split.looks[at : at + _BLOCK]) for at in range(0, len(split), _BLOCK)])
        for split in splits
    }


def _centred(looks: NDArray[np.int8], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Looks without what all have in common, of length 1 each; all 0 where there is no picture, or one colour."""
    shown = looks.any(axis=1, keepdims=True)
    values: NDArray[np.float32] = np.where(shown, looks - mean, 0).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return values
