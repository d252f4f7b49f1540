"""How often do the 95 % intervals hold the truth? Simulated test sets; the truth is that of 200,000 further pictures.

python -m tests.bench.coverage [--sets 300] [--resamples 200]

A picture shares half of the variance of its labels and scores with its group. Scores of class c are normal, 0.5 (the
first class) to 2 (the last) apart between positives and negatives; their logits are off by what the prevalence is, so
that the probabilities are badly calibrated where it is low, but for the setting that says otherwise.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ibca_lightning.metrics.intervals import every_interval
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.resampling.paired import paired_intervals
from ibca_lightning.metrics.resampling.resamples import resampled_figures

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


def coverage(setting: Setting, sets: int, resamples: int, truth_of: int = 200_000) -> dict[str, float]:
    """Share of intervals that hold the truth, by figure; those of a class as a mean over classes."""
    rng = np.random.default_rng(0)
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


def paired_coverage(seeds: int, sets: int, resamples: int, groups: int = 60) -> float:
    """Share of intervals of the difference in mAP of two methods that hold the truth, which is 0.

    Both methods are one recipe: every seed of either draws how far it separates the classes and its own errors.
    """
    rng, setting = np.random.default_rng(1), Setting("", groups, [0.2] * 5)
    held = []
    for number in range(sets):
        _, labels, of = drawn(rng, setting, groups)
        shared = rng.standard_normal(labels.shape)

        def run(labels=labels, shared=shared, of=of, number=number) -> dict:
            evidence = rng.normal(1.2, 0.25) * labels.numpy() + 0.8 * shared + 0.6 * rng.standard_normal(labels.shape)
            return resampled_figures(torch.from_numpy(1 / (1 + np.exp(-evidence))), labels, of, resamples, number)

        low, high = paired_intervals([run() for _ in range(seeds)], [run() for _ in range(seeds)])["mAP"]
        held.append(low <= 0 <= high)
    return float(np.mean(held))


SHOWN = ("mAP", "AUROC", "CP", "CR", "CF1", "OP", "OR", "OF1", "specificity", "sensitivity_at_95_specificity",
         "ECE", "class_ECE")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of metrics/README.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--resamples", type=int, default=200)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    print("| groups, prevalence | " + " | ".join((*SHOWN, "lowest tuned", "lowest of a class")) + " |")
    print("|---|" + "--:|" * (len(SHOWN) + 2))
    for setting in SETTINGS:
        found = coverage(setting, options.sets, options.resamples)
        cells = [f"{100 * found[name]:.0f}" for name in SHOWN]
        for kinds in (("tuned ",), ("class ", "tuned class ")):
            low = min((n for n in found if n.startswith(kinds) and ("class " in n) == (len(kinds) > 1)), key=found.get)
            cells.append(f"{100 * found[low]:.0f} ({low.replace('class ', '')})")
        print(f"| {setting.name} | " + " | ".join(cells) + " |", flush=True)
    paired = ", ".join(
        f"{seeds}: {100 * paired_coverage(seeds, options.sets, options.resamples):.0f}" for seeds in (1, 2, 3, 5)
    )
    print(f"\npaired intervals, by training seeds: {paired}; {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
