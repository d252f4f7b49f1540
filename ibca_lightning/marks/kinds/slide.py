"""Marks of slides: spilt stain, the ring of a pen."""

import numpy as np

from ibca_lightning.marks.canvas import Canvas, Mark, blob, blurred, clouds, mixed


def stain(rng: np.random.Generator, side: float) -> Mark:
    """A pool of dye or stain with a darker rim, and a few splashes."""
    radius = side * rng.uniform(0.045, 0.085)
    box = radius * 3.4
    pool, outline, centre = Canvas(box, box), Canvas(box, box), np.full(2, box / 2)
    shape = blob(rng, centre, radius, 0.1, rng.uniform(0.6, 1))
    pool.area(shape)
    for _ in range(rng.integers(1, 4)):  # where it ran
        pool.area(blob(rng, shape[rng.integers(len(shape))], radius * rng.uniform(0.2, 0.4), 0.12, 0.7))
    outline.stroke(shape, side * rng.uniform(0.003, 0.006), closed=True)
    for _ in range(rng.integers(0, 5)):
        away, angle = radius * rng.uniform(1.15, 1.45), rng.uniform(0, 2 * np.pi)
        pool.area(
            blob(rng, centre + away * np.array([np.cos(angle), np.sin(angle)]), radius * rng.uniform(0.05, 0.13), 0.1)
        )
    soft = side * rng.uniform(0.002, 0.006)
    body, rim = pool.coverage(soft), blurred(outline.coverage(), 0.7 * soft)
    thin = clouds(rng, body.shape, 4, 0.45) * clouds(rng, body.shape, 24, 0.8)
    alpha = np.clip(body * thin * rng.uniform(0.65, 0.9) + rng.uniform(0, 0.3) * rim * body, 0, 0.95)
    rgb = mixed(rng, (60, 70, 180), (40, 110, 190), (190, 60, 140), (120, 70, 160), (60, 130, 60), (150, 90, 30))
    return Mark(alpha, rgb, tint=True)


def pen_ring(rng: np.random.Generator, side: float) -> Mark:
    """An arc that somebody drew round a place with a felt pen; it closes seldom, and its ends cross."""
    radius, wide = side * rng.uniform(0.06, 0.1), side * rng.uniform(0.012, 0.022)
    t = np.linspace(0, np.deg2rad(rng.uniform(200, 380)), 60) + rng.uniform(0, 2 * np.pi)
    drift = radius * (1 + np.linspace(0, rng.uniform(-0.18, 0.18), len(t)) + 0.05 * np.sin(2 * t + rng.uniform(0, 6)))
    points = np.stack([drift * np.cos(t), drift * np.sin(t) * rng.uniform(0.75, 1)], axis=1)
    points += 1.2 * wide - points.min(axis=0)
    canvas = Canvas(*(points.max(axis=0) + 1.2 * wide)[::-1])
    canvas.taper(points, wide * (1 + 0.12 * np.sin(np.linspace(0, 9, len(t)) + rng.uniform(0, 6))))
    alpha = canvas.coverage(side * rng.uniform(0.0008, 0.002))
    alpha = alpha * clouds(rng, alpha.shape, 9, 0.7) * rng.uniform(0.75, 0.95)
    return Mark(alpha, mixed(rng, (25, 55, 165), (20, 120, 55), (20, 20, 25), (190, 25, 35), (110, 30, 140)), tint=True)
