"""What kinds of marks are drawn with: smooth strokes, discs, areas and letters, and what a drawn mark is.

Lengths are in pixels of the picture, points are (n, 2), x before y.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

Floats = NDArray[np.floating]
Points = NDArray[np.float64]
Place = Literal["free", "edge", "rim"]

_FINE = 3  # a canvas has so many pixels along one of the picture: edges are smooth whatever their width
_SHIFT = 4  # binary places of OpenCV's coordinates


class Mark(NamedTuple):
    """A mark by itself, before it has a place.

    Attributes:
        alpha: (h, w) from 0 to 1, how much of it covers a pixel.
        rgb: Its colour, (3,) or (h, w, 3), from 0 to 255.
        place: `free` anywhere, `edge` with its first row on an edge of the lit part of the picture, `rim` near an edge.
        tint: Whether light goes through it, as through ink or a shadow: it multiplies the picture.
        lit: Whether it lies in the scene: it is as bright as the light there, and keeps away from black margins.
    """

    alpha: Floats
    rgb: Floats
    place: Place = "free"
    tint: bool = False
    lit: bool = True


class Canvas:
    """Coverage of `height` x `width` pixels, drawn finer than that."""

    def __init__(self, height: float, width: float) -> None:
        self.height, self.width = max(1, round(height)), max(1, round(width))
        self._fine = np.zeros((self.height * _FINE, self.width * _FINE), np.uint8)

    def stroke(self, points: Points, width: float, value: float = 1.0, closed: bool = False) -> None:
        """Draw a line through points."""
        thick = max(1, round(width * _FINE))
        cv2.polylines(self._fine, [_fixed(points)], closed, round(255 * value), thick, cv2.LINE_AA, _SHIFT)

    def taper(self, points: Points, widths: Sequence[float] | Points, value: float = 1.0) -> None:
        """Draw a line whose width changes from point to point."""
        fixed, ink = _fixed(points), round(255 * value)
        for start, stop, width in zip(fixed[:-1].tolist(), fixed[1:].tolist(), widths, strict=False):
            cv2.line(self._fine, start, stop, ink, max(1, round(width * _FINE)), cv2.LINE_AA, _SHIFT)

    def area(self, points: Points, value: float = 1.0) -> None:
        """Fill an outline."""
        cv2.fillPoly(self._fine, [_fixed(points)], round(255 * value), cv2.LINE_AA, _SHIFT)

    def coverage(self, blur: float = 0.0) -> Floats:
        """Return (height, width) from 0 to 1, blurred by a sigma in pixels."""
        alpha = cv2.resize(self._fine, (self.width, self.height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return blurred(alpha, blur)


def blurred(alpha: Floats, sigma: float) -> Floats:
    """Blur a coverage."""
    return alpha if sigma < 0.2 else np.asarray(cv2.GaussianBlur(alpha, (0, 0), sigma))


def letters(text: str, height: float) -> Floats:
    """Return the coverage of a text whose font is `height` pixels high."""
    font = _font(max(5, round(height * _FINE)))
    left, top, right, bottom = font.getbbox(text)
    pad = _FINE
    wide, high = (-(-int(side + 2 * pad) // _FINE) * _FINE for side in (right - left, bottom - top))
    sheet = Image.new("L", (wide, high))
    ImageDraw.Draw(sheet).text((pad - left, pad - top), text, fill=255, font=font)
    fine = np.asarray(sheet, np.float32) / 255
    return np.asarray(cv2.resize(fine, (wide // _FINE, high // _FINE), interpolation=cv2.INTER_AREA))


@lru_cache(64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def curve(start: ArrayLike, bends: Sequence[ArrayLike], stop: ArrayLike, steps: int = 24) -> Points:
    """Return points of a Bézier curve with one or two bends."""
    t = np.linspace(0, 1, steps)[:, None]
    points: list[Points] = [np.asarray(point, float) for point in (start, *bends, stop)]
    while len(points) > 1:
        points = [(1 - t) * a + t * b for a, b in pairwise(points)]
    return points[0]


def blob(rng: np.random.Generator, centre: ArrayLike, radius: float, wobble: float, flat: float = 1.0) -> Points:
    """Return a random smooth closed outline, flattened and turned."""
    angle, turn = np.linspace(0, 2 * np.pi, 48, endpoint=False), rng.uniform(0, np.pi)
    waves = np.arange(2, 6)[:, None]
    sizes, phases = rng.normal(0, wobble, (4, 1)) / waves**0.5, rng.uniform(0, 2 * np.pi, (4, 1))
    length = radius * (1 + (sizes * np.cos(waves * angle + phases)).sum(0))
    a, b = length * np.cos(angle), length * np.sin(angle) * flat
    turned = np.stack([a * np.cos(turn) - b * np.sin(turn), a * np.sin(turn) + b * np.cos(turn)], axis=1)
    placed: Points = turned + np.asarray(centre, float)
    return placed


def clouds(rng: np.random.Generator, shape: tuple[int, ...], cells: int, least: float) -> Floats:
    """Return a smooth field (h, w) from `least` to 1: ink that is thin in places."""
    coarse = rng.random((cells, cells), np.float32) * (1 - least) + least
    fine = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(fine, least, 1))


def mixed(rng: np.random.Generator, *colours: tuple[float, float, float], spread: float = 8.0) -> Floats:
    """Return one of some colours, a little changed."""
    return np.asarray(np.clip(rng.choice(np.array(colours, float)) + rng.normal(0, spread, 3), 0, 255))


def pasted(alpha: Floats, part: Floats, at: tuple[float, float]) -> Floats:
    """Lay a coverage on another, its corner at (row, column); what lies beyond the edges is cut off."""
    (top, left), result = (max(0, round(x)) for x in at), alpha.copy()
    room = result[top : top + part.shape[0], left : left + part.shape[1]]
    np.maximum(room, part[: room.shape[0], : room.shape[1]], out=room)
    return result


def rotated(alpha: Floats, rgb: Floats, degrees: float) -> tuple[Floats, Floats]:
    """Turn a coverage and its colours (h, w, 3) on a patch that holds them whole."""
    (height, width), angle = alpha.shape, np.deg2rad(degrees)
    cosine, sine = abs(np.cos(angle)), abs(np.sin(angle))
    wide, high = int(np.ceil(width * cosine + height * sine)) + 2, int(np.ceil(width * sine + height * cosine)) + 2
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    matrix[:, 2] += (wide - width) / 2, (high - height) / 2
    turned = cv2.warpAffine(alpha, matrix, (wide, high))
    colours = cv2.warpAffine(rgb, matrix, (wide, high), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned), np.asarray(colours)


def _fixed(points: Points) -> NDArray[np.int32]:
    # OpenCV's whole coordinates are centres of pixels.
    return np.rint((np.asarray(points, float) * _FINE - 0.5) * (1 << _SHIFT)).astype(np.int32)
