"""Lesion masks as bit planes: eight masks in a byte, shrunk so that the smallest lesion survives."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.data.pictures.header import kind_of
from ibca_lightning.data.pictures.reading import decode_bytes, read_bytes
from ibca_lightning.data.storage import exists, is_remote
from ibca_lightning.system.errors import PictureError

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class MaskFolder:
    """Where the masks of a data set lie, and which bit marks which label.

    Attributes:
        path: The folder.
        bits: For each of the L labels its bit, 0 to 7, or None where the masks do not show it.
        optional: Whether a picture may be without a mask, which is then empty.
    """

    path: str
    bits: tuple[int | None, ...]
    optional: bool = False

    def file(self, name: str) -> str | None:
        """Return the mask of a picture; None where it has none, and may."""
        return mask_of(name, self.path) if self.optional else os.path.join(self.path, mask_name(name))

    def select(self, bits: Bits) -> Tensor:
        """Return the masks of the labels, (L, H, W) bool, of one bit plane (H, W); empty where a label has no bit."""
        lesions = unpack([bits], 8)
        nothing = torch.zeros_like(lesions[0])
        return torch.stack([nothing if bit is None else lesions[bit] for bit in self.bits])


def mask_name(name: str) -> str:
    """Return the path of a picture's mask relative to the mask folder: same stem, `.png`."""
    return os.path.splitext(name)[0] + ".png"


def mask_of(name: str, folder: str | None) -> str | None:
    """Return the mask of a picture in a folder; None where there is none, or no folder."""
    path = None if folder is None else os.path.join(folder, mask_name(name))
    return path if path is not None and (exists(path) if is_remote(path) else os.path.lexists(path)) else None


def read_mask(path: str, data: Bits | None = None) -> Bits:
    """Read a mask (H, W): an 8-bit PNG of one channel whose bit i marks label i; with `data` the path is but a name.

    A PNG of 1 bit, black and white, marks label 0 alone. Of 2 and 4 bits OpenCV would make other values.

    Raises:
        PictureError: If it cannot be read, or is no PNG, or another.
    """
    data = read_bytes(path) if data is None else data
    mask = decode_bytes(data, path, cv2.IMREAD_UNCHANGED)
    if (kind := kind_of(data.data)) != "PNG":  # others may be lossy, and a bit is lost or found
        raise PictureError(f"a mask as a PNG of 8 bits at {path}", f"a {kind} file", "write it again as PNG")
    depth, colours = data[24:26].tolist()
    if depth < 8 and colours == 0:
        if depth > 1:
            fix = "write it with 8 bits a pixel"
            raise PictureError(f"a mask as a PNG of 8 bits at {path}", f"one of {depth}", fix)
        mask = mask & 1
    if mask.ndim != 2 or mask.dtype != np.uint8:
        channels = 1 if mask.ndim == 2 else mask.shape[2]
        fix = "write the sum of 2**i over the labels i of each pixel, as one gray channel"
        raise PictureError(f"a mask of one 8-bit channel at {path}", f"{channels} channels of {mask.dtype}", fix)
    return mask.astype(np.uint8, copy=False)


def resize_bits(bits: Bits, height: int, width: int) -> Bits:
    """Resize bit planes: where they shrink, a bit is set if any pixel that falls there has it; else the nearest.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.data.pictures.masks import resize_bits
        >>> mask = np.array([[0, 0], [0, 1]], dtype=np.uint8)  # the one pixel of the lesion is still there
        >>> resize_bits(mask, 1, 1).tolist()
        [[1]]
    """
    for axis, size in ((0, height), (1, width)):
        length = bits.shape[axis]
        if length > size:
            bits = np.bitwise_or.reduceat(bits, np.arange(size) * length // size, axis=axis)
        elif length < size:
            bits = np.take(bits, (np.arange(size) * 2 + 1) * length // (2 * size), axis=axis)
    return bits


def pack(masks: NDArray[np.bool_]) -> list[Bits]:
    """Pack masks (K, H, W) bool, eight to a plane.

    Returns:
        ceil(K / 8) planes (H, W) uint8, bit i % 8 of plane i // 8 for mask i.
    """
    planes = []
    for at in range(0, len(masks), 8):
        shifted = [mask.astype(np.uint8) << np.uint8(bit) for bit, mask in enumerate(masks[at : at + 8])]
        planes.append(np.bitwise_or.reduce(shifted))
    return planes


def unpack(planes: Sequence[Bits], count: int) -> Tensor:
    """Undo `pack`: (K, H, W) bool of `count` K; further planes and bits are ignored, too few are a ValueError."""
    if len(planes) < math.ceil(count / 8):
        raise ValueError(f"expected {math.ceil(count / 8)} planes for {count} masks, got {len(planes)}")
    bits = torch.from_numpy(np.stack(planes))
    return torch.stack([bits[i // 8].bitwise_right_shift(i % 8).bitwise_and(1).bool() for i in range(count)])
