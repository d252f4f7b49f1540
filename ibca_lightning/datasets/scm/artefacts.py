"""What is in the picture and is no lesion: the spurious mark of each class, and noise that belongs to no class.

Marks are bold, saturated and always alike, so that a network learns them sooner than the lesions. Both kinds are
painted as `lesions` are, but return `(alpha, rgb)`: coverage (n, n) and an opaque colour in 0-1, (n, n, 3).
"""

from collections.abc import Callable

import numpy as np

from ibca_lightning.datasets.scm.lesions import Floats, blob, colour, edge, turned

Artefact = Callable[[np.random.Generator, Floats, Floats], tuple[Floats, Floats]]


def _stain(rgb: Floats) -> Artefact:
    def stain(rng: np.random.Generator, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        return 0.9 * edge(1 - blob(rng, u, v, wobble=0.06), 0.3), np.broadcast_to(rgb, (*u.shape, 3))

    return stain


def clip(rng: np.random.Generator, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """A haemostatic clip: two bright metal jaws with a dark slit."""
    a, b = turned(u, v, rng.uniform(0, np.pi))
    jaw = np.abs(np.abs(b) - 0.28)
    alpha = edge(np.minimum(0.95 - np.abs(a), 0.5 - np.abs(b)), 0.12)
    return alpha, (0.25 + 0.7 * edge(0.26 - jaw, 0.15))[..., None] * colour(0.92, 0.97, 1.0)


def ring(rng: np.random.Generator, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """A bright ring, the light's reflection from the rim of the distal cap."""
    return edge(0.24 - np.abs(np.hypot(u, v) - 0.74), 0.12), np.broadcast_to(colour(1.0, 1.0, 0.95), (*u.shape, 3))


def probe(rng: np.random.Generator, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """The tip of an instrument: a yellow sheath with black bands."""
    a, b = turned(u, v, rng.uniform(0, np.pi))
    bands = (np.sin(a * 7.5) > 0)[..., None]
    alpha = edge(np.minimum(0.95 - np.abs(a), 0.42 - np.abs(b)), 0.12)
    return alpha, np.where(bands, colour(1.0, 0.86, 0.1), colour(0.1, 0.1, 0.08))


MARKS: dict[str, Artefact] = {
    "dye": _stain(colour(0.12, 0.28, 0.80)),
    "clip": clip,
    "tattoo": _stain(colour(0.07, 0.06, 0.12)),
    "ring": ring,
    "bile": _stain(colour(0.42, 0.62, 0.10)),
    "probe": probe,
}
"""Mark name -> how it is painted; the i-th mark accompanies the i-th class."""


def bubble(rng: np.random.Generator, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """A thin film of saliva with a glint."""
    film = 0.35 * edge(0.16 - np.abs(np.hypot(u, v) - 0.8), 0.1)
    angle = rng.uniform(0, 2 * np.pi)
    glint = edge(0.25 - np.hypot(u - 0.5 * np.cos(angle), v - 0.5 * np.sin(angle)), 0.15)
    return np.maximum(film, glint), np.broadcast_to(colour(1.0, 0.98, 0.95), (*u.shape, 3))


def glare(rng: np.random.Generator, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """A specular reflection of the lamp from wet tissue, elongated."""
    a, b = turned(u, v, rng.uniform(0, np.pi))
    return edge(0.9 - np.hypot(a, b * rng.uniform(1.2, 3)), 0.5), np.broadcast_to(colour(1, 1, 1), (*u.shape, 3))


def debris(rng: np.random.Generator, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """A crumb of residue, brownish."""
    rgb = colour(0.62, 0.46, 0.22) * rng.uniform(0.5, 1.1)
    return 0.8 * edge(1 - blob(rng, u, v, wobble=0.25), 0.3), np.broadcast_to(rgb, (*u.shape, 3))


NOISES: dict[str, Artefact] = {"bubble": bubble, "glare": glare, "debris": debris}
"""Noise name -> how it is painted."""
