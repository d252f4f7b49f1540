"""What is made once from the pictures of a set and kept beside them: how it is written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.storage import require_local
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.whole_files import whole


@contextmanager
def writable(what: str, folder: str, option: str) -> Iterator[None]:
    """Say in one line that a folder cannot be written to.

    Raises:
        InputError: Names the folder, and the option that sets another.
    """
    require_local(folder, f"a folder for {what}", f"set data.{option}")
    try:
        yield
    except OSError as error:
        raise InputError(
            f"a folder that {what} can be written to at {folder}",
            error.strerror or error,
            f"make room, or set data.{option}",
        ) from None


def write_picture(path: str, pixels: NDArray[np.uint8], quality: int = 95) -> None:
    """Write a picture, whole or not at all.

    Args:
        path: The file, .png or .jpg.
        pixels: (H, W, 3) uint8 RGB, or (H, W) uint8.
        quality: Of a JPEG, to 100.

    Raises:
        OSError: If it cannot be written.
    """
    pixels = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.endswith(".jpg") else []
    with whole(path) as part:
        part.write_bytes(cv2.imencode(os.path.splitext(path)[1], pixels, options)[1].tobytes())
