"""Augmentation by a list of transforms. The only file that knows albumentations, so that it can be replaced."""

import os
import random
from typing import Literal

import numpy as np
import torch

from ibca_lightning.data.pictures.masks import Bits
from ibca_lightning.data.pictures.reading import Pixels
from ibca_lightning.system.errors import InputError

# Importing it would otherwise ask a package index for news, and wait for it when off line.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A
from albumentations import BaseCompose, BasicTransform

# BaseCompose stands in the annotation because it alone lets YAML name OneOf and its like by class_path.
Augment = Literal["none", "default"] | list[BasicTransform | BaseCompose]


class Augmenter:
    """Draw a new augmentation for every picture from transforms of albumentations.

    albumentations keeps random numbers of its own, which every worker process inherits alike and repeats every epoch.
    So it is reseeded for each picture from torch's generator, which the loader seeds by `seed_everything`, epoch and
    place in the epoch.

    Args:
        augment: The transforms. They get (S, S, C) uint8 and must return the same: no Normalize, no ToTensorV2, no crop
            to another size.

    Raises:
        InputError: If `augment` is something else.
    """

    def __init__(self, augment: Augment) -> None:
        if not (isinstance(augment, list) and all(isinstance(t, BasicTransform | BaseCompose) for t in augment)):
            expected = "augment: none, default or a list of albumentations transforms"
            raise InputError(expected, repr(augment), "correct data.augment")
        self._pipeline = A.Compose(augment)

    def __call__(self, image: Pixels, masks: list[Bits]) -> tuple[Pixels, list[Bits]]:
        """Augment a picture and its masks alike, as `DefaultAugmenter` does.

        Raises:
            InputError: If the transforms changed size or type.
        """
        seed = int(torch.randint(2**31 - 1, ()))
        # Not set_random_seed, which seeds every transform alike: all flips, turns and shades would then come together
        # or not at all. One pair of generators for all of them makes their draws independent.
        self._pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        image = np.require(image, requirements="W")  # what a cache holds is read-only, and a transform may write
        try:
            result = self._pipeline(image=image, masks=masks) if masks else self._pipeline(image=image)
        except Exception as error:  # of albumentations and OpenCV: every transform has its own way to refuse
            if image.shape[2] == 3:
                raise
            reason, fix = str(error).splitlines()[0], "leave those of colour out of data.augment"
            raise InputError(f"augmentations that take {image.shape[2]} channels", reason, fix) from error
        pixels = result["image"]
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != image.shape:
            kind = f"{type(pixels).__name__} {tuple(pixels.shape)} {pixels.dtype}"
            fix = "crop to data.image_size, and leave Normalize and ToTensorV2 out of data.augment"
            raise InputError(f"augmented pictures of shape {image.shape} and type uint8", kind, fix)
        return pixels, list(result["masks"]) if masks else []
