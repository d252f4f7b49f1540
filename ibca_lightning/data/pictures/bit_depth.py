"""The one rule by which pictures of any bit depth land on 0-255."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.system.errors import PictureError

BitDepth = Literal["each", 8, 10, 12, 14, 16]  # `each` picture by what it uses
DEPTHS = (8, 10, 12, 14, 16)
_STRIP = 2**20  # numbers that are turned at once
_BEYOND = 1e-3  # by how much shares of white may miss 0 and 1, as those of a scaling that was rounded do
_FEW = 16  # values that no picture of whole numbers has so few of


@dataclass(frozen=True)
class Stored:
    """Numbers as a file has them.

    Attributes:
        pixels: (H, W) or (H, W, 3), of any number type.
        inverted: Whether 0 is white.
        background: (H, W) bool, what is drawn black because the file says that it is no picture.
    """

    pixels: NDArray[Any]
    inverted: bool = False
    background: NDArray[np.bool_] | None = None

    def depth(self, path: str) -> int | None:
        """The smallest of `DEPTHS` that holds the largest value; None where the numbers say where white is."""
        largest = _whole(self.pixels, path)(self.pixels.max(initial=0, keepdims=True))
        used = int(largest.max()).bit_length()
        return None if largest.dtype == np.uint8 else next(bits for bits in DEPTHS if used <= bits)

    def rgb(self, path: str, depth: int | None = None) -> NDArray[np.uint8]:
        """Bring the picture to (H, W, 3) of 8 bits, as `eight_bit`."""
        shown = eight_bit(self.pixels, path, depth)
        shown = 255 - shown if self.inverted else shown
        if self.background is not None:
            shown = np.where(self.background if shown.ndim == 2 else self.background[..., None], np.uint8(0), shown)
        return np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown


def eight_bit(pixels: NDArray[Any], path: str, depth: int | None = None) -> NDArray[np.uint8]:
    """Bring numbers of up to 16 bits to 8 bits: the upper 8 of `depth` bits, and white beyond it.

    Without a depth it is the smallest of 8, 10, 12, 14 and 16 bits which holds the picture's largest value. Files of 16
    bits rarely say how many of them are used; a radiograph of 12 bits divided by 256 would be black, while stretching
    each picture between its own least and largest value would show a pale picture and a strong one alike. A data set is
    read by one depth (`data.bit_depth`): pictures of one device whose largest values lie round 4095 would otherwise
    jump fourfold in brightness. Pictures of 8 bits (uint8) stay as they are, True of bool becomes 255. Wider and
    floating-point numbers are taken as whole ones where they lie in the range of 16 bits. Fractions from 0.0 to 1.0 are
    shares of white, whatever depth is given; 0.0 and 1.0 alone are, unless one is.

    Raises:
        PictureError: If the numbers are of another type or range, or fractions that nobody knows the scale of: some
            above 1.0, none above 16.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.data.pictures.bit_depth import eight_bit
        >>> eight_bit(np.array([0, 2048, 4095], dtype=np.uint16), "a.png").tolist()  # 12 bits in a file of 16
        [0, 128, 255]
        >>> eight_bit(np.array([0, 1023, 4096], dtype=np.uint16), "a.png", 12).tolist()
        [0, 63, 255]
    """
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    whole, bits = _whole(pixels, path, depth is not None), depth or Stored(pixels).depth(path) or 8

    def upper(some: NDArray[Any]) -> NDArray[Any]:
        some = whole(some)
        return some if some.dtype == np.uint8 else (np.minimum(some, 2**bits - 1) >> (bits - 8)).astype(np.uint8)

    return in_strips(pixels, upper)


def in_strips(pixels: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """Turn the numbers of a picture, each by itself, some rows at a time: what lies between takes no memory."""
    step = max(_STRIP // max(pixels[:1].size, 1), 1)
    first = function(pixels[:step])
    turned = np.empty((len(pixels), *first.shape[1:]), first.dtype)
    turned[:step] = first
    for at in range(step, len(pixels), step):
        turned[at : at + step] = function(pixels[at : at + step])
    return turned


def _whole(pixels: NDArray[Any], path: str, known: bool = False) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """What makes uint8 of some of the numbers, where white is 255, or uint16; whether the depth of those is known."""
    if pixels.dtype in (np.uint8, np.uint16):
        return lambda some: some
    if pixels.dtype == np.bool_:
        return lambda some: some.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind in "iuf" and pixels.size:
        least, largest = float(pixels.min()), float(pixels.max())
        fractions = pixels.dtype.kind == "f" and largest < _FEW and any((row != row.round()).any() for row in pixels)
        if -_BEYOND <= least <= largest <= 1 + _BEYOND and (fractions or (not known and pixels.dtype.kind == "f")):
            return lambda some: (some.clip(0, 1) * 255).round().astype(np.uint8)
        if 0 <= least <= largest < 2**16 - 0.5 and not fractions:  # False of NaN
            return lambda some: some.round().astype(np.uint16)
        got = f"{'fractions of ' * (fractions and least >= 0)}{pixels.dtype} from {least:g} to {largest:g}"
    else:
        got = str(pixels.dtype)
    raise PictureError(
        f"numbers from 0 to 65535, or from 0.0 to 1.0, at {path}",
        got,
        "scale it to one of these, or write it with 8 or 16 bits",
    )
