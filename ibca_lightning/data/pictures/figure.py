"""A figure of heat maps: panels with titles, and a legend below.

OpenCV's own font holds the scripts of Europe, Chinese and more; Pillow's has English alone.
"""

import math
import re
import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from ibca_lightning.data.pictures.drawing import IN_WORDS, Panel, fitted, heat_maps, line_width
from ibca_lightning.system.output import plain

_LINE, _LETTERS, _INDENT = 16, 13, 3  # pixels of text
_REGULAR = 400  # weight of letters
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
    strip = np.full((size * (2 + _LINE * count), width, 3), 255, np.uint8)
    font = cv2.FontFace("sans")
    for row, line in enumerate(lines):
        foot = (_INDENT * size, size * (1 + _LETTERS + _LINE * row))
        cv2.putText(strip, line, foot, (0, 0, 0), font, _LETTERS * size, _REGULAR)
    return strip


def _length(text: str, size: int) -> int:
    """Pixels from the left to the right of a text."""
    return cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace("sans"), _LETTERS * size, _REGULAR)[2]


def _wrapped(text: str, width: int, size: int) -> list[str]:
    """A text in lines of that width: broken behind a space, _, / or -, elsewhere only where a part alone is wider."""
    # A name in bytes that are no UTF-8 would end the process; letters and their accents apart are drawn apart.
    text = unicodedata.normalize("NFC", plain(text)).replace("\n", " ")
    lines, room = [""], width - 2 * _INDENT * size
    for part in re.split(r"(?<=[ _/-])", text):
        for piece in (part,) if _length(part.rstrip(), size) <= room else part:
            if lines[-1] and _length(f"{lines[-1]}{piece}".rstrip(), size) > room:
                lines.append("")
            lines[-1] += piece
    return lines
