"""Marks of radiographs, and of any picture that a machine writes on."""

import numpy as np

from ibca_lightning.marks.canvas import Canvas, Mark, curve, letters, mixed, pasted, rotated


def side_marker(rng: np.random.Generator, side: float) -> Mark:
    """The letter of a side in lead, bare, in a ring or in a frame, sometimes with initials."""
    letter = letters("LR"[rng.integers(2)], side * rng.uniform(0.075, 0.12))
    form, wide = rng.integers(4), side * rng.uniform(0.006, 0.01)
    box = float(max(letter.shape)) * (1.75 if form in (1, 2) else 1.2)
    canvas = Canvas(box, box)
    t = np.linspace(0, 2 * np.pi, 40)
    if form == 1:
        radius = box / 2 - wide
        canvas.stroke(np.stack([box / 2 + radius * np.cos(t), box / 2 + radius * np.sin(t)], 1), wide)
    elif form == 2:
        low, high = wide, box - wide
        canvas.stroke(np.array([[low, low], [high, low], [high, high], [low, high]]), wide, closed=True)
    alpha = pasted(canvas.coverage(), letter, ((box - letter.shape[0]) / 2, (box - letter.shape[1]) / 2))
    if form == 3:
        initials = letters("".join(rng.choice(list("ABCDEFGHJKMNPRSTW"), 2)), side * 0.035)
        alpha = np.pad(alpha, ((0, initials.shape[0]), (0, max(0, initials.shape[1] - alpha.shape[1]))))
        alpha = pasted(alpha, initials, (alpha.shape[0] - initials.shape[0], 0))
    rgb = np.broadcast_to(np.full(3, rng.uniform(225, 255), np.float32), (*alpha.shape, 3))
    alpha, _ = rotated(alpha, np.ascontiguousarray(rgb), rng.normal(0, 6) if rng.random() < 0.7 else 0.0)
    return Mark(alpha * rng.uniform(0.8, 1), rgb[0, 0], "rim", lit=False)


def text(rng: np.random.Generator, side: float) -> Mark:
    """What a machine burns in: a date, a time, a number, a name of a view, in one line or two."""
    a, b, c = (f"{rng.integers(1, 13):02d}", f"{rng.integers(1, 29):02d}", f"{rng.integers(8, 26):02d}")
    view, number = (
        rng.choice(["AP", "PA", "NBI", "FOV", "IM", "SE", "WL"]),
        rng.integers(1, 10 ** int(rng.integers(1, 4))),
    )
    forms = [f"{b}/{a}/20{c}", f"{a}:{b}:{c}", f"ID {rng.integers(10**4, 10**7)}", f"{view} {number}"]
    lines = rng.permutation(forms)[: rng.integers(1, 3)].tolist()
    height = side * rng.uniform(0.032, 0.05)
    drawn = [letters(line, height) for line in lines]
    wide, step = max(line.shape[1] for line in drawn), height * 1.25
    alpha = np.zeros((round(step * (len(drawn) - 1)) + drawn[-1].shape[0] + 2, wide + 2), np.float32)
    for at, line in enumerate(drawn):
        alpha = pasted(alpha, line, (at * step, 0))
    rgb = mixed(rng, (255, 255, 255), (255, 255, 255), (255, 240, 90), (120, 255, 130), (255, 190, 70), spread=4)
    if rng.random() < 0.4:  # letters with a dark edge, which are read on any ground
        shadow = np.roll(alpha, (1, 1), (0, 1))
        both = np.maximum(alpha, 0.8 * shadow)
        return Mark(both, rgb * (alpha / np.maximum(both, 1e-3))[..., None], "rim", lit=False)
    return Mark(alpha * rng.uniform(0.85, 1), rgb, "rim", lit=False)


def tube(rng: np.random.Generator, side: float) -> Mark:
    """A catheter or drain from outside of the picture: a pale band with a bright line."""
    high, wide = side * rng.uniform(0.25, 0.42), side * rng.uniform(0.1, 0.22)
    broad = side * rng.uniform(0.014, 0.024)
    edge = broad
    start, stop = [rng.uniform(edge, wide - edge), -2.0], [rng.uniform(edge, wide - edge), high - broad]
    bends = [[rng.uniform(edge, wide - edge), high * 0.35], [rng.uniform(edge, wide - edge), high * 0.7]]
    points = curve(start, bends, stop, 40)
    band, core, hollow = Canvas(high, wide), Canvas(high, wide), Canvas(high, wide)
    band.stroke(points, broad)
    hollow.stroke(points, broad * 0.55)
    core.stroke(points + np.array([broad * rng.uniform(-0.25, 0.25), 0]), max(0.7, broad * 0.16))
    alpha = np.maximum(0.55 * band.coverage(0.4) - 0.25 * hollow.coverage(0.4), 0.85 * core.coverage())
    return Mark(alpha * rng.uniform(0.8, 1), np.full(3, rng.uniform(225, 250)), "edge", lit=False)


def electrode(rng: np.random.Generator, side: float) -> Mark:
    """An electrode with its wire: a ring, a knob and a thin line."""
    box, radius = side * rng.uniform(0.18, 0.28), side * rng.uniform(0.022, 0.034)
    centre = np.array([radius * 1.3, radius * 1.3])
    t = np.linspace(0, 2 * np.pi, 40)
    circle = np.stack([np.cos(t), np.sin(t)], 1)
    disc, hard = Canvas(box, box), Canvas(box, box)
    disc.area(centre + radius * circle)
    hard.stroke(centre + radius * 0.95 * circle, side * 0.004)
    hard.area(centre + radius * rng.uniform(0.3, 0.45) * circle)
    bends = [[box * rng.uniform(0.4, 0.9), box * rng.uniform(0, 0.5)]]
    hard.stroke(curve(centre, bends, [box * rng.uniform(0.6, 0.98), box * 0.98]), side * rng.uniform(0.004, 0.006))
    alpha = np.maximum(0.3 * disc.coverage(0.5), 0.85 * hard.coverage(0.3)) * rng.uniform(0.8, 1)
    return Mark(np.rot90(alpha, int(rng.integers(4))), np.full(3, rng.uniform(225, 250)), lit=False)
