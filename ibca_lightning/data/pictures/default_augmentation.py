"""The default augmentation, with OpenCV alone: cheap enough for pictures that come out of a cache."""

import math
import random

import cv2
import numpy as np
import torch

from ibca_lightning.data.pictures.channels import in_parts
from ibca_lightning.data.pictures.masks import Bits
from ibca_lightning.data.pictures.reading import Pixels

_TURN, _SCALE, _SHIFT, _SHADE = 15.0, 0.1, 0.05, 0.2


class DefaultAugmenter:
    """Flips, small movements, light; for pictures without a natural up or left (fundus, endoscopy, skin).

    Flips in both directions (each p=0.5), turning by up to 15 degrees, scaling by 0.9 to 1.1 and shifting by up to 5 %,
    the three as one (p=0.5, black outside), brightness and contrast by up to 20 % (p=0.5). Where up and left mean
    something, as in a chest radiograph, pass a list without the flips. Cropping and hue are left out: the one may cut a
    lesion off, the other is dear. What each costs is printed by `python -m tests.bench.data`: of a 384 px picture on
    one core, moving takes about half a millisecond, light and flips less than a tenth.

    Random numbers come from torch's generator, which the loader seeds by `seed_everything`, epoch and place in the
    epoch.
    """

    def __init__(self) -> None:
        self._scratch: tuple[Pixels, Pixels] | None = None  # new memory for each picture costs as much as a flip

    def __call__(self, image: Pixels, masks: list[Bits]) -> tuple[Pixels, list[Bits]]:
        """Augment a picture and its masks alike.

        Args:
            image: (H, W, C) uint8; not changed.
            masks: (H, W) uint8 each; looked up at the nearest pixel, because their bits cannot be averaged.

        Returns:
            The same shapes and types.
        """
        draw = random.Random(int(torch.randint(2**31 - 1, ())))
        sideways, upside_down = draw.random() < 0.5, draw.random() < 0.5
        own = True  # whether the picture is a new one, and may be written to
        if draw.random() < 0.5:
            # The flips go into the matrix, and so cost nothing.
            height, width = image.shape[:2]
            matrix = _movement(draw, height, width) @ _flip(height, width, sideways, upside_down)
            image = self._moved(image, matrix)
            masks = [_bytes(cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST)) for mask in masks]
        elif sideways or upside_down:
            code = -1 if sideways and upside_down else int(sideways)
            image = in_parts(image, lambda part: cv2.flip(part, code))
            masks = [_bytes(cv2.flip(mask, code)) for mask in masks]
        else:
            own = False
        if draw.random() < 0.5:
            contrast, brightness = (1 + draw.uniform(-_SHADE, _SHADE) for _ in range(2))
            # Contrast turns about the middle of the scale, brightness adds a share of it; clipped to 0-255.
            offset = 127.5 * (1 - contrast) + 255 * (brightness - 1)
            shaded = cv2.addWeighted(image, contrast, image, 0.0, offset, image if own else None)
            image = _bytes(shaded).reshape(image.shape)  # OpenCV drops an axis of one
        return image, masks

    def _moved(self, image: Pixels, matrix: np.ndarray) -> Pixels:
        if image.shape[2] != 3:
            return in_parts(image, lambda part: cv2.warpAffine(part, matrix, image.shape[1::-1]))
        # With a fourth channel: OpenCV's loop over four is faster than over three, by more than adding and dropping it.
        shape = (*image.shape[:2], 4)
        if self._scratch is None or self._scratch[0].shape != shape:
            self._scratch = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        four, moved = self._scratch
        cv2.cvtColor(image, cv2.COLOR_RGB2RGBA, four)
        cv2.warpAffine(four, matrix, image.shape[1::-1], moved)
        return _bytes(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB))


def _movement(draw: random.Random, height: int, width: int) -> np.ndarray:
    """Draw a turn, scale and shift about the centre of a picture, as a (2, 3) matrix."""
    angle = math.radians(draw.uniform(-_TURN, _TURN))
    scale = 1 + draw.uniform(-_SCALE, _SCALE)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    shift_x, shift_y = (side * draw.uniform(-_SHIFT, _SHIFT) for side in (width, height))
    return np.array(
        [
            [cosine, sine, x + shift_x - cosine * x - sine * y],
            [-sine, cosine, y + shift_y + sine * x - cosine * y],
        ]
    )


def _flip(height: int, width: int, sideways: bool, upside_down: bool) -> np.ndarray:
    """Return the flips of a picture as a (3, 3) matrix."""
    x, y = (-1.0, width - 1.0) if sideways else (1.0, 0.0), (-1.0, height - 1.0) if upside_down else (1.0, 0.0)
    return np.array([[x[0], 0.0, x[1]], [0.0, y[0], y[1]], [0.0, 0.0, 1.0]])


def _bytes(pixels: np.ndarray) -> Pixels:
    return pixels.astype(np.uint8, copy=False)
