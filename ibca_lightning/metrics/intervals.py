"""Bootstrap intervals of the figures, by resampling groups.

Pictures of one patient are not independent: whole groups are drawn with replacement (Field and Welsh, JRSS B 2007), a
sample then weighs as often as its group was drawn. Each class is sorted once; the resamples, as columns of weights,
share the sorting, so that a thousand of them cost seconds. Our own on purpose: a library's
bootstrap draws rows, not groups, and computes every figure anew for each resample.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.metrics.localisation import averages, class_averages
from ibca_lightning.metrics.multilabel import SPECIFICITY, checked_arrays
from ibca_lightning.metrics.operating_point import (
    Counts,
    Floats,
    class_mean,
    overall_figures,
    per_class_figures,
    ratio,
)
from ibca_lightning.metrics.reliability import Binned, calibration_errors
from ibca_lightning.system.errors import InputError

_CHUNK = 2**19  # weights held at once, 2 MB: larger chunks fall out of the cache


def bootstrap_intervals(
    probabilities: Tensor,
    labels: Tensor,
    groups: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    pairs: Mapping[str, Tensor] | None = None,
) -> dict[str, list[float] | None]:
    """Compute percentile intervals of every figure of `metrics`.

    Args:
        probabilities: (B, L) float in [0, 1].
        labels: (B, L) in {0, 1, -1}, -1 = unknown.
        groups: For each sample its group, such as the patient; None: each sample is its own.
        resamples: How many resamples.
        seed: Of the draws; equal seeds and groups draw alike, so that intervals of two models are paired.
        level: Of the interval, in (0, 1).
        pairs: Localisation figures of (picture, class) pairs as for `localisation.summarise`, each (B, L).

    Returns:
        For each figure of `figures(...)["metrics"]`, and of `summarise(pairs)["metrics"]` with `pairs`, [low, high], or
        None where it is undefined in every resample. Resamples in which a figure is undefined are left out for it.

    Raises:
        InputError: As in `figures`, or there is not one group a sample.

    Example:
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
        ([0.6, 0.9], True)
    """
    drawn = resampled_figures(probabilities, labels, groups, resamples, seed, pairs)
    return {name: _interval(values, level) for name, values in drawn.items()}


def paired_intervals(
    first: Sequence[Mapping[str, Floats]],
    second: Sequence[Mapping[str, Floats]],
    level: float = 0.95,
    training_seeds: tuple[Sequence[int | None], Sequence[int | None]] | None = None,
    seed: int = 0,
) -> dict[str, list[float] | None]:
    """Compute percentile intervals of the differences between two methods on the same samples.

    A resample draws the same groups for both, and crossed with them, also with replacement, as many training seeds as a
    method has; its figure is the mean over the seeds drawn. The interval says what another test set from the same
    source and another training with other seeds would do to the difference of the two means. Methods that were trained
    with the same seeds are paired by seed; else each draws its own. Of n seeds a bootstrap shows (n - 1) / n of the
    variance between seeds, and of one seed nothing.

    Args:
        first: `resampled_figures` of each seed of one method, S of them.
        second: Of the other, T of them, on the same samples in the same order, with the same groups and seed of the
            draws.
        level: Of the interval, in (0, 1).
        training_seeds: S and T seeds; None: not known, drawn independently.
        seed: Of the draws of training seeds, which are a stream of their own beside those of groups.

    Returns:
        [low, high] of first - second for each figure that all of them have; None where it is undefined in every
        resample. Resamples in which a figure is undefined for a seed drawn are left out for it.

    Example:
        >>> import torch
        >>> from ibca_lightning.metrics.intervals import paired_intervals, resampled_figures
        >>> labels = torch.tensor([[1], [1], [0], [0]])
        >>> good, bad = torch.tensor([[0.9], [0.8], [0.2], [0.1]]), torch.tensor([[0.1], [0.2], [0.8], [0.9]])
        >>> ours, theirs = (resampled_figures(own, labels) for own in (good, bad))
        >>> paired_intervals([ours], [theirs])["AUROC"]  # 1 - 0 in every resample
        [1.0, 1.0]
    """
    names = [name for name in first[0] if all(name in drawn for drawn in (*first, *second))]
    if not names:
        return {}
    resamples = first[0][names[0]].size
    # Not the stream of `_weights`: the draws of seeds would follow those of groups.
    generator = np.random.default_rng([seed, 1])
    ours, theirs = (generator.integers(len(seeds), size=(resamples, len(seeds))).T for seeds in (first, second))
    if training_seeds is not None and _same_seeds(*training_seeds):
        draw = ours
        ours, theirs = (np.argsort(np.asarray(seeds))[draw] for seeds in training_seeds)
    return {
        name: _interval(_mean_of_drawn(first, name, ours) - _mean_of_drawn(second, name, theirs), level)
        for name in names
    }


def resampled_figures(
    probabilities: Tensor,
    labels: Tensor,
    groups: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    pairs: Mapping[str, Tensor] | None = None,
    class_figures: Sequence[str] | None = None,
) -> dict[str, Floats]:
    """Compute every figure of `metrics` in each resample.

    Args:
        probabilities: As for `bootstrap_intervals`, and so are all others.
        labels: (B, L).
        groups: B names.
        resamples: R.
        seed: Of the draws.
        pairs: Each (B, L).
        class_figures: L names under which the AP of each class is returned too; None leaves them out.

    Returns:
        (R,) for each figure, NaN where it is undefined.

    Raises:
        InputError: As `bootstrap_intervals`.

    Example:
        >>> import torch
        >>> from ibca_lightning.metrics.intervals import resampled_figures
        >>> drawn = resampled_figures(torch.tensor([[0.9], [0.1]]), torch.tensor([[1], [0]]), resamples=200)
        >>> drawn["mAP"].shape  # NaN in the half of the resamples that draw one picture twice
        (200,)
    """
    classes = class_figures is not None
    drawn = _resampled(probabilities, labels, groups, resamples, seed, pairs, None, classes=classes)
    found = drawn.get("intervals", {})
    if class_figures is not None and drawn:
        found |= dict(zip(class_figures, drawn["per_class_intervals"]["AP"].T, strict=True))
    return found


def every_interval(
    probabilities: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
    thresholds: Sequence[float] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    pairs: Mapping[str, Tensor] | None = None,
) -> dict[str, dict[str, Any]]:
    """Compute percentile intervals of every figure: overall, at the stored thresholds, and of each class.

    Args:
        probabilities: As for `bootstrap_intervals`, and so are all others but these two.
        labels: (B, L).
        class_names: L names.
        groups: B names.
        thresholds: (L,) stored thresholds; None leaves their intervals out.
        resamples: R.
        seed: Of the draws.
        level: In (0, 1).
        pairs: Each (B, L).

    Returns:
        `intervals` as from `bootstrap_intervals`; `per_class_intervals`, by class name, of each figure of `per_class`
        that is no count; `tuned_intervals` and `tuned_per_class_intervals`, of `tuned` and `tuned_per_class`.

    Raises:
        InputError: As `bootstrap_intervals`.
    """
    drawn = _resampled(probabilities, labels, groups, resamples, seed, pairs, thresholds, classes=True)
    result: dict[str, dict[str, Any]] = {}
    for kind in ("intervals", "tuned_intervals"):
        result[kind] = {name: _interval(values, level) for name, values in drawn.get(kind, {}).items()}
        by_class = drawn.get(_of_classes(kind), {})
        result[_of_classes(kind)] = {
            name: {figure: _interval(values[:, i], level) for figure, values in by_class.items()}
            for i, name in enumerate(class_names)
            if by_class
        }
    return result


def _of_classes(kind: str) -> str:
    return kind.replace("intervals", "per_class_intervals")


def _resampled(
    probabilities: Tensor,
    labels: Tensor,
    groups: Sequence[str] | None,
    resamples: int,
    seed: int,
    pairs: Mapping[str, Tensor] | None,
    thresholds: Sequence[float] | None,
    *,
    classes: bool,
) -> dict[str, dict[str, Floats]]:
    """Every figure in each resample, by the keys of `every_interval`: (R,), and (R, L) for those of classes."""
    scores, target = checked_arrays(probabilities, labels)
    if groups is not None and len(groups) != len(scores):
        raise InputError(f"{len(scores)} groups", len(groups), "give one for each sample")
    given = list(zip(scores.T, target.T, strict=True))
    curves, binned = [_Curve(*own) for own in given], [Binned(*own) for own in given]
    positive, negative = target == 1, target == 0
    columns = [positive, negative]
    for points in (0.5, *(() if thresholds is None else (np.asarray(thresholds, dtype=np.float64),))):
        predicted = scores > points
        columns += [positive & predicted, (positive | negative) & predicted]
    counted = np.concatenate(columns, axis=1).astype(np.float32)
    values = {name: column.detach().cpu().double().numpy() for name, column in (pairs or {}).items()}
    drawn: list[dict[str, dict[str, Floats]]] = []
    for weights in _weights(groups, len(scores), resamples, seed):
        totals = np.split((weights.T @ counted).astype(np.float64), len(columns), axis=1)
        counts = Counts(*totals[2:4], *totals[:2])
        errors = calibration_errors(binned, weights, counts)
        by_class = _ranking_figures(curves, weights, counts)
        overall = {name: class_mean(column, counts.defined) for name, column in by_class.items()}
        overall["mAP"] = overall.pop("AP")
        overall |= overall_figures(counts) | {name: errors[name] for name in ("ECE", "class_ECE")}
        chunk = {"intervals": overall | averages(values, weights)}
        if classes:
            by_class |= per_class_figures(counts) | {"ECE": errors["per_class"]}
            by_class = {name: np.where(counts.defined, column, np.nan) for name, column in by_class.items()}
            chunk["per_class_intervals"] = by_class | class_averages(values, weights)
        if thresholds is not None:
            tuned = Counts(*totals[4:], *totals[:2])
            chunk["tuned_intervals"] = overall_figures(tuned)
            if classes:
                chunk["tuned_per_class_intervals"] = per_class_figures(tuned)
        drawn.append(chunk)
    return {
        kind: {name: np.concatenate([chunk[kind][name] for chunk in drawn]) for name in figures}
        for kind, figures in (drawn[0] if drawn else {}).items()
    }


def _same_seeds(first: Sequence[int | None], second: Sequence[int | None]) -> bool:
    """Whether the two were trained with the same seeds, each known and used once."""
    return None not in first and len(set(first)) == len(first) == len(second) and set(first) == set(second)


def _mean_of_drawn(seeds: Sequence[Mapping[str, Floats]], name: str, drawn: NDArray[np.int64]) -> Floats:
    """The mean of a figure over the seeds that each resample draws, (S, R): (R,)."""
    values = np.stack([figures[name] for figures in seeds])
    mean: Floats = values[drawn, np.arange(drawn.shape[1])].mean(axis=0)
    return mean


def _interval(values: Floats, level: float) -> list[float] | None:
    known = values[~np.isnan(values)]
    tails = [50 * (1 - level), 50 * (1 + level)]
    return np.percentile(known, tails).tolist() if known.size else None


class _Curve:
    """One class, sorted by score: what its ranking figures need under any weights.

    Only thresholds at which a positive is gained matter to AP, AUROC and the best sensitivity, so the sorted samples
    are summed between those ("steps") before anything is accumulated.

    Args:
        scores: (B,).
        labels: (B,) in {0, 1, -1}.
    """

    def __init__(self, scores: Floats, labels: NDArray[np.int64]) -> None:
        known = np.flatnonzero(labels >= 0)
        order = known[np.argsort(-scores[known], kind="stable")]
        scores, labels = scores[order], labels[order]
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(order) else np.array([], dtype=int)
        gained = np.diff(np.cumsum(labels)[last], prepend=0)  # positives at each distinct score
        ends = last[gained > 0]
        self.steps = len(ends)
        self.rows = order[: ends[-1] + 1] if self.steps else order[:0]
        self.starts = np.append(0, ends[:-1] + 1)
        self.positives = order[labels == 1]
        self.positive_starts = np.append(0, np.cumsum(gained[gained > 0])[:-1])
        # Negatives that share their score with a positive, and the steps they belong to.
        distinct = np.repeat(np.arange(len(last)), np.diff(last, prepend=-1))
        tied = (labels == 0) & (gained > 0)[distinct]
        self.tied = order[tied]
        step = (np.cumsum(gained > 0) - 1)[distinct[tied]]
        self.tied_steps, self.tied_starts = np.unique(step, return_index=True)

    def figures(self, weights: NDArray[np.float32], negatives: Floats) -> tuple[Floats, Floats, Floats]:
        """AP, AUROC and sensitivity at 95 % specificity under weights (B, R); (R,) each, NaN where undefined."""
        if not self.steps:
            undefined = np.full(weights.shape[1], np.nan)
            return undefined, undefined, undefined
        gained = np.add.reduceat(weights[self.positives], self.positive_starts, axis=0).astype(np.float64)
        hits = gained.cumsum(axis=0)
        chosen = np.add.reduceat(weights[self.rows], self.starts, axis=0).astype(np.float64).cumsum(axis=0)
        alarms = chosen - hits
        positives = hits[-1]
        average_precision = ratio((gained * ratio(hits, chosen, otherwise=0.0)).sum(axis=0), positives)
        # Each positive beats the negatives below it, and half of those beside it.
        beaten = (gained * (negatives - alarms)).sum(axis=0)
        if self.tied.size:
            beside = np.add.reduceat(weights[self.tied], self.tied_starts, axis=0).astype(np.float64)
            beaten += (gained[self.tied_steps] * beside).sum(axis=0) / 2
        area = ratio(beaten, positives * negatives)
        specific = 1 - ratio(alarms, negatives) >= SPECIFICITY
        sensitivity = ratio(np.where(specific, hits, 0.0).max(axis=0), positives)
        return average_precision, area, sensitivity


def _ranking_figures(curves: Sequence[_Curve], weights: NDArray[np.float32], counts: Counts) -> dict[str, Floats]:
    """AP, AUROC and sensitivity at 95 % specificity of each class, (R, L)."""
    per_class = [curve.figures(weights, counts.negatives[:, i]) for i, curve in enumerate(curves)]
    names = ("AP", "AUROC", "sensitivity_at_95_specificity")
    columns = (np.stack(column, axis=-1) for column in zip(*per_class, strict=True))
    return dict(zip(names, columns, strict=True))


def _weights(groups: Sequence[str] | None, samples: int, resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield how often each sample is drawn, (B, R), some resamples at a time, so that memory stays bounded."""
    codes = np.arange(samples) if groups is None else np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    number = int(codes.max()) + 1 if samples else 0
    generator = np.random.default_rng(seed)
    size = max(1, _CHUNK // max(samples, 1))
    for start in range(0, resamples, size):
        # One draw a resample, so that the resamples do not depend on the size of the chunks.
        draws = [generator.integers(max(number, 1), size=number) for _ in range(min(size, resamples - start))]
        yield np.stack([np.bincount(draw, minlength=number)[codes] for draw in draws], axis=1).astype(np.float32)
