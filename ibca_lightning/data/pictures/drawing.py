"""Draws attention over a picture, which keeps its own colours: the one drawer of explain, runs, report, loggers, pages.

A translucent layer is the denser the more attention lies there, on one scale for all maps of a picture; a thick line
holds half of a map's attention, a thin one 80 %. `heat_maps` draws, `IN_WORDS` says how to read it; `figure.py` puts
titles and that legend round them.

Shapes: h x w picture, H x W attention grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Box = tuple[float, float, float, float]
_WHOLE = (0.0, 0.0, 1.0, 1.0)
COLOUR = (0, 255, 140)  # RGB; no tissue, stain or light of an endoscope has it
_HALO, _LESION = (0, 0, 0), (255, 255, 255)
_OPAQUE = 0.4  # the layer where it is densest: what lies under it is still seen
_HELD = (0.5, 0.8)  # shares of the attention that lie within the thick and the thin line
_TINT = (0.12, 0.06)  # and the least density of the layer there, which shows the side that is within
IN_WORDS = (
    "Green: where the model looked, on one scale for all maps of a picture. Half of the attention lies within the "
    "thick line, 80 % within the thin one."
)
_LEAST = 8.0  # times uniform attention that the full scale is at least: a map that is nearly uniform looks like nothing
_MARGIN = 32  # pixels, more than a line is wide
_FINE = 8  # samples a cell, along each side, from which the level of a line is found


@dataclass(frozen=True)
class Panel:
    """One panel of an explanation.

    Attributes:
        attention: (H, W), sums to 1; None for the picture itself.
        title: Lines above it.
        outline: (h', w') bool, a lesion of the picture's proportions; None where none is known.
        box: Where the attention's grid lies: top, left, bottom, right in fractions of the picture's height and width.
    """

    attention: np.ndarray | None
    title: Sequence[str] = ()
    outline: np.ndarray | None = None
    box: Box = _WHOLE


def class_panel(
    title: str, probability: float, threshold: float, attention: Tensor, mask: Tensor | None = None,
    lesion: Tensor | None = None, box: Box = _WHOLE,
) -> Panel:  # fmt: skip
    """The panel of one class, as `ibca explain` and the pictures of a run show it.

    Args:
        title: The name of the class, or of the model.
        probability: In [0, 1], calibrated.
        threshold: Above which the class is found.
        attention: (H, W), sums to 1.
        mask: (S, S) bool, the class's lesion on the square that the model sees; the title then says which share of the
            attention lies on the grid cells that it touches. None, or empty: no lesion is known.
        lesion: (h', w') bool, the same in the picture's own proportions, to be outlined; default `mask`.
        box: As for `Panel`.
    """
    verdict = "found" if probability > threshold else "not found"
    cells, outline = f"{attention.shape[0]} x {attention.shape[1]} cells", None
    if mask is not None and bool(mask.any()):
        cells += f", {100 * share_on(attention, mask):.0f} % on the lesion"
        outline = (mask if lesion is None else lesion).numpy()
    lines = (title, f"{verdict}: p = {probability:.2f}, threshold {threshold:.2f}", cells)
    return Panel(attention.numpy(), lines, outline, box)


def heat_maps(picture: np.ndarray, panels: Sequence[Panel]) -> list[np.ndarray]:
    """Draw the maps of one picture, on one scale: equal density of the layer means equal attention.

    Args:
        picture: (h, w, 3) uint8 RGB; it keeps its colours, size and proportions.
        panels: In order; their titles are not drawn.

    Returns:
        A picture (h, w, 3) uint8 RGB for each panel.
    """
    base, thickness = np.ascontiguousarray(picture), line_width(picture.shape[1])
    peaks = [_unit(each) * float(_sampled(each.attention).max()) for each in panels if each.attention is not None]
    full, drawn = max(_LEAST, min(peaks, default=0)), []
    for panel in panels:
        shown = base.copy() if panel.attention is None else _overlay(base, panel, full / _unit(panel), thickness)
        if panel.outline is not None and panel.outline.any():
            shown = _outlined(shown, panel.outline, thickness)
        drawn.append(shown)
    return drawn


def line_width(width: int) -> int:
    """How wide lines are on a picture of that width, in pixels, and how many times larger the letters beside it."""
    return max(1, round(width / 400))


def held_level(attention: np.ndarray, share: float) -> float:
    """The value from which on the places of a map, the highest first, together hold a share of it.

    >>> import numpy as np
    >>> from ibca_lightning.data.pictures.drawing import held_level
    >>> attention = np.array([[0.4, 0.1], [0.2, 0.3]])
    >>> held_level(attention, 0.5)  # 0.4 alone is less than half, 0.4 and 0.3 are more
    0.3
    """
    values = np.sort(attention, axis=None)[::-1]
    held = np.cumsum(values, dtype=np.float64)
    return float(values[min(np.searchsorted(held, share * held[-1] * (1 - 1e-6)), len(values) - 1)])


def smooth(attention: np.ndarray, height: int, width: int, box: Box = _WHOLE) -> NDArray[np.float32]:
    """Attention (H, W) read at each pixel of a picture: smooth, never negative, and of the same sum in each place.

    Quadratic B-splines, mirrored at the edges of the grid: a constant map stays constant, a single cell becomes a round
    spot about as wide as it, without the stars of linear and the rings of cubic interpolation. 0 outside of the grid.
    """
    rows = _spline(height, attention.shape[0], box[0], box[2])
    columns = _spline(width, attention.shape[1], box[1], box[3])
    return np.asarray(rows @ attention.astype(np.float32) @ columns.T)


def fitted(picture: np.ndarray, most: int, least: int = 1) -> np.ndarray:
    """A picture (h, w, 3) whose longer side is brought to at most `most` pixels, and to `least` or more."""
    height, width = picture.shape[:2]
    factor = min(most, max(height, width, least)) / max(height, width)
    if factor == 1:
        return np.ascontiguousarray(picture)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA))


def share_on(attention: Tensor, mask: Tensor) -> float:
    """The share of an attention map (H, W) on those of its cells that a mask (S, S) touches."""
    cells = torch.nn.functional.adaptive_max_pool2d(mask[None, None].float(), attention.shape)[0, 0]
    return float((attention * cells).sum() / attention.sum())


def _sampled(attention: np.ndarray) -> NDArray[np.float32]:
    return smooth(attention, *(_FINE * side for side in attention.shape))


def _unit(panel: Panel) -> float:
    """By which attention becomes a multiple of what a picture has everywhere on average, whatever grid it lies on."""
    assert panel.attention is not None
    top, left, bottom, right = panel.box
    return panel.attention.size / ((bottom - top) * (right - left))


def _overlay(base: np.ndarray, panel: Panel, full: float, thickness: int) -> np.ndarray:
    assert panel.attention is not None
    # A small picture has its lines found on finer pixels than its own, or they would be stairs.
    finer = min(3, max(0, 10 - max(base.shape).bit_length()))
    read = smooth(panel.attention, base.shape[0] << finer, base.shape[1] << finer, panel.box)
    sampled, weight, lines = _sampled(panel.attention), np.clip(read * np.float32(_OPAQUE / full), 0, _OPAQUE), []
    for share, tint in zip(_HELD, _TINT, strict=True):
        region = read >= 0.9999 * held_level(sampled, share)  # a uniform map reaches it everywhere
        weight[region] = np.maximum(weight[region], np.float32(tint))
        lines.append(_contours(region, finer))
    weight = cv2.resize(weight, base.shape[1::-1], interpolation=cv2.INTER_AREA)
    drawn = cv2.blendLinear(base, np.full_like(base, COLOUR), 1 - weight, weight)
    drawn = _lined(drawn, lines[0], COLOUR, 2 * thickness, finer=finer)
    return np.asarray(cv2.polylines(drawn, lines[1], True, COLOUR, thickness, cv2.LINE_AA, finer))


def _contours(region: NDArray[np.bool_], finer: int) -> list[np.ndarray]:
    """The edges of a region as closed lines; what goes on beyond the picture has its edge there, unseen."""
    wider = np.pad(region.astype(np.uint8), _MARGIN << finer, mode="edge")
    contours, _ = cv2.findContours(wider, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    corner = (_MARGIN << finer) + ((1 << finer) - 1) // 2  # the middle of the picture's first pixel
    return [cv2.approxPolyDP(points, 0.5, True) - corner for points in contours]  # many times fewer points


def _lined(
    picture: np.ndarray, lines: Sequence[np.ndarray], colour: tuple[int, int, int], thickness: int,
    kind: int = cv2.LINE_AA, finer: int = 0,
) -> np.ndarray:  # fmt: skip
    """Closed lines with a faint dark edge, without which they would be lost on what is bright."""
    edge = cv2.polylines(picture.copy(), lines, True, _HALO, thickness + 2, kind, finer)
    drawn = cv2.addWeighted(picture, 0.4, edge, 0.6, 0)
    return np.asarray(cv2.polylines(drawn, lines, True, colour, thickness, kind, finer))


def _spline(length: int, cells: int, start: float, stop: float) -> NDArray[np.float32]:
    """Weights (length, cells) that read cells laid from `start` to `stop` at each pixel; 0 beyond."""
    along = ((np.arange(length) + 0.5) / length - start) / (stop - start)
    at, middles = (along * cells - 0.5)[:, None], np.arange(cells)
    weights = sum(_bump(np.abs(at - each)) for each in (middles, -1 - middles, 2 * cells - 1 - middles))
    return np.where((along < 0)[:, None] | (along > 1)[:, None], 0, weights).astype(np.float32)


def _bump(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quadratic B-spline: three parabolas over three cells."""
    return 0.5 * np.clip(1.5 - distance, 0, None) ** 2 - 1.5 * np.clip(0.5 - distance, 0, None) ** 2


def _outlined(drawn: np.ndarray, mask: np.ndarray, thickness: int) -> np.ndarray:
    shrinks = mask.shape[0] > drawn.shape[0]  # then a pixel of the lesion must not fall between two of the panel
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    scaled = cv2.resize(mask.astype(np.float32), drawn.shape[1::-1], interpolation=interpolation) > 0
    contours, _ = cv2.findContours(scaled.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return _lined(drawn, contours, _LESION, thickness, cv2.LINE_8)
