"""The one rule by which pictures of any bit depth land on 0-255."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.system.errors import PictureError

DEPTHS = (8, 10, 12, 14, 16)


def eight_bit(pixels: NDArray[Any], path: str) -> NDArray[np.uint8]:
    """Bring whole numbers of up to 16 bits to 8 bits, by the depth the picture uses.

    That is the smallest of 8, 10, 12, 14 and 16 bits which holds the picture's largest value, and of it the upper 8
    bits are kept. Files of 16 bits rarely say how many of them are used; a radiograph of 12 bits divided by 256 would
    be black, while stretching each picture between its own least and largest value would show a pale picture and a
    strong one alike. Between the depths nothing is stretched, so pictures of one device keep their brightness.
    Pictures of 8 bits (uint8) stay as they are, True of bool becomes 255.

    Raises:
        PictureError: If the numbers are of another type: where white is in a floating-point picture is anybody's guess.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.data.pictures.bit_depth import eight_bit
        >>> eight_bit(np.array([0, 2048, 4095], dtype=np.uint16), "a.png").tolist()  # 12 bits in a file of 16
        [0, 128, 255]
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype != np.uint16:
        fix = "convert the picture to whole numbers of 8 or 16 bits"
        raise PictureError(f"8 or 16 bits a channel at {path}", pixels.dtype, fix)
    used = int(pixels.max(initial=0)).bit_length()
    depth = next(bits for bits in DEPTHS if used <= bits)
    return (pixels >> (depth - 8)).astype(np.uint8)
