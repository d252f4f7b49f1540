"""From the pixels of a file to the square uint8 tensor of a batch: resizing, then augmentation where asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.data.pictures.bit_depth import DEPTHS
from ibca_lightning.data.pictures.channels import in_parts, wrong
from ibca_lightning.data.pictures.default_augmentation import DefaultAugmenter
from ibca_lightning.data.pictures.field_of_view import Box, bounds, cut, field_of_view
from ibca_lightning.data.pictures.masks import Bits, pack, resize_bits, unpack
from ibca_lightning.data.pictures.reading import PictureFile, Pixels
from ibca_lightning.marks.noise import draw_noise
from ibca_lightning.system.errors import InputError

if TYPE_CHECKING:  # albumentations takes seconds to import, and evaluation does not need it
    from ibca_lightning.data.pictures.augmentation import Augment

Resize = Literal["stretch", "pad"]
Crop = Literal["none", "field_of_view"]
# Changes a picture (S, S, 3) uint8 and its bit planes (S, S) uint8 alike.
Augmentation = Callable[[Pixels, list[Bits]], tuple[Pixels, list[Bits]]]


class Transform:
    """Crop and resize a picture with its masks to S x S, augment them if told to, and make the picture a tensor.

    Args:
        image_size: S.
        resize: `stretch` to the square, or keep the proportions and `pad` with black, the picture in the middle.
        augmentation: What follows; None for evaluation.
        crop: `field_of_view` cuts the box round the lit disc out first, where there is one.
        bit_depth: Of pictures whose files do not say how many of 16 bits they use; None takes what each uses.
        channels: C of the pictures.

    Attributes:
        drawn_noise: Probability that noise is drawn on a picture before it is augmented; training sets it.
    """

    drawn_noise = 0.0

    def __init__(
        self, image_size: int, resize: Resize, augmentation: Augmentation | None = None, crop: Crop = "none",
        bit_depth: int | None = None, channels: int = 3,
    ) -> None:  # fmt: skip
        self.channels = channels
        self.image_size, self.resize, self.augmentation, self.crop = image_size, resize, augmentation, crop
        self.bit_depth = bit_depth

    def __call__(self, image: Pixels, masks: Sequence[Bits] = ()) -> tuple[Tensor, list[Bits]]:
        """Transform a picture and its masks together: `prepare`, then `finish`.

        Args:
            image: (H, W, C) uint8, RGB where C is 3, of any size.
            masks: Bit planes (h, w) uint8 (see `masks.pack`), each of the picture's proportions.

        Returns:
            The picture (C, S, S) uint8; the masks (S, S) uint8.
        """
        return self.finish(*self.prepare(image, masks))

    def read(self, source: str | PictureFile) -> Pixels:
        """Read a picture, from its path or a file that others read too, in as many pixels as `prepare` needs.

        Raises:
            InputError: As `reading.read_image`.
        """
        file = PictureFile(source) if isinstance(source, str) else source
        pixels = file.channels(self.channels, self.image_size, self.bit_depth)
        if self.crop == "field_of_view" and file.reduction(self.image_size) > 1:
            box = field_of_view(pixels)
            side = min(cut(pixels, box).shape[:2]) if box else self.image_size
            if side < self.image_size:  # what is left was decoded too small
                size = -(-self.image_size * min(pixels.shape[:2]) // side)
                pixels = file.channels(self.channels, size, self.bit_depth)
        return pixels

    def prepare(self, image: Pixels, masks: Sequence[Bits] = ()) -> tuple[Pixels, list[Bits]]:
        """Do what is alike every time, and can be kept: crop and resize to (S, S, C) and (S, S) uint8.

        Raises:
            PictureError: If the picture has another number of channels.
        """
        size = self.image_size
        if image.shape[2] != self.channels:  # of data that are not read from files
            raise wrong("this row", self.channels, image.shape[2])
        box = self._crop_box(image)
        if box is not None:
            image, masks = cut(image, box), [cut(mask, box) for mask in masks]
        height, width = self._inner_size(*image.shape[:2])
        pixels = _resize_pixels(image, height, width)
        planes = [resize_bits(mask, height, width) for mask in masks]
        if (height, width) != (size, size):
            pixels, planes = _pad(pixels, size), [_pad(plane, size) for plane in planes]
        return pixels, planes

    def placement(self, image: Pixels) -> Box:
        """Say where the S x S square that `prepare` returns lies on the picture.

        Returns:
            Top, left, bottom and right of the square in fractions of the picture's height and width; inside of the
            picture where it was cropped, beyond its edges where it was padded.
        """
        height, width = image.shape[:2]
        top, left, bottom, right = bounds(image, self._crop_box(image) or (0.0, 0.0, 1.0, 1.0))
        spans = []
        for start, stop, inner, whole in zip(
            (top, left), (bottom, right), self._inner_size(bottom - top, right - left), (height, width), strict=True
        ):
            step = (stop - start) / inner  # of a row or column of the square, in pixels of the picture
            first = start - step * ((self.image_size - inner) // 2)
            spans.append((first / whole, (first + step * self.image_size) / whole))
        return spans[0][0], spans[1][0], spans[0][1], spans[1][1]

    def _crop_box(self, image: Pixels) -> Box | None:
        return field_of_view(image) if self.crop == "field_of_view" else None

    def _inner_size(self, height: int, width: int) -> tuple[int, int]:
        """Of the picture inside the square."""
        size = self.image_size
        if self.resize == "stretch":
            return size, size
        longest = max(height, width)
        return max(1, round(height * size / longest)), max(1, round(width * size / longest))

    def finish(self, pixels: Pixels, planes: list[Bits]) -> tuple[Tensor, list[Bits]]:
        """Augment what `prepare` returned, and make the picture a tensor; what comes in is not changed.

        Where noise is drawn, a plane more comes back: see `drawn_mask`.
        """
        if self.drawn_noise:
            pixels, drawn = self._with_noise(pixels)
            planes = [*planes, *pack(drawn[None])]
        if self.augmentation is not None:
            pixels, planes = self.augmentation(pixels, planes)
        channels = np.empty((pixels.shape[2], *pixels.shape[:2]), dtype=np.uint8)
        cv2.split(pixels, list(channels))  # six times faster than transposing and copying
        return torch.from_numpy(channels), planes

    def drawn_mask(self, planes: Sequence[Bits]) -> dict[str, Tensor]:
        """Return for the item of a batch, of the planes from `finish`, where noise was drawn: bool (1, S, S)."""
        return {"drawn_mask": unpack(planes[-1:], 1)} if self.drawn_noise else {}

    def _with_noise(self, pixels: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
        rng = np.random.default_rng(int(torch.randint(2**63 - 1, ())))  # torch's generator, as in augmentation
        if rng.random() < self.drawn_noise:
            return draw_noise(pixels, rng)
        return pixels, np.zeros(pixels.shape[:2], bool)


def evaluation_transform(image_size: int, preprocessing: Mapping[str, Any]) -> Transform:
    """Return the transform of validation, test and prediction.

    Args:
        image_size: S.
        preprocessing: What a data module keeps in its `preprocessing`: `{"resize": "stretch" | "pad"}`, and `"crop":
            "field_of_view"`, `"bit_depth": "12"`, `"in_channels": "5"` and `"pair": "yes"` where there are such.

    Raises:
        InputError: If the preprocessing is not understood.
    """
    resize: Any = preprocessing.get("resize")
    crop: Any = preprocessing.get("crop", "none")
    depth = preprocessing.get("bit_depth")
    channels: Any = str(preprocessing.get("in_channels", "3"))
    unknown = set(preprocessing) - {"resize", "crop", "bit_depth", "in_channels", "pair"} or not channels.isdecimal()
    known = resize in get_args(Resize) and crop in get_args(Crop) and depth in (None, *map(str, DEPTHS))
    if unknown or not known or preprocessing.get("pair", "yes") != "yes":
        expected = (
            "preprocessing with resize: stretch or pad, crop: none or field_of_view, bit_depth: 8 to 16, pair: yes"
        )
        ours = "give it to MultiLabelModule.load_from_checkpoint(CKPT, preprocessing=data.preprocessing), and save that"
        raise InputError(expected, dict(preprocessing), "use the version that wrote it" if preprocessing else ours)
    depth = None if depth is None else int(depth)
    return Transform(image_size, resize, crop=crop, bit_depth=depth, channels=int(channels))


def training_transform(
    image_size: int, augment: Augment, preprocessing: Mapping[str, Any], drawn_noise: float = 0.0
) -> Transform:  # fmt: skip
    """Return the transform of training: that of evaluation, then noise and augmentation.

    Args:
        image_size: S.
        augment: `none`, `default` (see `DefaultAugmenter`), or a list of albumentations transforms (see
            `augmentation.Augmenter`).
        preprocessing: As for evaluation.
        drawn_noise: Probability that noise is drawn on a picture.

    Raises:
        InputError: If an argument is not understood.
    """
    transform = evaluation_transform(image_size, preprocessing)
    transform.drawn_noise = drawn_noise
    if augment == "default":
        transform.augmentation = DefaultAugmenter()
    elif augment != "none":
        from ibca_lightning.data.pictures.augmentation import Augmenter

        transform.augmentation = Augmenter(augment)
    if transform.augmentation is not None and "pair" in preprocessing:
        transform.augmentation = partial(_by_halves, transform.augmentation)
    return transform


def _by_halves(augmentation: Augmentation, image: Pixels, masks: list[Bits]) -> tuple[Pixels, list[Bits]]:
    """Augment both pictures of a pair alike, each on its side: a flip of the whole would swap them."""
    middle, state = image.shape[1] // 2, torch.get_rng_state()
    halves = []
    for side in (slice(None, middle), slice(middle, None)):
        torch.set_rng_state(state)
        part = np.ascontiguousarray(image[:, side])
        halves.append(augmentation(part, [np.ascontiguousarray(mask[:, side]) for mask in masks]))
    (left, left_masks), (right, right_masks) = halves
    return np.hstack([left, right]), [np.hstack(pair) for pair in zip(left_masks, right_masks, strict=True)]


def _resize_pixels(image: Pixels, height: int, width: int) -> Pixels:
    factor = max(image.shape[0] / height, image.shape[1] / width)
    if factor == 1 and image.shape[:2] == (height, width):
        return image
    # Linear reads two pixels a side: beyond a factor of 2 it skips pixels and aliases, and area averaging is worth its
    # time. JPEG comes here already reduced.
    method = cv2.INTER_AREA if factor >= 2 else cv2.INTER_LINEAR
    return in_parts(image, lambda part: cv2.resize(part, (width, height), interpolation=method))


def _pad(pixels: Pixels, size: int) -> Pixels:
    height, width = pixels.shape[:2]
    top, left = (size - height) // 2, (size - width) // 2
    canvas = np.zeros((size, size, *pixels.shape[2:]), dtype=np.uint8)
    canvas[top : top + height, left : left + width] = pixels
    return canvas
