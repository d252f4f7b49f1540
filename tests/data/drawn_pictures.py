"""Draws the small pictures that the fake trees are made of."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def draw(path: Path, labels: Sequence[int], rng: np.random.Generator, shape: tuple[int, int] = (64, 80)) -> np.ndarray:
    """Write a noisy picture with a bright square for each positive label; return the bit mask of the squares."""
    height, width = shape
    image = rng.integers(40, 90, (height, width, 3), dtype=np.uint8)
    mask = np.zeros(shape, np.uint8)
    for bit, label in enumerate(labels):
        if label == 1:
            top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
            image[top : top + 8, left : left + 8] = (200, 80 + 10 * (bit % 16), 40)
            if bit < 8:
                mask[top : top + 8, left : left + 8] |= 1 << bit
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
    return mask
