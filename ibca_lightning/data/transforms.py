"""From the pixels of a file to the square uint8 tensor of a batch: resizing, then augmentation where asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import cv2
import numpy as np
import torch
from torch import Tensor

from ibca_lightning.data.masks import Bits, resize_bits
from ibca_lightning.data.reading import Pixels
from ibca_lightning.errors import InputError

if TYPE_CHECKING:  # albumentations takes seconds to import, and evaluation does not need it
    from ibca_lightning.data.augmentation import Augment

Resize = Literal["stretch", "pad"]


class Augmentation(Protocol):
    """Changes a picture and its masks alike."""

    def __call__(self, image: Pixels, masks: list[Bits]) -> tuple[Pixels, list[Bits]]:
        """Take and return (S, S, 3) uint8 and a list of (S, S) uint8 bit planes."""
        ...


class Transform:
    """Resize a picture with its masks to S x S, augment them if told to, and make the picture a tensor.

    Args:
        image_size: S.
        resize: `stretch` to the square, or keep the proportions and `pad` with black, the picture in the middle.
        augmentation: What follows; None for evaluation.
    """

    def __init__(self, image_size: int, resize: Resize, augmentation: Augmentation | None = None) -> None:
        self.image_size, self.resize, self.augmentation = image_size, resize, augmentation

    def __call__(self, image: Pixels, masks: Sequence[Bits] = ()) -> tuple[Tensor, list[Bits]]:
        """Transform a picture and its masks together.

        Args:
            image: (H, W, 3) uint8 RGB, of any size.
            masks: Bit planes (h, w) uint8 (see `masks.pack`), each of the picture's proportions.

        Returns:
            The picture (3, S, S) uint8; the masks (S, S) uint8.
        """
        size = self.image_size
        height = width = size
        if self.resize == "pad":
            longest = max(image.shape[:2])
            height, width = (max(1, round(side * size / longest)) for side in image.shape[:2])
        pixels = _resize_pixels(image, height, width)
        planes = [resize_bits(mask, height, width) for mask in masks]
        if (height, width) != (size, size):
            pixels, planes = _pad(pixels, size), [_pad(plane, size) for plane in planes]
        if self.augmentation is not None:
            pixels, planes = self.augmentation(pixels, planes)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))), planes


def evaluation_transform(image_size: int, preprocessing: Mapping[str, Any]) -> Transform:
    """Return the transform of validation, test and prediction.

    Args:
        image_size: S.
        preprocessing: What a data module keeps in its `preprocessing`: `{"resize": "stretch" | "pad"}`.

    Returns:
        The transform.

    Raises:
        InputError: If the preprocessing is not understood.
    """
    return Transform(image_size, _resize_of(preprocessing))


def training_transform(image_size: int, augment: Augment, preprocessing: Mapping[str, Any], rank: int = 0) -> Transform:
    """Return the transform of training.

    Args:
        image_size: S.
        augment: `none`, `default`, or a list of albumentations transforms (see `augmentation.Augmenter`).
        preprocessing: As for evaluation; augmentation comes after the same resizing.
        rank: Of this process, so that processes which hold the same seed draw differently.

    Returns:
        The transform.

    Raises:
        InputError: If an argument is not understood.
    """
    if augment == "none":
        return evaluation_transform(image_size, preprocessing)
    from ibca_lightning.data.augmentation import Augmenter

    return Transform(image_size, _resize_of(preprocessing), Augmenter(augment, rank))


def _resize_of(preprocessing: Mapping[str, Any]) -> Resize:
    resize = preprocessing.get("resize")
    unknown = set(preprocessing) - {"resize"}
    if unknown or resize not in get_args(Resize):
        raise InputError(
            "preprocessing with resize: stretch or pad", dict(preprocessing), "use the version that wrote it"
        )
    return "pad" if resize == "pad" else "stretch"


def _resize_pixels(image: Pixels, height: int, width: int) -> Pixels:
    factor = max(image.shape[0] / height, image.shape[1] / width)
    if factor == 1 and image.shape[:2] == (height, width):
        return image
    # Linear reads two pixels a side: beyond a factor of 2 it skips pixels and aliases, and area averaging is worth its
    # time. JPEG comes here already reduced.
    method = cv2.INTER_AREA if factor >= 2 else cv2.INTER_LINEAR
    resized: Pixels = cv2.resize(image, (width, height), interpolation=method).astype(np.uint8, copy=False)
    return resized


def _pad(pixels: Pixels, size: int) -> Pixels:
    height, width = pixels.shape[:2]
    top, left = (size - height) // 2, (size - width) // 2
    canvas = np.zeros((size, size, *pixels.shape[2:]), dtype=np.uint8)
    canvas[top : top + height, left : left + width] = pixels
    return canvas
