"""The structural causal model: from a seed to labels, lesions, marks and noise, and from these to a picture.

    label -> lesion (always, and never without the label)            the cause
    label -> mark   (with probability rho, without it 1 - rho)       spurious
    nothing -> noise, scene                                          neither

A picture is a pure function of `(seed, stream, index)` and rho. Rho decides only which marks are drawn: the scene, the
lesions, the noise and every place stay, so that test sets of different rho are interventions on the marks alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.datasets.scm.artefacts import MARKS, NOISES
from ibca_lightning.datasets.scm.lesions import LESIONS, Floats
from ibca_lightning.datasets.scm.mucosa import Scene, draw_scene

CLASS_NAMES = tuple(LESIONS)
FREQUENCY = 0.3
"""P(label), the same for every class."""
# Standard normal quantile of 1 - FREQUENCY: a label is 1 where its latent normal variable exceeds it.
_THRESHOLD = 0.524400512708041
# Correlations of the latent variables: neighbours in CLASS_NAMES come together, as findings of one disease do.
_PAIRS = {(0, 1): 0.6, (2, 3): 0.6, (4, 5): 0.4}

# Radii in pixels of a 96 px picture, and how strongly a lesion tints the tissue.
_LESION_RADIUS, _FAINTEST = (9.0, 13.5), 0.4
_MARK_RADIUS, _MARK_STRENGTH = (3.5, 5.5), (0.4, 0.95)
_NOISE_RADIUS = {"bubble": (2.0, 4.5), "glare": (1.2, 3.0), "debris": (1.0, 2.5)}
_APART = 0.36  # least distance of a mark from the lesion of its own class, in sides of the picture, where there is room
_Disc = tuple[float, float, float]  # y, x, radius
_VISIBLE = 0.08  # coverage below which a pixel counts as untouched, and is


@dataclass(frozen=True)
class Item:
    """One thing laid on the scene; places and sizes are in pixels.

    Attributes:
        kind: Lesion of a class, mark of a class, or noise.
        index: Position in CLASS_NAMES, in MARKS or in NOISES.
        strength: How far the tint of a lesion, or the colour of an artefact, replaces the tissue's, in 0-1.
        seed: Of everything else that varies in it.
    """

    kind: Literal["cause", "mark", "noise"]
    index: int
    y: float
    x: float
    radius: float
    strength: float
    seed: int


@dataclass(frozen=True)
class Plan:
    """All decisions about one picture, before a pixel is drawn: labels (L,), and items in the order of drawing."""

    labels: NDArray[np.bool_]
    items: tuple[Item, ...]
    scene_seed: int
    grain_seed: int


class Picture(NamedTuple):
    """A drawn picture with its masks.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        cause: (L, S, S) bool, the lesion of each class.
        mark: (L, S, S) bool, the spurious mark of each class.
        noise: (1, S, S) bool, what belongs to no class.
    """

    image: NDArray[np.uint8]
    cause: NDArray[np.bool_]
    mark: NDArray[np.bool_]
    noise: NDArray[np.bool_]


def _correlate() -> Floats:
    """(L, L) factor that gives independent normal variables the correlations of _PAIRS."""
    matrix = np.eye(len(CLASS_NAMES))
    for (i, j), value in _PAIRS.items():
        matrix[i, j] = matrix[j, i] = value
    return np.linalg.cholesky(matrix)


_FACTOR = _correlate()


def plan_picture(entropy: Sequence[int], rho: float, size: int) -> Plan:
    """Decide what a picture shows.

    Plans of one `entropy` and different `rho` differ only in which marks they hold.

    Args:
        entropy: Non-negative integers that name the picture: seed, stream (train, val or test), index.
        rho: P(mark | label) = rho, P(mark | no label) = 1 - rho, for each class independently, in [0, 1].
        size: Side S in pixels.
    """
    rng = _generator(np.random.SeedSequence(entropy))
    count, scale = len(CLASS_NAMES), size / 96
    labels = _FACTOR @ rng.standard_normal(count) > _THRESHOLD
    chance = rng.random(count)
    scene_seed, grain_seed = (int(s) for s in rng.integers(2**63, size=2))

    taken: list[_Disc] = []
    causes: dict[int, Item] = {}
    for i in map(int, np.flatnonzero(labels)):
        radius = scale * rng.uniform(*_LESION_RADIUS)
        y, x = _place(rng, size, radius, taken)
        strength = 1 - (1 - _FAINTEST) * rng.random() ** 2  # most are plain to see, a few hardly
        causes[i] = Item("cause", i, y, x, radius, strength, int(rng.integers(2**63)))
    marks = []
    for i in range(count):  # every mark gets a place, drawn or not: rho must not move anything else
        radius = scale * rng.uniform(*_MARK_RADIUS)
        y, x = _place(rng, size, radius, taken, away_from=causes.get(i))
        item = Item("mark", i, y, x, radius, rng.uniform(*_MARK_STRENGTH), int(rng.integers(2**63)))
        if chance[i] < (rho if labels[i] else 1 - rho):
            marks.append(item)
    noises = []
    for i, radii in enumerate(_NOISE_RADIUS.values()):
        for _ in range(rng.integers(0, 5)):
            y, x = rng.uniform(0.06 * size, 0.94 * size, 2)
            radius, strength = scale * rng.uniform(*radii), rng.uniform(0.5, 1)
            noises.append(Item("noise", i, y, x, radius, strength, int(rng.integers(2**63))))
    return Plan(labels, (*causes.values(), *noises, *marks), scene_seed, grain_seed)


def _place(
    rng: np.random.Generator, size: int, radius: float, taken: list[_Disc], away_from: Item | None = None
) -> tuple[float, float]:
    """The first of some random places that touches nothing, or else the one that overlaps least; it is then taken."""
    tries = rng.uniform(radius + 2, size - radius - 2, (24, 2))
    room = np.full(len(tries), 2.0)
    if taken:
        others = np.array(taken)
        room = (np.hypot(*(tries[:, None] - others[:, :2]).transpose(2, 0, 1)) - others[:, 2] - radius).min(axis=1)
    if away_from is not None:
        distance = np.hypot(tries[:, 0] - away_from.y, tries[:, 1] - away_from.x)
        room = np.minimum(room, distance - _APART * size)
    # The round field of view hides the corners.
    centred = tries / (size / 2) - 1
    room = np.where((centred**4).sum(axis=1) < 0.8, room, room - size)
    free = np.flatnonzero(room >= 1)
    y, x = tries[free[0] if len(free) else int(room.argmax())]
    taken.append((float(y), float(x), radius))
    return float(y), float(x)


def draw_picture(plan: Plan, size: int) -> Picture:
    """Draw a plan of `plan_picture` for the same size; a mask holds exactly the pixels that its item was painted on.

    An item may have been left out of the plan, and then nothing changes outside that item's mask.
    """
    scene = draw_scene(_generator(plan.scene_seed), size)
    count = len(CLASS_NAMES)
    cause, mark = np.zeros((2, count, size, size), bool)
    noise = np.zeros((1, size, size), bool)
    canvas = scene.albedo
    for item in plan.items:
        if item.kind == "cause":
            _paint_lesion(canvas, scene, item, cause[item.index])
    canvas *= scene.light[..., None]
    for item in plan.items:
        if item.kind != "cause":
            _paint_artefact(canvas, scene, item, mark[item.index] if item.kind == "mark" else noise[0])
    canvas += _generator(plan.grain_seed).standard_normal((size, size, 1), np.float32) * np.float32(0.011)
    np.clip(canvas, 0, 1, out=canvas)
    canvas *= 255
    image = (canvas + 0.5).astype(np.uint8)
    return Picture(image, cause, mark, noise)


def _paint_lesion(albedo: Floats, scene: Scene, item: Item, mask: NDArray[np.bool_]) -> None:
    rows, columns, u, v = _patch(item, len(albedo))
    to_lamp = np.array([scene.lamp[0] - item.y, scene.lamp[1] - item.x])
    to_lamp /= max(float(np.hypot(*to_lamp)), 1e-6)
    lesion = LESIONS[CLASS_NAMES[item.index]]
    alpha, tint = lesion(_generator(item.seed), u, v, (float(to_lamp[0]), float(to_lamp[1])))
    albedo[rows, columns] *= 1 + _covered(alpha, item, mask[rows, columns]) * (tint - 1)


def _paint_artefact(canvas: Floats, scene: Scene, item: Item, mask: NDArray[np.bool_]) -> None:
    rows, columns, u, v = _patch(item, len(canvas))
    paints = MARKS if item.kind == "mark" else NOISES
    alpha, rgb = tuple(paints.values())[item.index](_generator(item.seed), u, v)
    # Half of an artefact's light is its own gloss: it stays bold where the tissue is dark.
    light = 0.5 + 0.5 * scene.light[rows, columns, None]
    part = canvas[rows, columns]
    part += _covered(alpha, item, mask[rows, columns]) * (rgb * light - part)


def _covered(alpha: Floats, item: Item, mask: NDArray[np.bool_]) -> Floats:
    """Mark the visible pixels of an item in its mask; return how far they are replaced, (n, n, 1)."""
    visible = alpha > _VISIBLE
    mask |= visible
    return np.where(visible, alpha * item.strength, 0)[..., None]


def _patch(item: Item, size: int) -> tuple[slice, slice, Floats, Floats]:
    """The rows and columns that an item can touch, and its own coordinates (u right, v down) on them."""
    top, left = (max(int(c - item.radius), 0) for c in (item.y, item.x))
    bottom, right = (min(int(c + item.radius) + 2, size) for c in (item.y, item.x))
    u, v = np.empty((2, bottom - top, right - left))
    u[:] = (np.arange(left, right) - item.x) / item.radius
    v[:] = ((np.arange(top, bottom) - item.y) / item.radius)[:, None]
    return slice(top, bottom), slice(left, right), u, v


def _generator(seed: int | np.random.SeedSequence) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))
