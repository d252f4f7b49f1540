"""The six causal lesions. Each is recognised by its texture or relief, not by a colour of its own.

A lesion is painted on a square patch with coordinates u (right) and v (down), in units of the lesion's radius, and
returns `(alpha, tint)`: coverage (n, n) in 0-1, and what the tissue's colour is multiplied by there, (n, n, 3).
Multiplying keeps the vessels and the light of the scene visible through the lesion, as on real tissue.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Lesion = Callable[[np.random.Generator, Floats, Floats, tuple[float, float]], tuple[Floats, Floats]]


def edge(depth: Floats, softness: float) -> Floats:
    """Coverage from the depth below an outline: 0 outside, 1 deeper than `softness`."""
    coverage: Floats = np.clip(depth / softness, 0, 1)
    return coverage


def blob(rng: np.random.Generator, u: Floats, v: Floats, wobble: float = 0.12) -> Floats:
    """Distance from the centre of a random smooth outline, in units of the outline: 1 on it, 0 in the centre."""
    angle, radius = np.arctan2(v, u), np.hypot(u, v)
    waves = np.arange(2, 5)[:, None, None]
    sizes, phases = rng.normal(0, wobble, (2, 3, 1, 1)) * np.array([1, 40]).reshape(2, 1, 1, 1)
    outline = 0.85 * (1 + np.sum(sizes / waves**0.5 * np.cos(waves * angle + phases), axis=0))
    distance: Floats = radius / np.clip(outline, 0.5, 1.0)
    return distance


def turned(u: Floats, v: Floats, angle: float) -> tuple[Floats, Floats]:
    """The coordinates of a patch along and across a direction."""
    return u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)


def colour(*rgb: float) -> Floats:
    """A colour that broadcasts over a patch."""
    return np.array(rgb, np.float64)


def ulcer(rng: np.random.Generator, u: Floats, v: Floats, light: tuple[float, float]) -> tuple[Floats, Floats]:
    """A pale, yellowish crater within a congested rim."""
    distance = blob(rng, u, v)
    crater = edge(rng.uniform(0.5, 0.75) - distance, 0.15)[..., None]
    slough = colour(1.25, 1.65, 1.45) * (1 + rng.normal(0, 0.06, (*u.shape, 1)))
    return edge(1 - distance, 0.25), crater * slough + (1 - crater) * colour(0.88, 0.50, 0.50)


def polyp(rng: np.random.Generator, u: Floats, v: Floats, light: tuple[float, float]) -> tuple[Floats, Floats]:
    """A dome: bright on the side of the lamp, dark on the other, with a shadow at its foot."""
    angle, flat = rng.uniform(0, np.pi), rng.uniform(1.0, 1.35)
    a, b = turned(u, v, angle)
    distance = np.hypot(a, b * flat) / 0.95
    facing = u * light[1] + v * light[0]
    shade = 1 + 0.7 * facing + 0.15 * np.clip(1 - distance, 0, 1)
    foot = np.exp(-(((distance - 0.93) / 0.09) ** 2)) * (0.3 - 0.2 * facing)
    return edge(1 - distance, 0.12), (shade - foot)[..., None] * colour(1.02, 0.92, 0.90)


def bleeding(rng: np.random.Generator, u: Floats, v: Floats, light: tuple[float, float]) -> tuple[Floats, Floats]:
    """Petechiae that flow together: a cluster of dark red drops."""
    count = rng.integers(6, 10)
    reach, angle = 0.7 * np.sqrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
    centres_u, centres_v = (reach * np.cos(angle))[:, None, None], (reach * np.sin(angle))[:, None, None]
    sizes = rng.uniform(0.12, 0.28, (count, 1, 1))
    drops = edge(sizes - np.hypot(u - centres_u, v - centres_v), 0.1).max(axis=0)
    return drops, np.broadcast_to(colour(0.58, 0.16, 0.18), (*u.shape, 3))


def erosion(rng: np.random.Generator, u: Floats, v: Floats, light: tuple[float, float]) -> tuple[Floats, Floats]:
    """Aphthae: small pale dots, each in a red halo, on a blush."""
    distance = blob(rng, u, v)
    count = rng.integers(5, 9)
    angle = rng.uniform(0, 2 * np.pi) + np.arange(count) * 2.4 + rng.normal(0, 0.25, count)  # 2.4: the golden angle
    reach = 0.72 * np.sqrt((np.arange(count) + 0.5) / count)
    apart = np.hypot(u - (reach * np.cos(angle))[:, None, None], v - (reach * np.sin(angle))[:, None, None]).min(axis=0)
    dot, halo = edge(0.17 - apart, 0.1)[..., None], edge(0.36 - apart, 0.15)[..., None]
    skin = halo * colour(0.88, 0.56, 0.56) + (1 - halo) * colour(1.0, 0.9, 0.9)
    return edge(1 - distance, 0.25), dot * colour(1.35, 1.8, 1.7) + (1 - dot) * skin


def villous(rng: np.random.Generator, u: Floats, v: Floats, light: tuple[float, float]) -> tuple[Floats, Floats]:
    """A patch of winding ridges, as the pit pattern of a villous adenoma."""
    distance = blob(rng, u, v)
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.38, 0.52)
    along, across = turned(u, v, angle)
    winding = 0.10 * np.sin(along * rng.uniform(3, 6) + rng.uniform(0, 2 * np.pi))
    ridges = np.sin((across + winding) * (2 * np.pi / period))[..., None]
    return edge(1 - distance, 0.25), 1.04 + ridges * colour(0.30, 0.42, 0.42)


def angioectasia(rng: np.random.Generator, u: Floats, v: Floats, light: tuple[float, float]) -> tuple[Floats, Floats]:
    """A spider of dilated vessels that leave one centre in curves."""
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    arms, twist = int(rng.integers(5, 8)), rng.uniform(0.5, 1.2) * rng.choice((-1, 1))
    # Distance to the nearest arm, as an arc: arms keep one width in pixels and part as they leave the centre.
    turn = (angle + twist * radius + rng.uniform(0, 2 * np.pi)) * arms / (2 * np.pi)
    arc = np.abs(turn - np.rint(turn)) * (2 * np.pi / arms) * radius
    vessel = np.maximum(edge(0.13 - arc, 0.12), edge(0.3 - radius, 0.15))[..., None]
    tint = vessel * colour(0.82, 0.22, 0.26) + (1 - vessel) * colour(1.0, 0.92, 0.92)
    return edge(0.98 - radius, 0.3), tint


LESIONS: dict[str, Lesion] = {
    lesion.__name__: lesion for lesion in (ulcer, bleeding, polyp, villous, erosion, angioectasia)
}
"""Class name -> how its lesion is painted, in the order of the labels."""
