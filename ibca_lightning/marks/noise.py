"""Noise of no kind, drawn on a picture: what learns to see it learns what is drawn over, and nothing of classes."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ibca_lightning.marks.canvas import Canvas, Floats, Mark, blurred, curve
from ibca_lightning.marks.painter import Pixels, lay
from ibca_lightning.marks.placing import VISIBLE

_SMALLEST, _LARGEST = 0.03, 0.2  # of the picture's side
_UNIT = 1 / 224  # of the side: widths of lines and of blur are counted in it


def draw_noise(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, NDArray[np.bool_]]:
    """Draw one to four shapes anywhere on a picture, on lesions and on each other too.

    Args:
        pixels: (S, S, C) uint8; not changed.
        rng: Decides all else.

    Returns:
        The picture, and the pixels (S, S) that are drawn on.
    """
    pixels, mask, side = pixels.copy(), np.zeros(pixels.shape[:2], bool), len(pixels)
    for _ in range(rng.integers(1, 5)):
        mark = _shape(rng, side)
        row, column = (int(rng.integers(side - length + 1)) for length in mark.alpha.shape)
        lay(mark, pixels, mask, row, column)
    return pixels, mask


def _shape(rng: np.random.Generator, side: int) -> Mark:
    """A shape of any form, colour and opacity, no larger than the picture."""
    size = float(side * np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST))))
    alpha = _FORMS[rng.integers(len(_FORMS))](rng, size, side * _UNIT)
    if rng.random() < 0.5:
        alpha = blurred(np.pad(alpha, max(1, round(4 * side * _UNIT))), side * _UNIT * rng.uniform(0.5, 1.5))
    alpha = _trimmed(np.rot90(alpha * rng.uniform(0.6, 1), int(rng.integers(4))))[:side, :side]
    grey = np.full(3, rng.uniform(0, 255))
    colour = (rng.uniform(0, 255, 3), grey, np.full(3, 250.0), np.full(3, 15.0))[rng.integers(4)]
    rgb = np.broadcast_to(colour, (*alpha.shape, 3))
    if rng.random() < 0.3:
        rgb = rgb + rng.normal(0, 40, (*alpha.shape, 1))
    if rng.random() < 0.2:
        stripes = np.sin(np.arange(alpha.shape[1]) * rng.uniform(0.2, 1.5) / (side * _UNIT))
        rgb = rgb * (0.6 + 0.4 * stripes)[:, None]
    return Mark(alpha, np.clip(rgb, 0, 255), lit=False)


def _trimmed(alpha: Floats) -> Floats:
    """What is seen of a coverage; one pixel of it where nothing is."""
    rows, columns = (np.flatnonzero((alpha > VISIBLE).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.ones((1, 1), np.float32)
    return alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _polygon(rng: np.random.Generator, size: float, unit: float) -> Floats:
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))[:, None]
    canvas = Canvas(1.3 * size, 1.3 * size)
    radius = 0.6 * size * rng.uniform(0.5, 1, angles.shape)
    canvas.area(0.65 * size + radius * np.hstack([np.cos(angles), np.sin(angles)]))
    return canvas.coverage()


def _stroke(rng: np.random.Generator, size: float, unit: float) -> Floats:
    width = unit * rng.integers(1, 4)
    canvas, (start, *bends, stop) = Canvas(*2 * [2 * (size + width)]), width + 2 * size * rng.random((4, 2))
    canvas.stroke(curve(start, bends, stop), width)
    return canvas.coverage()


def _box(rng: np.random.Generator, size: float, unit: float) -> Floats:
    canvas, middle = Canvas(1.5 * size, 1.5 * size), 0.75 * size
    (wide, high), turn = size * rng.uniform(0.3, 1, 2), rng.uniform(0, 90)
    canvas.area(cv2.boxPoints(((middle, middle), (wide, high), turn)).astype(float))
    return canvas.coverage()


def _blob(rng: np.random.Generator, size: float, unit: float) -> Floats:
    """A spot that fades out, without an edge."""
    away = np.linspace(-1.75, 1.75, max(2, round(1.4 * size)))
    wide, high = np.exp(-(away**2)), np.exp(-((away / rng.uniform(0.4, 1)) ** 2))
    return np.outer(high, wide).astype(np.float32)


def _lines(rng: np.random.Generator, size: float, unit: float) -> Floats:
    canvas = Canvas(2.1 * size, 2.1 * size)
    for _ in range(rng.integers(2, 9)):
        start = 1.05 * size + 0.7 * size * rng.uniform(-1, 1, 2)
        stop = start + 0.3 * size * rng.uniform(-1, 1, 2)
        canvas.stroke(np.stack([start, stop]), unit * rng.integers(1, 3))
    return canvas.coverage()


def _texture(rng: np.random.Generator, size: float, unit: float) -> Floats:
    """Eight by eight cells at random, sharp or smooth."""
    cells, wide = (rng.random((8, 8)) < 0.5).astype(np.float32), max(8, round(size))
    way = (cv2.INTER_NEAREST, cv2.INTER_LINEAR)[rng.integers(2)]
    return np.asarray(cv2.resize(cells, (wide, wide), interpolation=way))


_FORMS: tuple[Callable[[np.random.Generator, float, float], Floats], ...] = (
    *(_polygon, _stroke, _box, _blob, _lines, _texture),
)
