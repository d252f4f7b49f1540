"""A figure of heat maps: panels with titles, and a legend below."""

import math
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ibca_lightning.data.pictures.drawing import IN_WORDS, Panel, fitted, heat_maps, line_width

_LINE, _LETTERS, _INDENT = 16, 13, 3  # pixels of text
_GAP, _LEAST, _NARROWEST = 4, 256, 192  # between panels, the shortest longer side, the least width


def explanation(
    picture: np.ndarray, panels: Sequence[Panel], max_side: int = 2048, columns: int | None = None
) -> np.ndarray:
    """The picture in its own proportions, colours and resolution, attention over it, and how to read it.

    Args:
        picture: (h, w, 3) uint8 RGB.
        panels: In order; titles that are too long for a line go on in the next.
        max_side: A picture with a longer side is shrunk to it; one whose longer side is below 256 pixels is enlarged.
        columns: Panels in a row; default rows of one length, as far as that goes, of five or more where there are so
            many.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    base = fitted(picture, max_side, _LEAST)
    tiles = heat_maps(base, panels)
    if base.shape[1] < _NARROWEST:  # too narrow for a title
        tiles = [np.pad(tile, ((0, 0), (0, _NARROWEST - base.shape[1]), (0, 0)), constant_values=255) for tile in tiles]
    width, size = tiles[0].shape[1], line_width(base.shape[1])
    titles = [[part for line in each.title for part in _wrapped(line, width, size)] for each in panels]
    most = max(map(len, titles))
    tiles = [np.concatenate([_text(title, most, width, size), tile]) for title, tile in zip(titles, tiles, strict=True)]
    if columns is None:
        rows = math.ceil(len(tiles) / max(5, math.ceil(math.sqrt(len(tiles)))))
        columns = math.ceil(len(tiles) / rows)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    figure = stacked([_joined(tiles[at : at + columns], axis=1) for at in range(0, len(tiles), columns)])
    if all(each.attention is None for each in panels):
        return figure
    marked = any(each.outline is not None and each.outline.any() for each in panels)
    words = _wrapped(IN_WORDS + " White line: marked lesion." * marked, figure.shape[1], size)
    return np.concatenate([figure, _text(words, len(words), figure.shape[1], size)])


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (height, width, 3) uint8 of one width below each other, a white gap between them."""
    return _joined(rows, axis=0)


def _joined(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=axis)


def _text(lines: Sequence[str], count: int, width: int, size: int) -> np.ndarray:
    """Lines of text, with room for `count`."""
    strip = Image.new("RGB", (width, size * (2 + _LINE * count)), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(_LETTERS * size)
    for row, line in enumerate(lines):
        draw.text((_INDENT * size, size * (1 + _LINE * row)), line, fill="black", font=font)
    return np.asarray(strip)


def _wrapped(text: str, width: int, size: int) -> list[str]:
    """A text in lines of that width: broken behind a space, _, / or -, elsewhere only where a part alone is wider."""
    lines, room, font = [""], width - 2 * _INDENT * size, ImageFont.load_default(_LETTERS * size)
    for part in re.split(r"(?<=[ _/-])", text):
        for piece in (part,) if font.getlength(part.rstrip()) <= room else part:
            if lines[-1] and font.getlength(f"{lines[-1]}{piece}".rstrip()) > room:
                lines.append("")
            lines[-1] += piece
    return lines
