"""The lit disc of a fundus photograph or an endoscope, and the box round it."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 256  # the disc is looked for at about this size
_CONTRAST = 20  # the middle must be this much brighter than the corners, of 255
_LEVEL = 0.15  # what is lit: this far from the corners' brightness to the middle's
_AREA, _FILLED = 0.2, 0.6  # least share of the picture the disc covers, and of its own box (a full disc: 0.785)

Box = tuple[float, float, float, float]


def field_of_view(image: NDArray[np.uint8]) -> Box | None:
    """Find the box round the lit disc of a picture (H, W, 3) that is dark outside of it.

    The disc is the largest connected region whose brightest channel lies above a level between that of the corners and
    that of the middle. It may be cut off by the picture's edges.

    Returns:
        Top, left, bottom and right in fractions of the height and the width, so that the box holds for a mask of
        another size; None where no disc can be told: corners as bright as the middle, or a region that is too small,
        too ragged or away from the middle.
    """
    step = max(1, min(image.shape[:2]) // _SIDE)
    bright = image[::step, ::step].max(axis=2)
    rows, columns = bright.shape
    if min(rows, columns) < 8:
        return None
    edge = max(2, min(rows, columns) // 32)
    corners = [bright[y, x] for y in (slice(edge), slice(-edge, None)) for x in (slice(edge), slice(-edge, None))]
    # Three of the four: a label or a clock may stand in one.
    dark = sorted(float(np.median(corner)) for corner in corners)[2]
    middle = float(np.median(bright[rows // 4 : -(rows // 4), columns // 4 : -(columns // 4)]))
    if middle - dark < _CONTRAST:
        return None
    lit = (bright > dark + _LEVEL * (middle - dark)).astype(np.uint8)
    lit = cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    figures = cv2.connectedComponentsWithStats(lit, connectivity=4)[2]
    if len(figures) < 2:
        return None
    largest = 1 + int(figures[1:, cv2.CC_STAT_AREA].argmax())
    left, top, width, height, area = (int(figure) for figure in figures[largest])
    if area < _AREA * bright.size or area < _FILLED * width * height:
        return None
    if not (left < columns / 2 < left + width and top < rows / 2 < top + height):
        return None
    # One step further on each side: what was sampled stands for its neighbours.
    return (
        max(0.0, (top - 1) / rows),
        max(0.0, (left - 1) / columns),
        min(1.0, (top + height + 1) / rows),
        min(1.0, (left + width + 1) / columns),
    )


def cut(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Cut a box out of a picture or a mask (H, W, ...), each side rounded outwards; a view of it."""
    top, left, bottom, right = bounds(pixels, box)
    return pixels[top:bottom, left:right]


def bounds(pixels: NDArray[np.uint8], box: Box) -> tuple[int, int, int, int]:
    """Top, left, bottom and right in pixels of what `cut` returns."""
    height, width = pixels.shape[:2]
    top, left, bottom, right = box
    return math.floor(top * height), math.floor(left * width), math.ceil(bottom * height), math.ceil(right * width)
