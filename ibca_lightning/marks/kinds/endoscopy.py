"""Marks of endoscopy: light on wet tissue, instruments, bubbles."""

import numpy as np

from ibca_lightning.marks.canvas import Canvas, Floats, Mark, blob, blurred, clouds, mixed


def glare(rng: np.random.Generator, side: float) -> Mark:
    """Reflections of the lamp: a few white spots, long in one direction, with a soft edge."""
    box, count, flat = side * rng.uniform(0.14, 0.24), rng.integers(4, 10), rng.uniform(0.35, 0.7)
    canvas, centre, turn = Canvas(box, box), np.full(2, box / 2), rng.uniform(0, np.pi)
    along = np.array([np.cos(turn), np.sin(turn)])
    for _ in range(count):
        size = side * np.exp(rng.uniform(np.log(0.004), np.log(0.016)))
        at = centre + along * rng.normal(0, box * 0.2) + rng.normal(0, box * 0.09, 2)
        at = np.clip(at, size * 2, box - size * 2)
        offset = blob(rng, (0, 0), size, 0.18)
        across = offset @ np.array([-along[1], along[0]])
        canvas.area(at + offset + np.outer((flat - 1) * across, [-along[1], along[0]]))
    core = canvas.coverage(side * 0.001)
    alpha = np.maximum(core, 0.6 * blurred(core, side * rng.uniform(0.004, 0.007)))
    return Mark(np.clip(alpha * 1.15, 0, 1), mixed(rng, (255, 255, 255), (252, 252, 245), spread=2))


def instrument(rng: np.random.Generator, side: float) -> Mark:
    """The end of an instrument that comes in from an edge: a round shaft, and jaws, a needle or a cap at its end."""
    wide, high = side * rng.uniform(0.05, 0.075), side * rng.uniform(0.2, 0.34)
    box = wide * 2.6
    lean = rng.uniform(-0.7, 0.7) * wide
    top, tip = np.array([box / 2 - lean, -2.0]), np.array([box / 2 + lean, high - wide * 0.9])
    canvas, half = Canvas(high, box), wide / 2
    aside, ahead = np.array([half, 0]), np.array([0, wide])
    canvas.area(np.array([top - aside, top + aside, tip + aside, tip - aside]))
    form = rng.integers(3)
    if form == 0:  # open jaws
        for way in (-1, 1):
            joint, spread = tip + way * 0.4 * aside, way * rng.uniform(0.5, 1.1) * aside
            jaw = np.stack([joint, joint + spread + 0.45 * ahead, joint + 0.9 * spread + 0.8 * ahead])
            canvas.taper(jaw, [half * 0.75, half * 0.5])
    elif form == 1:  # a needle
        canvas.taper(np.stack([tip, tip + 0.4 * ahead, tip + 0.85 * ahead]), [wide * 0.5, wide * 0.16])
    else:  # a round end
        t = np.linspace(0, np.pi, 20)
        canvas.area(np.stack([tip[0] + half * np.cos(t), tip[1] + wide * 0.35 * np.sin(t)], 1))
    alpha = canvas.coverage(0.4)
    rows, columns = np.mgrid[: alpha.shape[0], : alpha.shape[1]].astype(np.float32)
    middle = top[0] + (tip[0] - top[0]) * np.clip(rows / max(tip[1], 1), 0, 1)
    across = np.clip((columns - middle) / half, -1.2, 1.2)
    gloss = rng.uniform(-0.5, 0.5)
    shade = 0.45 + 0.55 * np.sqrt(np.clip(1 - 0.8 * across**2, 0, 1)) + 0.75 * np.exp(-(((across - gloss) / 0.16) ** 2))
    rgb = mixed(rng, (150, 155, 160), (175, 178, 180), (60, 95, 160), (215, 190, 60), (190, 190, 195), (70, 70, 75))
    body: Floats = (rgb * shade[..., None]).astype(np.float32)
    if rng.random() < 0.4:  # bands that show how deep it is, or the winding of a coil
        period = wide * rng.uniform(0.15, 0.9)
        body *= np.where(np.sin(rows / period * np.pi) > 0.4, rng.uniform(0.45, 0.75), 1)[..., None].astype(np.float32)
    return Mark(alpha * 0.98, np.clip(body, 0, 255), "edge")


def bubbles(rng: np.random.Generator, side: float) -> Mark:
    """Air bubbles: a dark rim, a clear inside, a glint."""
    box, count = side * rng.uniform(0.12, 0.2), rng.integers(3, 9)
    rim, inside, glint = Canvas(box, box), Canvas(box, box), Canvas(box, box)
    t = np.linspace(0, 2 * np.pi, 40)
    circle, light = np.stack([np.cos(t), np.sin(t)], 1), rng.uniform(0, 2 * np.pi)
    taken: list[tuple[float, float, float]] = []
    for _ in range(count * 6):
        radius = side * np.exp(rng.uniform(np.log(0.011), np.log(0.034)))
        x, y = rng.uniform(radius + 1, max(box - radius - 1, radius + 1.1), 2)
        if len(taken) == count or any(np.hypot(x - a, y - b) < radius + r for a, b, r in taken):
            continue
        taken.append((x, y, radius))
        rim.stroke([x, y] + circle * radius * 0.9, max(0.8, radius * 0.2))
        inside.area([x, y] + circle * radius * 0.85)
        at = np.array([x, y]) + 0.45 * radius * np.array([np.cos(light), np.sin(light)])
        glint.area(blob(rng, at, radius * rng.uniform(0.18, 0.3), 0.1, 0.7))
    dark, clear, white = rim.coverage(0.4), inside.coverage(0.4), glint.coverage(0.3)
    alpha = np.maximum(np.maximum(0.55 * dark, 0.14 * clear), 0.95 * white)
    shown = np.stack([dark * 0.55, clear * 0.14, white * 0.95])
    share = shown / np.maximum(shown.sum(0), 1e-3)
    colours = np.stack([mixed(rng, (60, 45, 40), (90, 70, 60)), np.full(3, 235), np.full(3, 255)])
    rgb = np.tensordot(share.transpose(1, 2, 0), colours, 1)
    return Mark(alpha * clouds(rng, alpha.shape, 3, 0.85), rgb)
