"""How often do the 95 % intervals hold the truth? Simulated test sets; the truth is that of 200,000 further pictures.

python -m tests.bench.coverage [--sets 300] [--resamples 200] [--seed 0] [--settings "60, .04" ...]

A picture shares half of the variance of its labels and scores with its group. Scores of class c are normal, 0.5 (the
first class) to 2 (the last) apart between positives and negatives; their logits are off by what the prevalence is, so
that the probabilities are badly calibrated where it is low, but for the setting that says otherwise.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit, logit

from ibca_lightning.metrics.intervals import every_interval
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.resampling.paired import paired_intervals
from ibca_lightning.metrics.resampling.resamples import resampled_figures
from tests.bench.lesion_coverage import LESION_SETTINGS, LESION_SHOWN, LesionSetting, lesion_coverage

TUNED = 0.3


@dataclass(frozen=True)
class Setting:
    """What test sets are like: groups of 4 pictures, or of 1 to 60 where they are unequal."""

    name: str
    groups: int
    prevalences: Sequence[float]
    unequal: bool = False
    calibrated: bool = False


SETTINGS = (
    Setting("15 groups, .20", 15, [0.20] * 5),
    Setting("60, .30", 60, [0.30] * 5),
    Setting("60, .04", 60, [0.04] * 5),
    Setting("250, .30", 250, [0.30] * 5),
    Setting("250, .04", 250, [0.04] * 5),
    Setting("60 of 1 to 60 pictures, .1 to .4", 60, [0.1, 0.2, 0.3, 0.4, 0.2], unequal=True),
    Setting("150, 20 classes of .01 to .5", 150, np.geomspace(0.01, 0.5, 20).tolist()),
    Setting("60, .30, calibrated", 60, [0.30] * 5, calibrated=True),
)


def drawn(rng: np.random.Generator, setting: Setting, groups: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Probabilities, labels and groups of one set."""
    sizes = np.minimum(np.ceil(rng.pareto(1.2, groups)), 60).astype(int) if setting.unequal else np.full(groups, 4)
    of, prevalences = np.repeat(np.arange(groups), sizes), np.asarray(setting.prevalences)

    def correlated() -> np.ndarray:
        own = rng.standard_normal((len(of), len(prevalences)))
        return np.sqrt(0.5) * (rng.standard_normal((groups, len(prevalences)))[of] + own)

    cuts = np.quantile(np.random.default_rng(0).standard_normal(10**6), 1 - prevalences)
    labels = correlated() > cuts
    apart = np.linspace(0.5, 2, len(prevalences))
    evidence = apart * labels + correlated()
    logits = evidence - apart / 2
    if setting.calibrated:
        logits = np.log(prevalences / (1 - prevalences)) + apart * evidence - apart**2 / 2
    probabilities = torch.from_numpy(1 / (1 + np.exp(-logits))).float()
    return probabilities, torch.from_numpy(labels.astype(np.int64)), [str(own) for own in of]


def flat(result: dict, kinds: Sequence[str]) -> dict[str, object]:
    """Figures or intervals by one name each: `mAP`, `tuned CP`, `class AP 3`, `tuned class F1 3`."""
    found = {}
    for prefix, kind in zip(("", "class ", "tuned ", "tuned class "), kinds, strict=True):
        for name, own in result[kind].items():
            if "class" in prefix:
                found |= {f"{prefix}{figure} {name}": value for figure, value in own.items()}
            else:
                found[prefix + name] = own
    return found


def coverage(setting: Setting, sets: int, resamples: int, truth_of: int = 200_000, seed: int = 0) -> dict[str, float]:
    """Share of intervals that hold the truth, by figure; those of a class as a mean over classes."""
    rng = np.random.default_rng(seed)
    names = [str(i) for i in range(len(setting.prevalences))]
    thresholds = [TUNED] * len(names)
    kinds = ("metrics", "per_class", "tuned", "tuned_per_class")
    probabilities, labels, _ = drawn(rng, setting, truth_of // 4)
    truth = flat(figures(probabilities, labels, names, thresholds), kinds)
    held = defaultdict(list)
    for number in range(sets):
        probabilities, labels, groups = drawn(rng, setting, setting.groups)
        found = every_interval(probabilities, labels, names, groups, thresholds, resamples, number)
        own = flat(figures(probabilities, labels, names, thresholds), kinds)
        ends = flat(found, ("intervals", "per_class_intervals", "tuned_intervals", "tuned_per_class_intervals"))
        for name, interval in ends.items():
            if interval is None:
                continue
            low, high = interval
            assert low <= own[name] <= high, f"{name} {own[name]} is not in {interval}"
            held[name.rsplit(" ", 1)[0] if "class " in name else name].append(low <= truth[name] <= high)
    return {name: float(np.mean(own)) for name, own in held.items()}


def paired_coverage(
    seeds: int, sets: int, resamples: int, groups: int = 60, prevalence: float = 0.2
) -> dict[str, float]:
    """Share of intervals of the difference of two methods that hold the truth, which is 0, by figure.

    Both methods are one recipe: every seed of either draws how far it separates the classes, how far its attention lies
    on lesions, and its own errors. Marks are in one of six pictures. `class AP` is a mean over classes.
    """
    rng, setting = np.random.default_rng(1), Setting("", groups, [prevalence] * 5)
    held = defaultdict(list)
    for number in range(sets):
        one = recipe(rng, setting, resamples, number)
        for name, ends in paired_intervals([one() for _ in range(seeds)], [one() for _ in range(seeds)]).items():
            if ends is not None:
                held["class AP" if name.startswith("class AP") else name].append(ends[0] <= 0 <= ends[1])
    return {name: float(np.mean(own)) for name, own in held.items()}


def recipe(rng: np.random.Generator, setting: Setting, resamples: int, number: int) -> Callable[[], dict]:
    """What gives the resampled figures of one more seed, on one test set."""
    _, labels, of = drawn(rng, setting, setting.groups)
    shared, others = rng.standard_normal(labels.shape), np.random.default_rng((1, number))  # of maps
    place, area = others.standard_normal(labels.shape), expit(others.standard_normal(labels.shape) - 3)
    present = np.where(labels == 1, 1.0, np.nan)
    marked = np.where(others.random((len(labels), 1)) < 1 / 6, present, np.nan)

    def seen(by_all: np.ndarray, signal: np.ndarray | float, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(1.2, 0.25) * signal + 0.8 * by_all + 0.6 * rng.standard_normal(labels.shape)

    def one() -> dict:
        energy = expit(logit(area) + seen(place, 1.0, others))
        pairs = {"energy": present * energy, "uniform": present * area, "pointing": present * (energy > 0.15)}
        pairs["spurious_energy"] = marked * expit(seen(place, -1.0, others))
        return resampled_figures(
            torch.from_numpy(expit(seen(shared, labels.numpy(), rng))), labels, of, resamples, number,
            {name: torch.from_numpy(own) for name, own in pairs.items()},
            [f"class AP {at}" for at in range(labels.shape[1])],
        )  # fmt: skip

    return one


SHOWN = ("mAP", "AUROC", "CP", "CR", "CF1", "OP", "OR", "OF1", "specificity", "sensitivity_at_95_specificity",
         "ECE", "class_ECE")  # fmt: skip


PAIRED = ("mAP", "class AP", "attention_energy", "attention_gain", "pointing_game", "spurious_energy")


def per_cent(share: float) -> str:
    """Whole numbers, but near and below 90, which is what we want at least, one digit more: 89.7 is not 90."""
    return f"{100 * share:.0f}" if share >= 0.91 else f"{100 * share:.1f}"


def lowest(found: Mapping[str, float], kinds: tuple[str, ...]) -> str:
    """The lowest share of the figures whose names begin so."""
    low = min((name for name in found if name.startswith(kinds) and ("class " in name) == ("class " in kinds[0])),
              key=lambda name: found[name])  # fmt: skip
    return f"{per_cent(found[low])} ({low.replace('class ', '')})"


def table(names: Sequence[str], others: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print a table as it is made."""
    print("| groups, prevalence | " + " | ".join((*names, *others)) + " |")
    print("|---|" + "--:|" * (len(names) + len(others)))
    for name, cells in rows:
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of metrics/README.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the sets and of the truth")
    parser.add_argument("--settings", nargs="+", help="rows by name; default all of both tables, and paired intervals")
    options = parser.parse_args(arguments)
    how, started = (options.sets, options.resamples), time.perf_counter()
    plain, lesions = (
        [own for own in settings if options.settings is None or own.name in options.settings]
        for settings in (SETTINGS, LESION_SETTINGS)
    )

    def plain_cells(setting: Setting) -> list[str]:
        found = coverage(setting, *how, seed=options.seed)
        shares = [per_cent(found[name]) for name in SHOWN]
        return [*shares, lowest(found, ("tuned ",)), lowest(found, ("class ", "tuned class "))]

    def lesion_cells(setting: LesionSetting) -> list[str]:
        found = lesion_coverage(setting, *how, seed=options.seed)
        return [*(per_cent(found[name]) for name in LESION_SHOWN), lowest(found, ("class ",))]

    if plain:
        table(SHOWN, ("lowest tuned", "lowest of a class"), ((own.name, plain_cells(own)) for own in plain))
    if lesions:
        table(LESION_SHOWN, ("lowest of a class",), ((own.name, lesion_cells(own)) for own in lesions))
    if options.settings is None:
        for seeds in (1, 2, 3, 5):
            found = paired_coverage(seeds, *how)
            print(f"paired, {seeds} training seeds: " + ", ".join(f"{name} {per_cent(found[name])}" for name in PAIRED))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
