"""The healthy scene behind every synthetic picture: a lit, folded, vascular mucosa."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

# Albedos of mucosa (RGB, 0-1) between which a picture's own colour is mixed: pale, pink, orange, congested.
_TISSUES = np.array([[0.88, 0.66, 0.56], [0.84, 0.48, 0.42], [0.86, 0.50, 0.30], [0.66, 0.30, 0.24]], np.float32)
_BLOOD = np.array([0.74, 0.42, 0.44], np.float32)  # what a vessel lets through, per colour


class Scene(NamedTuple):
    """A scene without lesions.

    Attributes:
        albedo: (S, S, 3) float32, colour of the tissue in 0-1.
        light: (S, S) float32, illumination that multiplies the albedo, about 0.2-1.2, black in the scope's corners.
        lamp: (y, x) in pixels where the light falls brightest.
    """

    albedo: Floats
    light: Floats
    lamp: tuple[float, float]


def draw_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw a mucosa of S = `size` pixels with its own colour, folds, vessels and light."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    tissue = rng.dirichlet(np.full(len(_TISSUES), 0.7)).astype(np.float32) @ _TISSUES
    albedo = tissue * (1 + _clouds(rng, size, cells=4, channels=3, amplitude=0.035))
    albedo *= 1 + _clouds(rng, size, cells=9, channels=1, amplitude=0.06)
    vessels = _vessels(rng, size)
    albedo *= 1 + vessels[..., None] * ((_BLOOD - 1) * np.float32(rng.uniform(0.4, 1.0)))

    lamp_y, lamp_x = rng.uniform(-0.35, 0.35, 2)
    falloff = rng.uniform(0.25, 0.75)
    distance = (x - lamp_x) ** 2 + (y - lamp_y) ** 2
    light = np.exp(-falloff * distance) * rng.uniform(0.62, 1.12) * _folds(rng, x, y)
    if rng.random() < 0.35:  # the lumen, a dark mouth far from the lamp
        angle, spread = rng.uniform(0, 2 * math.pi), rng.uniform(0.06, 0.2)
        lumen = (x - 0.75 * math.cos(angle)) ** 2 + (y - 0.75 * math.sin(angle)) ** 2
        light *= 1 - rng.uniform(0.3, 0.6) * np.exp(-lumen / spread)
    corner = rng.uniform(1.15, 1.6)  # where the round tube of the scope cuts the square picture
    light *= np.clip((corner - (x**4 + y**4)) * 6, 0.03, 1)
    return Scene(albedo, light, ((lamp_y + 1) * size / 2, (lamp_x + 1) * size / 2))


def _clouds(rng: np.random.Generator, size: int, *, cells: int, channels: int, amplitude: float) -> Floats:
    """(S, S, channels) smooth random field of the given standard deviation."""
    coarse = rng.standard_normal((cells, cells, channels), np.float32) * np.float32(amplitude)
    fine = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)
    return fine.reshape(size, size, channels)


def _folds(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """(S, S) shading of curved folds: bright on the crest, dark in the furrow behind it."""
    angle, bend = rng.uniform(0, 2 * math.pi), rng.uniform(-0.5, 0.5)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    phase = rng.uniform(2, 6) * (across + bend * along * along) + rng.uniform(0, 2 * math.pi)
    crest = np.sin(phase + 0.7 * np.sin(phase))  # steeper on one side than on the other
    folds: Floats = 1 + np.float32(rng.uniform(0.03, 0.24)) * crest
    return folds


def _vessels(rng: np.random.Generator, size: int) -> Floats:
    """(S, S) coverage in 0-1 by branching vessels, thick trunks and thin twigs."""
    canvas = np.zeros((size, size), np.uint8)
    steps, shift = 14, 4
    for _ in range(rng.integers(2, 5)):
        start, heading = rng.uniform(0, size, 2), rng.uniform(0, 2 * math.pi)
        trunk = _walk(rng, start, heading, steps, size * 0.09)
        thickness = max(1, round(size / 96 * rng.uniform(0.8, 2.2)))
        cv2.polylines(canvas, [_fixed(trunk, shift)], False, int(rng.integers(130, 256)), thickness, cv2.LINE_AA, shift)
        for joint in rng.integers(1, steps - 1, rng.integers(1, 4)):
            turn = heading + rng.choice((-1, 1)) * rng.uniform(0.5, 1.1)
            twig = _walk(rng, trunk[joint], turn, steps // 2, size * 0.06)
            cv2.polylines(canvas, [_fixed(twig, shift)], False, int(rng.integers(60, 180)), 1, cv2.LINE_AA, shift)
    soft = cv2.GaussianBlur(canvas, (0, 0), 0.7 * size / 96).astype(np.float32)
    return soft * np.float32(1 / 255)


def _walk(rng: np.random.Generator, start: Points, heading: float, steps: int, stride: float) -> Points:
    angles = heading + np.cumsum(rng.normal(0, 0.3, steps))
    moves = np.stack([np.cos(angles), np.sin(angles)], axis=1) * stride
    return np.concatenate([start[None], start + np.cumsum(moves, axis=0)])


def _fixed(points: Points, shift: int) -> NDArray[np.int32]:
    return np.rint(points * (1 << shift)).astype(np.int32)
