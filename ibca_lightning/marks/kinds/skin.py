"""Marks of dermatology and surgery: pens, rulers, hairs."""

import numpy as np

from ibca_lightning.marks.canvas import Canvas, Mark, Points, blob, clouds, curve, letters, mixed, pasted, rotated

_PENS = ((92, 60, 150), (60, 70, 150), (40, 40, 70), (70, 90, 160))  # gentian violet, blues, black-blue


def ink_dots(rng: np.random.Generator, side: float) -> Mark:
    """Dots of a surgical pen in a bent row."""
    count, radius = int(rng.integers(3, 7)), side * rng.uniform(0.009, 0.016)
    step = radius * rng.uniform(3.2, 5.5)
    angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
    turns = angle + bend * np.arange(count - 1)
    places = np.cumsum(np.concatenate([[[0, 0]], np.stack([np.cos(turns), np.sin(turns)], 1) * step]), axis=0)
    places += rng.normal(0, radius * 0.25, places.shape)
    places += 2 * radius - places.min(axis=0)
    canvas = Canvas(*(places.max(axis=0) + 2 * radius)[::-1])
    for place in places:
        canvas.area(blob(rng, place, radius * rng.uniform(0.75, 1.2), 0.08, rng.uniform(0.75, 1)))
    alpha = canvas.coverage(side * rng.uniform(0.001, 0.0025))
    return Mark(alpha * clouds(rng, alpha.shape, 14, 0.6) * rng.uniform(0.8, 0.95), mixed(rng, *_PENS), tint=True)


def ink_line(rng: np.random.Generator, side: float) -> Mark:
    """A stroke of a pen: an open loop, an arrow, a cross or a planned cut."""
    length, width = side * rng.uniform(0.12, 0.22), side * rng.uniform(0.006, 0.011)
    pad = length * 0.3
    start, stop = np.array([pad, pad]), np.array([pad + length, pad])
    bend = (start + stop) / 2 + [0, length * rng.uniform(-0.25, 0.25)]
    line = curve(start, [bend], stop)
    strokes, form = [line], rng.integers(4)
    if form == 0:
        t = np.linspace(0.1, rng.uniform(5.0, 6.0), 40)
        r = length * rng.uniform(0.3, 0.4) * (1 + 0.05 * np.sin(2 * t + rng.uniform(0, 6)))
        strokes = [np.stack([pad + length / 2 + r * np.cos(t), pad + length / 2 + r * np.sin(t) * 0.85], 1)]
    elif form == 1:
        barb = length * 0.22 * np.array([[-1, -0.6], [0, 0], [-1, 0.6]])
        strokes.append(stop + barb)
    elif form == 2:
        strokes = [
            _wavy(rng, [pad, pad], [pad + length / 2] * 2),
            _wavy(rng, [pad + length / 2, pad], [pad, pad + length / 2]),
        ]
    else:
        strokes += [at + 0.06 * length * np.array([[0, -1], [0.15, 1]]) for at in line[4:-3:6]]
    drawn = _turned(strokes, rng.uniform(0, 2 * np.pi), 2 * width)
    canvas = Canvas(*(np.concatenate(drawn).max(axis=0) + 2 * width)[::-1])
    for stroke in drawn:
        canvas.taper(stroke, width * (1 + 0.25 * rng.standard_normal(len(stroke)).cumsum() / len(stroke) ** 0.5))
    alpha = canvas.coverage(side * rng.uniform(0.0008, 0.002))
    return Mark(alpha * clouds(rng, alpha.shape, 24, 0.45) * rng.uniform(0.8, 0.95), mixed(rng, *_PENS), tint=True)


def ruler(rng: np.random.Generator, side: float) -> Mark:
    """A scale: a strip of paper with ticks and numbers, or ticks alone."""
    length, step = side * rng.uniform(0.26, 0.42), side * rng.uniform(0.016, 0.024)
    high = side * rng.uniform(0.05, 0.065)
    ticks, strip = Canvas(high, length), Canvas(high, length)
    paper = rng.random() < 0.6
    if paper:
        strip.area(np.array([[1, 1], [length - 1, 1], [length - 1, high - 1], [1, high - 1]]))
    else:
        ticks.stroke(np.array([[2, 2], [length - 2, 2]]), side * 0.004)
    alpha = ticks.coverage()
    for number, x in enumerate(np.arange(step, length - step * 0.6, step)):
        deep = high * (0.62 if number % 10 == 0 else 0.5 if number % 5 == 0 else 0.33)
        ticks.stroke(np.array([[x, 2], [x, deep]]), side * (0.0042 if number % 5 == 0 else 0.003))
        if number % 5 == 0 and (paper or rng.random() < 0.5):
            alpha = pasted(alpha, letters(str(number // 5), high * 0.42), (high * 0.58, x + step * 0.2))
    dark = np.maximum(alpha, ticks.coverage())
    if paper:
        white, black = mixed(rng, (238, 238, 232), (225, 222, 205), spread=4), rng.uniform(15, 60)
        body = strip.coverage()
        rgb = white + (black - white) * dark[..., None]
        alpha = body * rng.uniform(0.93, 1)
    else:
        rgb, alpha = mixed(rng, (250, 250, 250), (250, 250, 250), (25, 25, 25), (250, 230, 60), spread=4), dark * 0.95
        rgb = np.broadcast_to(rgb, (*alpha.shape, 3))
    turn = rng.choice((0, 0, 0, 90)) + rng.uniform(-7, 7) * (rng.random() < 0.6)
    alpha, rgb = rotated(alpha, rgb.astype(np.float32), turn)
    return Mark(alpha, rgb, "rim" if paper else "free", lit=bool(paper))


def hair(rng: np.random.Generator, side: float) -> Mark:
    """One to three hairs, thin at their ends."""
    box = side * rng.uniform(0.22, 0.4)
    canvas, lean = Canvas(box, box), rng.uniform(-0.5, 0.5)
    for _ in range(rng.integers(1, 4)):
        across = rng.uniform(0.1, 0.9, 2) * box
        points = curve(
            [0.02 * box, across[0]], [rng.uniform(0.1, 0.9, 2) * box], [0.98 * box, across[1] + lean * 0.2 * box]
        )
        thick = side * rng.uniform(0.0035, 0.0065)
        canvas.taper(points, thick * np.clip(1.1 - np.linspace(-1, 1, len(points)) ** 2, 0.35, 1))
    alpha = canvas.coverage(side * rng.uniform(0, 0.002)) * rng.uniform(0.75, 0.95)
    return Mark(np.rot90(alpha, int(rng.integers(4))), mixed(rng, (30, 22, 16), (60, 40, 24), (18, 16, 16)), tint=True)


def _wavy(rng: np.random.Generator, start: list[float], stop: list[float]) -> Points:
    middle = (np.array(start) + stop) / 2
    return curve(start, [middle + rng.normal(0, 0.05 * np.hypot(*(np.array(stop) - start)), 2)], stop)


def _turned(strokes: list[Points], angle: float, margin: float) -> list[Points]:
    """Turn strokes about the origin, then shift all of them to the margin."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = [stroke @ turn for stroke in strokes]
    least = np.concatenate(turned).min(axis=0)
    return [stroke - least + margin for stroke in turned]
