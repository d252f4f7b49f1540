"""Where a mark lies: never on a lesion, seldom on another mark, and where it can be seen."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ibca_lightning.marks.canvas import Floats, Mark

VISIBLE = 0.06  # coverage below which a pixel counts as untouched, and is
_CELLS = 40  # at least so many cells along a side, where the side can be parted so
_RIM = 0.14  # of the side: how near to an edge the rim is
# Of 255: what is no scene, what is too dark for ink, and what a colour must differ by to be seen.
_DARK, _DIM, _CONTRAST = 28.0, 68.0, 45.0
_CROWDED = 0.12  # of a mark's cells: what may lie on another mark or where it is hard to see
SIZES = (1.0, 0.75, 0.55, 0.4, 0.3, 0.2, 0.12)  # tried one after the other where there is no room


class Ground(NamedTuple):
    """A picture as marks see it, in square cells of whole pixels, G x G.

    Attributes:
        cell: Pixels along a cell.
        lesion: Where any pixel is one of a lesion.
        light: Mean brightness.
        taken: What marks cover so far; written to.
    """

    cell: int
    lesion: NDArray[np.bool_]
    light: Floats
    taken: NDArray[np.bool_]

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], lesion: NDArray[np.bool_]) -> "Ground":
        """Look at a picture (S, S, C) and its lesions (S, S)."""
        side = len(pixels)
        cell = max((n for n in range(1, side // _CELLS + 1) if side % n == 0), default=1)
        seen = np.ascontiguousarray(pixels[..., :3])  # what people are shown
        small = cv2.resize(seen, (side // cell,) * 2, interpolation=cv2.INTER_AREA)
        light = small.reshape(side // cell, side // cell, -1).mean(axis=2, dtype=np.float32)
        return cls(cell, pooled(lesion, cell), light, np.zeros(light.shape, bool))


def pooled(mask: NDArray[np.bool_], cell: int) -> NDArray[np.bool_]:
    """Return which cells hold a pixel of a mask whose sides are whole numbers of cells."""
    height, width = (length // cell for length in mask.shape)
    strips = mask.reshape(height, cell, width * cell).any(axis=1)
    return np.asarray(strips.reshape(height, width, cell).any(axis=2))


def find(mark: Mark, ground: Ground, rng: np.random.Generator) -> tuple[int, int, int] | None:
    """Find a place for a mark.

    Returns:
        Quarter turns of the picture against the clock, and the row and column of the mark's corner in the picture that
        is turned so; None where every place is on a lesion.
    """
    drawn = mark.alpha > VISIBLE
    (height, width), cell, cells = drawn.shape, ground.cell, len(ground.lesion)
    shift = rng.integers(0, cell, 2)  # so that places are not those of the cells alone
    if mark.place == "edge":
        shift[0] = 0
    high, wide = (-(-int(length + by) // cell) for length, by in zip(drawn.shape, shift, strict=True))
    if max(high, wide) > cells or not drawn.any():
        return None
    padded = np.zeros((high * cell, wide * cell), bool)
    padded[shift[0] : shift[0] + height, shift[1] : shift[1] + width] = drawn
    foot = pooled(padded, cell)
    hidden = ground.taken | _hidden(mark, ground.light)
    for turn in rng.permutation(4).tolist() if mark.place == "edge" else (0,):
        lesion, crowd, bright = (np.rot90(own, turn) for own in (ground.lesion, hidden, ground.light > _DARK))
        rows = cells - high + 1
        first = 0
        if mark.place == "edge":
            lit = np.flatnonzero(bright.mean(axis=1) > 0.15)
            first = int(lit[0]) if len(lit) else 0
        on_lesion = _covered(lesion, foot)[first:] > 0.5 if ground.lesion.any() else None
        spoilt = _covered(crowd, foot)[first:] / foot.sum()
        allowed = np.ones_like(spoilt, bool) if on_lesion is None else ~on_lesion
        if mark.place == "edge":
            allowed[1:] = False
        elif mark.place == "rim":
            near = round(_RIM * cells)
            inner = np.zeros_like(allowed)
            inner[near : max(near, rows - near), near : max(near, spoilt.shape[1] - near)] = True
            allowed = allowed & ~inner if (allowed & ~inner).any() else allowed
        if not allowed.any():
            continue
        best = max(_CROWDED, float(spoilt[allowed].min()))
        places = np.argwhere(allowed & (spoilt <= best + 1e-4))
        row, column = places[rng.integers(len(places))]
        row += first
        np.rot90(ground.taken, turn)[row : row + high, column : column + wide] |= foot
        return turn, int(row * cell + shift[0]), int(column * cell + shift[1])
    return None


def _hidden(mark: Mark, light: Floats) -> NDArray[np.bool_]:
    """The cells where a mark would not be seen, or would look wrong."""
    if mark.tint:
        return light < _DIM
    shades = np.broadcast_to(mark.rgb, (*mark.alpha.shape, 3)).mean(axis=2)[mark.alpha > VISIBLE]
    darkest, brightest = np.quantile(shades, (0.1, 0.9)) if len(shades) else (0, 0)
    same: NDArray[np.bool_] = (np.abs(light - darkest) < _CONTRAST) & (np.abs(light - brightest) < _CONTRAST)
    return same | (light < _DARK) if mark.lit else same


def _covered(field: NDArray[np.bool_], foot: NDArray[np.bool_]) -> Floats:
    """How many cells of a field a footprint covers, for each place of its corner."""
    sums = cv2.filter2D(
        np.ascontiguousarray(field, np.float32), cv2.CV_32F, foot.astype(np.float32), anchor=(0, 0),
        borderType=cv2.BORDER_CONSTANT,
    )  # fmt: skip
    rows, columns = (whole - part + 1 for whole, part in zip(field.shape, foot.shape, strict=True))
    return np.asarray(sums[:rows, :columns])
