"""How often do the 95 % intervals of localisation and faithfulness hold the truth? The second table of `coverage`.

Test sets are groups drawn from one population of 4,000 (1,000 where maps are drawn), so that the truth is known: the
mean over all of its pairs. A picture shares half of the variance of its labels, lesions and maps with its group. In
most settings the figures of a pair are drawn: lesions have areas of log-normal size, attention and curves are by chance
better or worse than those that know nothing, other lesions are in two of five pictures, marks in one of six. In
settings of maps, pictures, masks and attention are drawn, and the figures computed from them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch import Tensor

from ibca_lightning.metrics.faithfulness import pair_curves
from ibca_lightning.metrics.intervals import every_interval
from ibca_lightning.metrics.localisation import pair_figures, region_energy, summarise

POPULATION = 4000  # groups; of drawn maps, which take longer, 1000
GRID, SIDE = 8, 32


@dataclass(frozen=True)
class LesionSetting:
    """What test sets are like.

    Attributes:
        name: In the table.
        groups: Of a set.
        prevalences: Of the classes.
        area: Median share of a picture that a lesion takes, of all classes or of each.
        hits: Standard deviations that the pointing game is above one half.
        unequal: Groups of 1 to 60 pictures, not of 4.
        maps: Whether masks and maps are drawn, not their figures.
    """

    name: str
    groups: int
    prevalences: Sequence[float]
    area: float | Sequence[float] = 0.05
    hits: float = 0.0
    unequal: bool = False
    maps: bool = False


LESION_SETTINGS = (
    LesionSetting("15 groups, .20", 15, [0.20] * 5),
    LesionSetting("60, .30", 60, [0.30] * 5),
    LesionSetting("60, .04", 60, [0.04] * 5),
    LesionSetting("250, .04", 250, [0.04] * 5),
    LesionSetting("60 of 1 to 60 pictures, .1 to .4", 60, [0.1, 0.2, 0.3, 0.4, 0.2], unequal=True),
    LesionSetting("60, .20, lesions of .003", 60, [0.20] * 5, area=0.003),
    LesionSetting("15, .20, lesions of .003", 15, [0.20] * 5, area=0.003),
    LesionSetting("15, .20, lesions of .003 to .3", 15, [0.20] * 5, area=(0.003, 0.003, 0.02, 0.05, 0.3)),
    LesionSetting("60, .20, nearly all hits", 60, [0.20] * 5, hits=2.0),
    LesionSetting("40, .15, masks and maps", 40, [0.15] * 3, maps=True),
)
LESION_SHOWN = ("attention_energy", "attention_gain", "pointing_game", "pixel_AP", "other_energy", "spurious_energy",
                "deletion", "insertion", "deletion_gain", "insertion_gain")  # fmt: skip


class Normal(Protocol):
    """Draws numbers for every picture, (N, *shape)."""

    def __call__(self, *shape: int) -> NDArray[np.float64]: ...


class Population:
    """Groups of pictures with the figures of their pairs, from which test sets are drawn.

    Attributes:
        labels: (N, L) of 0 and 1.
        pairs: Figures of pairs, each (N, L), NaN where there is none.
    """

    def __init__(self, setting: LesionSetting, seed: int = 0, groups: int | None = None) -> None:
        rng = np.random.default_rng(seed)
        groups = groups or (POPULATION // 4 if setting.maps else POPULATION)
        sizes = np.minimum(np.ceil(rng.pareto(1.2, groups)), 60).astype(int) if setting.unequal else np.full(groups, 4)
        self._of = np.repeat(np.arange(groups), sizes)
        self._members = np.split(np.arange(len(self._of)), np.cumsum(sizes)[:-1])
        prevalences = np.asarray(setting.prevalences)

        def normal(*shape: int) -> NDArray[np.float64]:
            own, shared = rng.standard_normal((len(self._of), *shape)), rng.standard_normal((groups, *shape))
            return np.sqrt(0.5) * (own + shared[self._of])

        each = normal(len(prevalences))
        self.labels = torch.from_numpy((each > -np.quantile(each, prevalences)).astype(np.int64))
        draw = _from_maps if setting.maps else _from_numbers
        self.pairs = draw(setting, normal, self.labels)
        self.truth = summarise(self.pairs, self.names)

    @property
    def names(self) -> list[str]:
        """Of the classes."""
        return [str(at) for at in range(self.labels.shape[1])]

    def drawn(self, rng: np.random.Generator, groups: int) -> tuple[Tensor, dict[str, Tensor], list[str]]:
        """Labels, figures of pairs and groups of one set."""
        chosen = rng.integers(len(self._members), size=groups)
        rows = np.concatenate([self._members[at] for at in chosen])
        names = [str(at) for at, group in enumerate(chosen) for _ in self._members[group]]
        return self.labels[rows], {name: own[rows] for name, own in self.pairs.items()}, names


def _from_numbers(setting: LesionSetting, normal: Normal, labels: Tensor) -> dict[str, Tensor]:
    number = labels.shape[1]
    area = np.minimum(np.asarray(setting.area) * np.exp(1.2 * normal(number)), 0.9)
    evidence = logit(area)
    pairs = {"uniform": area, "energy": expit(evidence + 1 + normal(number))}
    pairs["pointing"] = (normal(number) + setting.hits > 0).astype(float)
    pairs["pixel_AP"] = expit(evidence + 0.5 + 1.5 * normal(number))
    pairs["other_energy"] = expit(normal(number) - 2) * (normal(number) < -0.25)
    pairs["spurious_energy"] = np.where(normal(1) > 1, expit(normal(number) - 1), np.nan)
    sure = 1.5 * normal(number)
    for name, sign in (("deletion", -1), ("insertion", 1)):
        random = sure + 0.3 * normal(number)
        pairs[f"{name}_random"], pairs[name] = expit(random), expit(random + sign * 0.5 * (1 + 2 * normal(number)))
    return _with_gains({name: torch.from_numpy(np.where(labels == 1, own, np.nan)) for name, own in pairs.items()})


def _from_maps(setting: LesionSetting, normal: Normal, labels: Tensor) -> dict[str, Tensor]:
    """Elliptic lesions, and attention that is a softmax of the lesion and of noise on a grid of 8 x 8.

    What the curves follow says how much brighter than the whole picture the lesion is.
    """
    number = labels.shape[1]
    area = np.asarray(setting.area)[..., None]
    centre, size = expit(1.5 * normal(number, 2)), np.sqrt(area / np.pi) * np.exp(0.5 * normal(number, 2))
    places = (np.arange(SIDE) + 0.5) / SIDE
    down, across = ((places - centre[..., [axis]]) / np.maximum(size[..., [axis]], 0.8 / SIDE) for axis in (0, 1))
    mask = torch.from_numpy(down[..., :, None] ** 2 + across[..., None, :] ** 2 < 1) & (labels == 1)[..., None, None]
    shown = F.avg_pool2d(mask.float(), SIDE // GRID).clamp(max=0.5)
    quality, noise = torch.from_numpy(4 + 4 * normal(number)), torch.from_numpy(normal(number, GRID, GRID))
    scores = (quality[..., None, None] * shown + 1.2 * noise).float()
    attention = scores.flatten(2).softmax(-1).view_as(scores)
    marked = torch.from_numpy(normal(1) > 1)[..., None, None]
    pairs = pair_figures(attention, mask, labels)
    corner = F.pad(torch.ones(6, 6, dtype=torch.bool), (0, SIDE - 6, 0, SIDE - 6))
    pairs["spurious_energy"] = region_energy(attention, marked & corner, labels)
    grain = torch.from_numpy(normal(3, SIDE, SIDE)).float()
    for picture, label in (labels * mask.flatten(2).any(-1)).nonzero().tolist():
        lesion = mask[picture, label]

        def model(images: Tensor, lesion: Tensor = lesion) -> Tensor:
            return (4 * (images[:, :, lesion].mean((1, 2)) - images.mean((1, 2, 3))) - 1).sigmoid()[:, None]

        curves = pair_curves(model, grain[picture] + lesion, attention[picture, label], 0, seed=picture)
        for name, curve in curves.items():
            pairs.setdefault(name, torch.full(labels.shape, torch.nan))[picture, label] = curve.area
    return _with_gains({name: own.double() for name, own in pairs.items()})


def _with_gains(pairs: dict[str, Tensor]) -> dict[str, Tensor]:
    return pairs | {
        "deletion_gain": pairs["deletion_random"] - pairs["deletion"],
        "insertion_gain": pairs["insertion"] - pairs["insertion_random"],
    }


def lesion_coverage(
    setting: LesionSetting, sets: int, resamples: int, seed: int = 0, population: Population | None = None
) -> dict[str, float]:
    """Share of intervals that hold the truth, by figure; those of a class as a mean over classes."""
    population = population or Population(setting, seed)
    rng = np.random.default_rng((seed, 1))
    held = defaultdict(list)
    for number in range(sets):
        labels, pairs, groups = population.drawn(rng, setting.groups)
        own, unknown = summarise(pairs, population.names), torch.full_like(labels, -1)  # no other figure is wanted
        found = every_interval(
            labels.double(), unknown, population.names, groups, None, resamples, number, pairs=pairs, ranking=False
        )
        for name, truth in population.truth["metrics"].items():
            _note(held[name], found["intervals"][name], own["metrics"][name], truth)
        for label, truths in population.truth["per_class"].items():
            for name, truth in truths.items():
                if name != "pairs":
                    ends, value = found["per_class_intervals"][label][name], own["per_class"][label][name]
                    _note(held[f"class {name}"], ends, value, truth)
    return {name: float(np.mean(shares)) for name, shares in held.items()}


def _note(held: list[bool], ends: Sequence[float] | None, value: float | None, truth: float) -> None:
    if ends is not None and value is not None:
        assert ends[0] <= value <= ends[1], f"{value} is not in {ends}"
        held.append(ends[0] <= truth <= ends[1])
