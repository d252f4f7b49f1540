"""Marks of fundus photographs: the shadow of a lid or of the pupil, lashes before the lens."""

import numpy as np

from ibca_lightning.marks.canvas import Canvas, Mark, curve, mixed


def shadow(rng: np.random.Generator, side: float) -> Mark:
    """A dark crescent on an edge, soft towards the middle."""
    wide, high = side * rng.uniform(0.4, 0.75), side * rng.uniform(0.14, 0.26)
    rows, columns = np.mgrid[: max(2, round(high)), : max(2, round(wide))].astype(np.float32)
    u, v = columns / (wide - 1) * 2 - 1, rows / (high - 1)
    peak = rng.uniform(-0.3, 0.3)
    outline = np.clip(1 - ((u - peak) / (1 + np.abs(peak))) ** 2, 0, 1) ** rng.uniform(0.8, 1.4)
    depth = np.clip((outline - v) / rng.uniform(0.75, 1.1), 0, 1)
    alpha = depth * depth * (3 - 2 * depth) * rng.uniform(0.8, 0.95)
    return Mark(
        alpha.astype(np.float32), mixed(rng, (10, 6, 4), (34, 16, 8), (12, 12, 18), spread=3), "edge", tint=True
    )


def lashes(rng: np.random.Generator, side: float) -> Mark:
    """Lashes out of focus: thin arcs that grow from an edge, side by side."""
    high, count = side * rng.uniform(0.12, 0.22), int(rng.integers(4, 9))
    gap = side * rng.uniform(0.02, 0.036)
    wide, lean = gap * (count + 3), rng.uniform(-1.6, 1.6) * gap
    canvas = Canvas(high, wide)
    for number in range(count):
        start = [gap * (number + 1.5) + rng.normal(0, gap * 0.25), -2.0]
        long = high * rng.uniform(0.55, 0.97)
        stop = [start[0] + lean * rng.uniform(0.6, 1.3), long]
        points = curve(start, [[start[0] + lean * rng.uniform(-0.3, 0.2), long * 0.6]], stop)
        canvas.taper(points, side * rng.uniform(0.006, 0.01) * np.linspace(1.1, 0.3, len(points)))
    alpha = canvas.coverage(side * rng.uniform(0.002, 0.005)) * rng.uniform(0.7, 0.9)
    return Mark(alpha, mixed(rng, (25, 15, 10), (40, 22, 12), (15, 12, 12), spread=4), "edge", tint=True)
