"""Draws attention over a picture, which keeps its own colours: a translucent map, and a contour at half of its scale.

Shapes: S picture side, H x W attention grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Box = tuple[float, float, float, float]
_TITLE, _LINE, _GAP, _MIN_SIDE = 34, 16, 4, 192
_BAR, _LEAST, _ROOM = 24, 256, 400  # of an explanation: scale bar, shortest long side, width for letters of single size
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_OPAQUE = 0.5  # the map where it is highest; below it is more translucent, down to nothing
_LEVEL = 0.5  # of the full scale, at which the contour lies
_CONTOUR, _HALO, _LESION = (0, 255, 255), (0, 0, 0), (255, 255, 255)  # cyan: no tissue has it


@dataclass(frozen=True)
class Panel:
    """One panel of an explanation.

    Attributes:
        attention: (H, W), sums to 1; None for the picture itself.
        title: Lines above it.
        outline: (h, w) bool, a lesion of the picture's proportions; None where none is known.
        box: Where the attention's grid lies: top, left, bottom, right in fractions of the picture's height and width.
    """

    attention: np.ndarray | None
    title: Sequence[str]
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
        lesion: (h, w) bool, the same in the picture's own proportions, to be outlined; default `mask`.
        box: As for `Panel`.
    """
    lines = [title, f"p = {probability:.2f}, threshold {threshold:.2f}"]
    outline = None
    if mask is not None and bool(mask.any()):
        lines.append(f"energy on lesion {share_on(attention, mask):.0%}")
        outline = (mask if lesion is None else lesion).numpy()
    return Panel(attention.numpy(), lines, outline, box)


def explanation(
    picture: np.ndarray, panels: Sequence[Panel], max_side: int = 2048, columns: int | None = None
) -> np.ndarray:
    """The picture in its own proportions and resolution, and attention over it with a scale bar.

    Colour runs from no attention to the map's maximum, or to four times uniform attention where that is more; the bar
    gives the end in multiples of uniform attention, and where the contour lies.

    Args:
        picture: (h, w, 3) uint8 RGB.
        panels: In order.
        max_side: A picture with a longer side is shrunk to it; one whose longer side is below 256 pixels is enlarged.
        columns: Panels in a row; default rows of one length, as far as that goes, of five or more where there are so
            many.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    base = fitted(picture, max_side, _LEAST)
    width = base.shape[1]
    letters = max(1, round(width / _ROOM))
    lines = max(len(panel.title) for panel in panels)
    bars = any(panel.attention is not None for panel in panels)
    tiles = []
    for panel in panels:
        drawn, below = base, np.full((_BAR * letters, width, 3), 255, np.uint8)
        if panel.attention is not None:
            drawn, below = _overlay(base, panel.attention, panel.box, letters), _scale_bar(width, panel, letters)
        if panel.outline is not None and panel.outline.any():
            drawn = _outlined(drawn, panel.outline, letters)
        tiles.append(_titled(np.concatenate([drawn, below]) if bars else drawn, panel.title, lines, letters))
    if columns is None:
        rows = math.ceil(len(tiles) / max(5, math.ceil(math.sqrt(len(tiles)))))
        columns = math.ceil(len(tiles) / rows)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return stacked([_joined(tiles[at : at + columns], axis=1) for at in range(0, len(tiles), columns)])


def fitted(picture: np.ndarray, most: int, least: int = 1) -> np.ndarray:
    """A picture (h, w, 3) whose longer side is brought to at most `most` pixels, and to `least` or more."""
    height, width = picture.shape[:2]
    factor = min(most, max(height, width, least)) / max(height, width)
    if factor == 1:
        return np.ascontiguousarray(picture)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA))


def heat_map(
    picture: np.ndarray, attention: np.ndarray, box: Box = _WHOLE, outline: np.ndarray | None = None
) -> np.ndarray:
    """The attention of one class over a picture, as a panel of `explanation` without its title and scale bar."""
    drawn = _overlay(np.ascontiguousarray(picture), attention, box)
    return _outlined(drawn, outline) if outline is not None and outline.any() else drawn


def full_scale(attention: np.ndarray) -> float:
    """The attention that has the last colour of the map.

    It is the map's own maximum, or four times uniform attention where that is more: a map that is nearly uniform must
    look like nothing, not like full attention everywhere.
    """
    return max(float(attention.max()), 4 * float(attention.mean()), 1e-12)


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (height, width, 3) uint8 of one width below each other, a white gap between them."""
    return _joined(rows, axis=0)


def _joined(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=axis)


def _overlay(base: np.ndarray, attention: np.ndarray, box: Box = _WHOLE, thickness: int = 1) -> np.ndarray:
    rows = _interpolation(base.shape[0], attention.shape[0], box[0], box[2])
    columns = _interpolation(base.shape[1], attention.shape[1], box[1], box[3])
    scaled = np.clip(rows @ (attention / full_scale(attention)).astype(np.float32) @ columns.T, 0, 1)
    colour = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    weight = (np.float32(_OPAQUE) * scaled)[..., None]
    drawn = np.ascontiguousarray((base * (1 - weight) + colour * weight).astype(np.uint8))
    contours, _ = cv2.findContours((scaled >= _LEVEL).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, _HALO, thickness + 2)
    cv2.drawContours(drawn, contours, -1, _CONTOUR, thickness)
    return drawn


def _interpolation(length: int, cells: int, start: float, stop: float) -> NDArray[np.float32]:
    """Weights (length, cells) that read cells laid from `start` to `stop` at each pixel.

    Linear between the cells' middles, 0 beyond the ends.
    """
    along = ((np.arange(length) + 0.5) / length - start) / (stop - start)
    at = np.clip(along * cells - 0.5, 0, cells - 1)
    weights: NDArray[np.float64] = np.clip(1 - np.abs(at[:, None] - np.arange(cells)), 0, 1)
    weights[(along < 0) | (along > 1)] = 0
    return weights.astype(np.float32)


def _outlined(panel: np.ndarray, mask: np.ndarray, thickness: int = 1) -> np.ndarray:
    shrinks = mask.shape[0] > panel.shape[0]  # then a pixel of the lesion must not fall between two of the panel
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    scaled = cv2.resize(mask.astype(np.float32), panel.shape[1::-1], interpolation=interpolation) > 0
    contours, _ = cv2.findContours(scaled.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(panel.copy(), contours, -1, _LESION, thickness))


def share_on(attention: Tensor, mask: Tensor) -> float:
    """The share of an attention map (H, W) on those of its cells that a mask (S, S) touches."""
    cells = torch.nn.functional.adaptive_max_pool2d(mask[None, None].float(), attention.shape)[0, 0]
    return float((attention * cells).sum() / attention.sum())


def _scale_bar(width: int, panel: Panel, letters: int) -> np.ndarray:
    """A strip with the colours from 0 to the full scale, in multiples of uniform attention, and the contour's level."""
    assert panel.attention is not None
    strip = Image.new("RGB", (width, _BAR * letters), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(13 * letters)
    scale = full_scale(panel.attention) * panel.attention.size
    end = f"{scale:.3g} x uniform, line {_LEVEL * scale:.3g}"
    left, right = 14 * letters, width - round(font.getlength(end)) - 8 * letters
    if right > left:
        ramp = np.linspace(0, 255, right - left).astype(np.uint8)[None].repeat(12 * letters, 0)
        colours = cv2.applyColorMap(ramp, cv2.COLORMAP_VIRIDIS)[..., ::-1]
        strip.paste(Image.fromarray(np.ascontiguousarray(colours)), (left, 6 * letters))
        middle = round(left + _LEVEL * (right - left))
        for colour, half in ((_HALO, letters + 1), (_CONTOUR, letters - 1)):
            draw.rectangle((middle - half, 4 * letters, middle + half, 20 * letters), fill=colour)
    draw.text((3 * letters, 4 * letters), "0", fill="black", font=font)
    draw.text((max(left, right) + 5 * letters, 4 * letters), end, fill="black", font=font)
    return np.asarray(strip)


def _titled(panel: np.ndarray, lines: Sequence[str], count: int, letters: int) -> np.ndarray:
    """A panel with room for `count` lines above it, with white beside it where it is too narrow to hold them."""
    if panel.shape[1] < _MIN_SIDE:
        panel = np.pad(panel, ((0, 0), (0, _MIN_SIDE - panel.shape[1]), (0, 0)), constant_values=255)
    strip = Image.new("RGB", (panel.shape[1], letters * (_TITLE + _LINE * max(0, count - 2))), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(13 * letters)
    for row, line in enumerate(lines):
        while len(line) > 1 and font.getlength(line) > panel.shape[1] - 3 * letters:
            line = line.removesuffix("…")[:-1] + "…"
        draw.text((3 * letters, letters * (1 + _LINE * row)), line, fill="black", font=font)
    return np.concatenate([np.asarray(strip), panel], axis=0)
