"""Draws attention over a picture.

Shapes: S picture side, H x W attention grid, P panels.
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

_TITLE, _LINE, _GAP, _MIN_SIDE = 34, 16, 4, 192
_BAR, _LEAST, _ROOM = 24, 256, 400  # of an explanation: scale bar, shortest long side, width for letters of single size
_WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Panel:
    """One class of an explanation.

    Attributes:
        attention: (H, W), sums to 1.
        title: Lines above it.
        outline: (h, w) bool, a lesion of the picture's proportions; None where none is known.
    """

    attention: np.ndarray
    title: Sequence[str]
    outline: np.ndarray | None = None


def attention_panels(
    image: Tensor,
    attention: Tensor | Sequence[Tensor],
    names: Sequence[str],
    probabilities: Sequence[float],
    masks: Tensor | None = None,
    title: Sequence[str] = ("picture",),
    outline: Tensor | None = None,
    side: int | None = None,
) -> np.ndarray:
    """The picture, then one panel a class or model: attention in a colour-blind-safe map, the lesion outlined, a title.

    Args:
        image: (3, S, S) uint8.
        attention: (P, H, W), or P maps (H, W) of any grids; each sums to 1.
        names: P names, of classes or models.
        probabilities: P values in [0, 1].
        masks: (P, S, S) bool lesions, outlined in white where given; the title then says which share of the attention
            lies on the grid cells that the lesion touches.
        title: Of the picture itself, two lines at most.
        outline: (S, S) bool, a lesion to be outlined in the picture itself.
        side: Of a panel in pixels; default S, or 192 where that is more.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    picture = np.ascontiguousarray(image.cpu().permute(1, 2, 0).numpy())
    side = side or max(_MIN_SIDE, picture.shape[0])
    base = cv2.resize(
        picture, (side, side), interpolation=cv2.INTER_CUBIC if side > picture.shape[0] else cv2.INTER_AREA
    )
    first = base.copy()
    if outline is not None and bool(outline.any()):
        _outline(first, outline.cpu().numpy())
    panels = [_titled(first, title)]
    for i, (name, probability) in enumerate(zip(names, probabilities, strict=True)):
        panel = _overlay(base, attention[i].detach().float().cpu().numpy())
        lines = [name, f"p = {probability:.2f}"]
        if masks is not None and bool(masks[i].any()):
            _outline(panel, masks[i].cpu().numpy())
            lines[1] += f", on lesion {share_on(attention[i].detach().float().cpu(), masks[i].cpu()):.0%}"
        panels.append(_titled(panel, lines))
    return _joined(panels, axis=1)


def class_panel(
    name: str, probability: float, threshold: float, attention: Tensor, mask: Tensor | None = None,
    lesion: Tensor | None = None,
) -> Panel:  # fmt: skip
    """The panel of one class, as `ibca explain` and the pictures of a run show it.

    Args:
        name: Of the class.
        probability: In [0, 1], calibrated.
        threshold: Above which the class is found.
        attention: (H, W), sums to 1.
        mask: (S, S) bool, the class's lesion on the square that the model sees; the title then says which share of the
            attention lies on the grid cells that it touches. None, or empty: no lesion is known.
        lesion: (h, w) bool, the same in the picture's own proportions, to be outlined; default `mask`.

    Returns:
        What `explanation` draws.
    """
    title = [name, f"p = {probability:.2f}, threshold {threshold:.2f}"]
    outline = None
    if mask is not None and bool(mask.any()):
        title.append(f"energy on lesion {share_on(attention, mask):.0%}")
        outline = (mask if lesion is None else lesion).numpy()
    return Panel(attention.numpy(), title, outline)


def explanation(
    picture: np.ndarray,
    panels: Sequence[Panel],
    title: Sequence[str],
    box: tuple[float, float, float, float] = _WHOLE,
    max_side: int = 2048,
) -> np.ndarray:
    """The picture in its own proportions and resolution, then the attention of each class over it, with a scale bar.

    Colour runs from no attention to the map's maximum, or to four times uniform attention where that is more; the bar
    gives the end in multiples of uniform attention. What the model did not see stays without colour.

    Args:
        picture: (h, w, 3) uint8 RGB.
        panels: One a class.
        title: Of the picture itself.
        box: Where the attention's grid lies: top, left, bottom, right in fractions of the picture's height and width.
        max_side: A picture with a longer side is shrunk to it; one whose longer side is below 256 pixels is enlarged.

    Returns:
        (height, width, 3) uint8 RGB: rows of one length, as far as that goes, of five tiles or more where there are so
        many.
    """
    height, width = picture.shape[:2]
    factor = min(max_side, max(height, width, _LEAST)) / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if factor != 1:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)
    base = np.ascontiguousarray(picture)
    letters = max(1, round(size[0] / _ROOM))
    lines = max(len(text) for text in (title, *(panel.title for panel in panels)))
    first = [base, np.full((_BAR * letters, size[0], 3), 255, np.uint8)] if panels else [base]
    tiles = [_widened(np.concatenate(first), title, lines, letters)]
    for panel in panels:
        drawn = _overlay(base, panel.attention, box)
        if panel.outline is not None and panel.outline.any():
            _outline(drawn, panel.outline, letters)
        bar = _scale_bar(size[0], panel.attention, letters)
        tiles.append(_widened(np.concatenate([drawn, bar]), panel.title, lines, letters))
    rows = math.ceil(len(tiles) / max(5, math.ceil(math.sqrt(len(tiles)))))
    columns = math.ceil(len(tiles) / rows)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return stacked([_joined(tiles[at : at + columns], axis=1) for at in range(0, len(tiles), columns)])


def heat_map(
    picture: np.ndarray,
    attention: np.ndarray,
    box: tuple[float, float, float, float] = _WHOLE,
    outline: np.ndarray | None = None,
) -> np.ndarray:
    """The attention of one class over a picture, as a panel of `explanation` without its title and scale bar.

    Args:
        picture: (h, w, 3) uint8 RGB.
        attention: (H, W), sums to 1.
        box: Where its grid lies, as for `explanation`.
        outline: (h', w') bool, a lesion of the picture's proportions.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    drawn = _overlay(np.ascontiguousarray(picture), attention, box)
    if outline is not None and outline.any():
        _outline(drawn, outline)
    return drawn


def full_scale(attention: np.ndarray) -> float:
    """The attention that has the last colour of the map.

    It is the map's own maximum, or four times uniform attention where that is more: a map that is nearly uniform must
    look like nothing, not like full attention everywhere.

    Example:
        >>> import numpy as np
        >>> from ibca_lightning.data.pictures.drawing import full_scale
        >>> full_scale(np.full((2, 2), 0.25))  # uniform: a quarter of the scale, so that it looks like nothing
        1.0
        >>> full_scale(np.array([[1.0] + [0.0] * 9]))  # one cell of ten has it all
        1.0
    """
    return max(float(attention.max()), 4 * float(attention.mean()), 1e-12)


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one width below each other, a white gap between them.

    Args:
        rows: Each (height, width, 3) uint8.

    Returns:
        (height, width, 3) uint8.
    """
    return _joined(rows, axis=0)


def _joined(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=axis)


def _overlay(base: np.ndarray, attention: np.ndarray, box: tuple[float, float, float, float] = _WHOLE) -> np.ndarray:
    rows = _interpolation(base.shape[0], attention.shape[0], box[0], box[2])
    columns = _interpolation(base.shape[1], attention.shape[1], box[1], box[3])
    scaled = np.clip(rows @ (attention / full_scale(attention)).astype(np.float32) @ columns.T, 0, 1)
    colour = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    gray = cv2.cvtColor(cv2.cvtColor(base, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    seen = np.outer(rows.sum(1) > 0, columns.sum(1) > 0)
    weight = (np.float32(0.15) * seen + np.float32(0.6) * scaled)[..., None]  # what is not attended to stays visible
    return np.ascontiguousarray((gray * (1 - weight) + colour * weight).astype(np.uint8))


def _interpolation(length: int, cells: int, start: float, stop: float) -> NDArray[np.float32]:
    """Weights (length, cells) that read cells laid from `start` to `stop` at each pixel.

    Linear between the cells' middles, 0 beyond the ends.
    """
    along = ((np.arange(length) + 0.5) / length - start) / (stop - start)
    at = np.clip(along * cells - 0.5, 0, cells - 1)
    weights: NDArray[np.float64] = np.clip(1 - np.abs(at[:, None] - np.arange(cells)), 0, 1)
    weights[(along < 0) | (along > 1)] = 0
    return weights.astype(np.float32)


def _outline(panel: np.ndarray, mask: np.ndarray, thickness: int = 1) -> None:
    shrinks = mask.shape[0] > panel.shape[0]  # then a pixel of the lesion must not fall between two of the panel
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    scaled = cv2.resize(mask.astype(np.float32), panel.shape[1::-1], interpolation=interpolation) > 0
    contours, _ = cv2.findContours(scaled.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(panel, contours, -1, (255, 255, 255), thickness)


def share_on(attention: Tensor, mask: Tensor) -> float:
    """The share of an attention map (H, W) on those of its cells that a mask (S, S) touches.

    Example:
        >>> import torch
        >>> from ibca_lightning.data.pictures.drawing import share_on
        >>> mask = torch.zeros(4, 4, dtype=torch.bool)
        >>> mask[3, 0] = True  # in the third of the four cells
        >>> round(share_on(torch.tensor([[0.1, 0.1], [0.6, 0.2]]), mask), 2)
        0.6
    """
    cells = torch.nn.functional.adaptive_max_pool2d(mask[None, None].float(), attention.shape)[0, 0]
    return float((attention * cells).sum() / attention.sum())


def _scale_bar(width: int, attention: np.ndarray, letters: int) -> np.ndarray:
    """A strip with the colours from 0 to the full scale, in multiples of uniform attention."""
    strip = Image.new("RGB", (width, _BAR * letters), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(13 * letters)
    end = f"{full_scale(attention) * attention.size:.1f} x uniform"
    left, right = 14 * letters, width - round(font.getlength(end)) - 8 * letters
    if right > left:
        ramp = np.linspace(0, 255, right - left).astype(np.uint8)[None].repeat(12 * letters, 0)
        colours = cv2.applyColorMap(ramp, cv2.COLORMAP_VIRIDIS)[..., ::-1]
        strip.paste(Image.fromarray(np.ascontiguousarray(colours)), (left, 6 * letters))
    draw.text((3 * letters, 4 * letters), "0", fill="black", font=font)
    draw.text((max(left, right) + 5 * letters, 4 * letters), end, fill="black", font=font)
    return np.asarray(strip)


def _widened(panel: np.ndarray, lines: Sequence[str], count: int, letters: int) -> np.ndarray:
    """A panel with `count` lines above it, with white beside it where it is too narrow to hold them."""
    if panel.shape[1] < _MIN_SIDE:
        panel = np.pad(panel, ((0, 0), (0, _MIN_SIDE - panel.shape[1]), (0, 0)), constant_values=255)
    return _titled(panel, [*lines, *[""] * (count - len(lines))], letters)


def _titled(panel: np.ndarray, lines: Sequence[str], letters: int = 1) -> np.ndarray:
    strip = Image.new("RGB", (panel.shape[1], letters * (_TITLE + _LINE * max(0, len(lines) - 2))), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(13 * letters)
    for row, line in enumerate(lines):
        while len(line) > 1 and font.getlength(line) > panel.shape[1] - 3 * letters:
            line = line.removesuffix("…")[:-1] + "…"
        draw.text((3 * letters, letters * (1 + _LINE * row)), line, fill="black", font=font)
    return np.concatenate([np.asarray(strip), panel], axis=0)
