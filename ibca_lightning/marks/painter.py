"""Draws on a picture the marks that it is to have."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.marks.canvas import Floats, Mark
from ibca_lightning.marks.kinds import KINDS
from ibca_lightning.marks.placing import SIZES, VISIBLE, Ground, find

Pixels = NDArray[np.uint8]
_BRIGHT = 165.0  # mean brightness of 255 at which a mark of the scene shows its colours as they are


@dataclass(frozen=True)
class Painter:
    """Paints the pictures of one split.

    Every class's mark is given its place, whether it is drawn or not: which are drawn moves nothing else.

    Attributes:
        kinds: Of each of the L classes.
        numbers: Of each class, what gives the random numbers of a picture's mark by the picture's name.
        shown: (N, L), which pictures have which marks.
    """

    kinds: tuple[str, ...]
    numbers: tuple[Callable[[str], np.random.Generator], ...]
    shown: NDArray[np.bool_]

    def paint(
        self, row: int, name: str, pixels: Pixels, lesion: NDArray[np.bool_] | None = None
    ) -> tuple[Pixels, NDArray[np.bool_]]:
        """Draw the marks of a row.

        Args:
            row: Of `shown`.
            name: The picture's.
            pixels: (S, S, C) uint8; not changed.
            lesion: (S, S), where no mark may lie.

        Returns:
            The picture, and the pixels of each class's mark, (L, S, S).
        """
        masks = np.zeros((len(self.kinds), *pixels.shape[:2]), bool)
        if not self.shown[row].any():
            return pixels, masks
        lesion = np.zeros(pixels.shape[:2], bool) if lesion is None else lesion
        painted, ground = pixels.copy(), Ground.of(pixels, lesion)
        for kind, numbers, shown, mask in zip(self.kinds, self.numbers, self.shown[row], masks, strict=True):
            draw_mark(kind, numbers(name), painted, ground, mask, shown)
        return painted, masks


def draw_mark(
    kind: str, rng: np.random.Generator, pixels: Pixels, ground: Ground, mask: NDArray[np.bool_], shown: bool = True
) -> None:
    """Give a mark its place on a picture and draw it there; smaller where there is no room, or not at all.

    Args:
        kind: One of `KINDS`.
        rng: Decides all else; a mark is a function of it, of the picture and its lesions.
        pixels: (S, S, C) uint8, painted on.
        ground: The picture, its lesions, and the places that are taken; written to.
        mask: (S, S), where the mark's pixels are set.
        shown: Whether to draw it, beside taking its place.
    """
    seeds = rng.integers(2**63, size=2)
    for size in SIZES:
        mark = KINDS[kind](np.random.default_rng(seeds[0]), size * len(pixels))
        place = find(mark, ground, np.random.default_rng(seeds[1]))
        if place is not None:
            if shown:
                turn, row, column = place
                lay(mark, np.rot90(pixels, turn), np.rot90(mask, turn), row, column)
            return


def random_numbers(seed: int, label: str, picture: str) -> np.random.Generator:
    """Return the random numbers of a picture's mark of a class."""
    digest = hashlib.blake2b(f"look/{seed}/{label}/{picture}".encode(errors="surrogateescape"), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def lay(mark: Mark, pixels: Pixels, mask: NDArray[np.bool_], row: int, column: int) -> None:
    """Blend a mark into a picture, its corner at a row and a column."""
    height, width = mark.alpha.shape
    part = pixels[row : row + height, column : column + width]
    visible = mark.alpha > VISIBLE
    alpha = np.where(visible, mark.alpha, 0)[..., None]
    below = part.astype(np.float32)
    rgb: Floats = np.asarray(mark.rgb, np.float32)
    if below.shape[2] != 3:  # as bright as its colour
        rgb = rgb.mean(axis=-1, keepdims=True)
    light = min(1.15, 0.5 + 0.5 * float(below.mean()) / _BRIGHT) if mark.lit else 1.0
    above = below * rgb / 255 if mark.tint else rgb * light
    part[:] = np.clip(below + alpha * (above - below) + 0.5, 0, 255).astype(np.uint8)
    mask[row : row + height, column : column + width] |= visible
