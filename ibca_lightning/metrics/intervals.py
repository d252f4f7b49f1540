"""Intervals of the figures, by resampling groups: `resamples` draws, `spread` makes intervals of the draws."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.metrics.localisation import columns_of
from ibca_lightning.metrics.operating_point import Counts, Floats, harmonic_mean, ratio
from ibca_lightning.metrics.resampling.resamples import RANKING, Drawn, Sample
from ibca_lightning.metrics.resampling.spread import (
    borrowed,
    effective,
    error,
    fraction,
    listed,
    of_mean,
    of_overlap,
    overlap,
    skewness,
    student,
    variance,
)
from ibca_lightning.metrics.resampling.thirds import MEANS, means_of_parts
from ibca_lightning.system.errors import InputError

# Which figure of a class the overall ones are the means of, or have the totals of.
_MEANS = {
    "mAP": "AP", "AUROC": "AUROC", "CP": "precision", "CR": "recall", "CF1": "F1", "sensitivity": "recall",
    "specificity": "specificity", "sensitivity_at_95_specificity": "sensitivity_at_95_specificity",
}  # fmt: skip
_OWN = (*_MEANS, "OP", "OR", "OF1", "ECE", "class_ECE")
_TOTALS = {"OP": "precision", "OR": "recall", "OF1": "F1"}
# Figures that are summed in another order are to lie in their intervals, too.
_ROUNDING = 1e-6
# As programs write what is missing; Na, Null and Nan are names of people.
_NOBODY = frozenset(
    {"", "none", "None", "nan", "NaN", "tensor(nan)", "NaT", "NA", "N/A", "n/a", "<NA>", "null", "NULL"}
)


def bootstrap_intervals(
    probabilities: Tensor | NDArray[Any],
    labels: Tensor | NDArray[Any],
    groups: Sequence[str] | None = None,
    resamples: int | None = None,
    seed: int = 0,
    level: float = 0.95,
    pairs: Mapping[str, Tensor] | None = None,
) -> dict[str, list[float] | None]:
    """Compute an interval of every figure of `metrics`.

    Args:
        probabilities: (B, L) float in [0, 1]. Tensors or arrays.
        labels: (B, L) in {0, 1, -1}, -1 = unknown.
        groups: For each sample its group, such as the patient; None: each sample is its own.
        resamples: How many; None: 1,000, and fewer, down to 200, from 200,000 probabilities on.
        seed: Of the draws; equal seeds and groups draw alike, so that intervals of two models are paired.
        level: Of the interval, in (0, 1).
        pairs: Localisation figures of (picture, class) pairs as for `localisation.summarise`, each (B, L).

    Returns:
        For each figure of `figures(...)["metrics"]`, and of `summarise(pairs)["metrics"]` with `pairs`, [low, high],
        which hold it, or None where it is undefined. Resamples in which a figure is undefined are left out for it.

    Raises:
        InputError: As in `figures`, or there is not one group a sample, a group that names nobody (None, NaN, a blank),
            or no resample.

    Examples:
        Forty pictures of one class in the order of their scores; every fourth is on the wrong side of 0.5. Twenty
        patients with two pictures each are fewer than forty independent pictures, and the interval says so.

        >>> import torch
        >>> from ibca_lightning.metrics.intervals import bootstrap_intervals
        >>> probabilities = torch.linspace(0, 1, 40)[:, None]
        >>> labels = (probabilities > 0.5).long()
        >>> labels[::4] = 1 - labels[::4]
        >>> alone = bootstrap_intervals(probabilities, labels)["AUROC"]
        >>> patients = [str(i % 4 + 4 * (i // 8)) for i in range(40)]
        >>> together = bootstrap_intervals(probabilities, labels, patients)["AUROC"]
        >>> [round(bound, 1) for bound in alone], together[1] - together[0] > alone[1] - alone[0]
        ([0.5, 0.9], True)
    """
    if resamples is not None and resamples < 1:
        raise InputError("at least one resample", resamples, "give more, or None")
    for at, name in enumerate(() if groups is None else groups):
        if str(name).strip() in _NOBODY:
            fix = "give a sample whose patient nobody knows a name of its own: as they are, all would be one patient"
            raise InputError(f"a name for the group of sample {at}", repr(str(name)), fix)
    probabilities, labels = torch.as_tensor(probabilities), torch.as_tensor(labels)
    names = [str(i) for i in range(probabilities.shape[-1])]
    return every_interval(probabilities, labels, names, groups, None, resamples, seed, level, pairs)["intervals"]


def every_interval(
    probabilities: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
    thresholds: Sequence[float] | None = None,
    resamples: int | None = None,
    seed: int = 0,
    level: float = 0.95,
    pairs: Mapping[str, Tensor] | None = None,
    parts: Mapping[str, Sequence[int]] | None = None,
    ranking: bool = True,
) -> dict[str, dict[str, Any]]:
    """Compute an interval of every figure: overall, at the stored thresholds, and of each class.

    Args:
        probabilities: As for `bootstrap_intervals`, and so are all others but these.
        labels: (B, L).
        class_names: L names.
        groups: B names.
        thresholds: (L,) stored thresholds; None leaves their intervals out.
        resamples: R.
        seed: Of the draws.
        level: In (0, 1).
        pairs: Each (B, L).
        parts: Indices of classes by name: `intervals` then has those of `thirds.means_of_parts`, too.
        ranking: Whether AP and its kin are wanted, which take most of the time.

    Returns:
        `intervals` as from `bootstrap_intervals`; `per_class_intervals`, by class name, of each figure of `per_class`
        that is no count; `tuned_intervals` and `tuned_per_class_intervals`, of `tuned` and `tuned_per_class`.

    Raises:
        InputError: As `bootstrap_intervals`.
    """
    sample = Sample(probabilities, labels, groups, pairs, thresholds, ranking)
    value, drawn = sample.itself(), sample.resampled(resamples, seed)
    plain = _Fractions(sample.counts(), level)
    overall = plain.overall(value.overall, drawn.overall, value.classes)
    classes = plain.classes(value.classes, drawn.classes)
    errors, class_errors = _errors(sample, value, drawn, level)
    pair_figures, class_pair_figures = _pair_intervals(sample, value, drawn, level)
    overall |= errors | pair_figures
    classes |= class_errors | class_pair_figures
    result: dict[str, dict[str, Any]] = {
        "intervals": {name: listed(overall[name]) for name in value.overall}
        | {name: listed(ends) for name, ends in _part_intervals(sample.counts(), value, drawn, parts or {}, level)},
        "per_class_intervals": _by_class(classes, value.classes, class_names),
        "tuned_intervals": {}, "tuned_per_class_intervals": {},
    }  # fmt: skip
    if thresholds is not None:
        tuned = _Fractions(sample.counts(tuned=True), level)
        ends = tuned.overall(value.tuned, drawn.tuned, value.tuned_classes)
        result["tuned_intervals"] = {name: listed(ends[name]) for name in value.tuned}
        result["tuned_per_class_intervals"] = _by_class(
            tuned.classes(value.tuned_classes, drawn.tuned_classes), value.tuned_classes, class_names
        )
    return result


class _Fractions:
    """Intervals of the figures that are fractions of something counted, at one threshold a class.

    Args:
        counts: Of each group, (G, L).
        level: Of the intervals.
    """

    def __init__(self, counts: Counts, level: float) -> None:
        hits, predicted, positives, negatives = counts
        self._level = level
        rests_on = {
            "precision": predicted, "specificity": negatives, "F1": predicted + positives - hits,
            **dict.fromkeys(("recall", *RANKING), positives),
        }  # fmt: skip
        self._units = {name: sizes.sum(axis=0) for name, sizes in rests_on.items()}
        # An AUROC is about as sure as twice as many shares as the rarer of both has members (Hanley and McNeil 1982).
        totals = Counts(*(sizes.sum(axis=0) for sizes in counts))
        self._units["AUROC"] = 2 * np.minimum(totals.positives, totals.negatives)
        self._groups = {name: effective(sizes) for name, sizes in rests_on.items()}
        self._together = {name: float(effective(sizes.sum(axis=1))) for name, sizes in rests_on.items()}
        self._defined = totals.defined

    def classes(self, values: Mapping[str, Floats], draws: Mapping[str, Floats]) -> dict[str, Floats]:
        """(2, L) for each figure of a class."""
        return {
            name: self._interval(name, values[name][0], draws[name], units, self._groups[name])
            for name, units in self._units.items()
            if name in values
        }

    def overall(
        self, values: Mapping[str, Floats], draws: Mapping[str, Floats], classes: Mapping[str, Floats]
    ) -> dict[str, Floats]:
        """(2,) for each figure that is a mean over classes or has their totals."""
        result = {}
        for name in values:
            if name in _TOTALS:
                of = _TOTALS[name]
                units, groups = float(self._units[of].sum()), self._together[of]
            elif name in _MEANS:
                of = _MEANS[name]
                units, groups = (self._of_mean(of, classes[of][0], own) for own in (self._units, self._groups))
            else:
                continue
            ends = self._interval(of, values[name][0], draws[name], units, self._together[of], groups)
            result[name] = np.stack([ends[0], np.minimum(ends[1] + self._unseen(name, values), 1)])
        return result

    def _interval(
        self,
        of: str,
        value: Floats,
        draws: Floats,
        units: Floats | float,
        groups: Floats | float,
        alike: float | None = None,
    ) -> Floats:
        if of == "F1":
            return _held(value, of_overlap(fraction(overlap(value), overlap(draws), units, groups, self._level, alike)))
        return _held(value, fraction(value, draws, units, groups, self._level, alike, biased=of == "AP"))

    def _of_mean(self, of: str, values: Floats, numbers: Mapping[str, Floats]) -> float:
        counted = self._defined & (self._units[of] > 0)
        shares = overlap(values[counted]) if of == "F1" else values[counted]
        return of_mean(shares, numbers[of][counted])

    def _unseen(self, name: str, values: Mapping[str, Floats]) -> float:
        """What a figure would gain if classes that are never predicted had precision 1, not the 0 of convention."""
        if name not in ("CP", "CF1") or not self._defined.any():
            return 0.0
        share = (self._defined & (self._units["precision"] == 0)).sum() / self._defined.sum()
        precision, recall = values["CP"][0], values["CR"][0]
        if name == "CP":
            return float(share)
        return float(harmonic_mean(precision + share, recall) - harmonic_mean(precision, recall))


def _part_intervals(
    counts: Counts, value: Drawn, drawn: Drawn, parts: Mapping[str, Sequence[int]], level: float
) -> Iterator[tuple[str, Floats]]:
    """Intervals of `means_of_parts`, (2,): those that the figures have where there are no other classes."""
    values, draws = (means_of_parts(own.classes, parts) for own in (value, drawn))
    for name, columns in parts.items():
        of_part = _Fractions(Counts(*(own[:, columns] for own in counts)), level)
        own, own_draws = ({figure: found[f"{figure}_{name}"] for figure in MEANS} for found in (values, draws))
        classes = {of: value.classes[of][:, columns] for of in MEANS.values()}
        ends = of_part.overall(own, own_draws, classes)
        yield from ((f"{figure}_{name}", ends[figure]) for figure in MEANS)


def _errors(sample: Sample, value: Drawn, drawn: Drawn, level: float) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Intervals of ECE and class_ECE, (2,), and of the ECE of each class, (2, L)."""
    known = value.known[0]
    of_class = np.full((2, sample.classes), np.nan)
    overall = {"ECE": np.full(2, np.nan), "class_ECE": np.full(2, np.nan)}
    if not known.any():
        return overall, {"ECE": of_class}
    gaps = value.gaps[0]
    noise = drawn.gaps - gaps * ratio(drawn.known, known, otherwise=0.0)[:, :, None]
    # Where few positives were met by chance, the resamples scatter less than such probabilities do.
    least = np.stack([own.variances for own in sample.binned])
    wide = noise * np.sqrt(np.maximum(1, ratio(least, noise.var(axis=0), otherwise=1.0)))
    sizes = sample.by_group(sample.known)
    groups, together = effective(sizes), float(effective(sizes.sum(axis=1)))
    shares = [own / np.maximum(known, 1)[:, None] for own in (gaps, noise, wide)]
    defined = np.flatnonzero(~np.isnan(value.classes["ECE"][0]))
    for i in defined:
        at, around, widely = (own[..., i, :] for own in shares)
        of_class[:, i] = error(at, around, widely, float(groups[i]), level)
    if len(defined):
        at, around, widely = (own[..., defined, :] / len(defined) for own in shares)
        flat = at.ravel(), around.reshape(len(noise), -1), widely.reshape(len(noise), -1)
        overall["class_ECE"] = error(*flat, together, level)
    if not np.isnan(value.overall["ECE"][0]):
        at, around, widely = (own.sum(axis=-2) / known.sum() for own in (gaps, noise, wide))
        overall["ECE"] = error(at, around, widely, together, level)
    overall = {name: _held(value.overall[name][0], ends) for name, ends in overall.items()}
    return overall, {"ECE": _held(value.classes["ECE"][0], of_class)}


def _pair_intervals(
    sample: Sample, value: Drawn, drawn: Drawn, level: float
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Intervals of the localisation figures, (2,), and of those of each class, (2, L)."""
    if not sample.pairs:
        return {}, {}
    sizes, sums = sample.pair_sizes(), sample.pair_sums()

    def interval(name: str, values: Floats, draws: Floats, together: bool) -> Floats:
        column, over = columns_of(name)
        parts = sums[column], sizes[column] if over is None else sums[over], sizes[column]
        own, base, size = (each.sum(axis=1) for each in parts) if together else parts
        mean = np.nan_to_num(values)
        number, skew = effective(size), skewness(own - mean * base)
        least: Floats | float = 0.0
        # A gain is no fraction; and what is not in [0, 1] is none either.
        share = not name.endswith("gain") and not ((values < 0) | (values > 1)).any()
        if not together and (share or over is not None):  # other gains may lie near 0, where they scatter as ever
            unit = mean * (1 - mean) if share else mean**2
            least = borrowed(variance(draws, number), unit, size.sum(axis=0), number)
        if share:
            return _held(values, fraction(values, draws, np.inf, number, level, skew=skew, least=least))
        return student(values, draws, number, level, skew, least)

    overall = {name: own for name, own in value.overall.items() if name not in _OWN}
    classes = {name: own for name, own in value.classes.items() if name in overall}
    return (
        {name: interval(name, own[0], drawn.overall[name], together=True) for name, own in overall.items()},
        {name: interval(name, own[0], drawn.classes[name], together=False) for name, own in classes.items()},
    )


def _held(value: Floats, ends: Floats) -> Floats:
    """Ends in [0, 1] that hold the value, also as it is rounded elsewhere."""
    low, high = np.minimum(ends[0], value - _ROUNDING), np.maximum(ends[1], value + _ROUNDING)
    held: Floats = np.clip(np.stack([low, high]), 0, 1)
    return held


def _by_class(
    ends: Mapping[str, Floats], values: Mapping[str, Floats], class_names: Sequence[str]
) -> dict[str, dict[str, list[float] | None]]:
    return {name: {figure: listed(ends[figure][:, i]) for figure in values} for i, name in enumerate(class_names)}
