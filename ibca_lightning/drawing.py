"""Draws attention over a picture.

Shapes: S picture side, H x W attention grid, P panels.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_TITLE, _GAP, _MIN_SIDE = 34, 4, 192


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
            lines[1] += f", on lesion {_share_on(attention[i].detach().float().cpu(), masks[i].cpu()):.0%}"
        panels.append(_titled(panel, lines))
    return _joined(panels, axis=1)


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


def _overlay(base: np.ndarray, attention: np.ndarray) -> np.ndarray:
    # Scaled to the map's own maximum, or to four times uniform attention where that is more: a map that is nearly
    # uniform must look like nothing, not like full attention everywhere.
    full = max(float(attention.max()), 4 * float(attention.mean()), 1e-12)
    scaled = np.clip(cv2.resize(attention / full, base.shape[1::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
    colour = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    gray = cv2.cvtColor(cv2.cvtColor(base, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    weight = (0.15 + 0.6 * scaled)[..., None]  # what is not attended to stays visible
    return np.ascontiguousarray((gray * (1 - weight) + colour * weight).astype(np.uint8))


def _outline(panel: np.ndarray, mask: np.ndarray) -> None:
    shrinks = mask.shape[0] > panel.shape[0]  # then a pixel of the lesion must not fall between two of the panel
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    scaled = cv2.resize(mask.astype(np.float32), panel.shape[1::-1], interpolation=interpolation) > 0
    contours, _ = cv2.findContours(scaled.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(panel, contours, -1, (255, 255, 255), 1)


def _share_on(attention: Tensor, mask: Tensor) -> float:
    cells = torch.nn.functional.adaptive_max_pool2d(mask[None, None].float(), attention.shape)[0, 0]
    return float((attention * cells).sum() / attention.sum())


def _titled(panel: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    strip = Image.new("RGB", (panel.shape[1], _TITLE), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(13)
    for row, line in enumerate(lines):
        draw.text((3, 1 + 16 * row), line, fill="black", font=font)
    return np.concatenate([np.asarray(strip), panel], axis=0)
