"""How sure is the difference between two methods on one test set, each trained with several seeds?"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.metrics.operating_point import Floats
from ibca_lightning.metrics.resampling.resamples import Resampled
from ibca_lightning.metrics.resampling.spread import quantile, variance


def paired_intervals(
    first: Sequence[Mapping[str, Resampled]],
    second: Sequence[Mapping[str, Resampled]],
    level: float = 0.95,
    training_seeds: tuple[Sequence[int | None], Sequence[int | None]] | None = None,
) -> dict[str, list[float] | None]:
    """Compute Student's intervals of the differences between two methods on the same samples.

    The interval says what another test set from the same source and another training with other seeds would do to the
    difference of the two means over seeds. Its variance is that of the difference in resamples, which draw the same
    groups for both, and that between seeds, V / n for n of them; its degrees of freedom are those of the two together
    (Satterthwaite 1946), for three seeds say little of V. Methods that were trained with the same seeds are paired by
    seed. **One seed says nothing of V: the interval is then of the test set alone.**

    Args:
        first: `resampled_figures` of each seed of one method, S of them.
        second: Of the other, T of them, on the same samples in the same order, with the same groups and seed of the
            draws.
        level: Of the interval, in (0, 1).
        training_seeds: S and T seeds; None: not known, taken for independent.

    Returns:
        [low, high] of first - second for each figure that all of them have; None where it is undefined for all seeds
        of a method, or rests on one group. Seeds for which it is undefined are left out, and resamples in which it is.

    Examples:
        >>> import torch
        >>> from ibca_lightning.metrics.resampling.paired import paired_intervals
        >>> from ibca_lightning.metrics.resampling.resamples import resampled_figures
        >>> labels = torch.tensor([[1], [1], [0], [0]])
        >>> good, bad = torch.tensor([[0.9], [0.8], [0.2], [0.1]]), torch.tensor([[0.1], [0.2], [0.8], [0.9]])
        >>> ours, theirs = (resampled_figures(own, labels) for own in (good, bad))
        >>> paired_intervals([ours], [theirs])["AUROC"]  # 1 - 0 in every resample
        [1.0, 1.0]
    """
    names = [name for name in first[0] if all(name in drawn for drawn in (*first, *second))]
    order = None
    if training_seeds is not None and _same_seeds(*training_seeds):
        order = [np.argsort(np.asarray(seeds)) for seeds in training_seeds]
    return {
        name: _interval([own[name] for own in first], [own[name] for own in second], order, level) for name in names
    }


def _same_seeds(first: Sequence[int | None], second: Sequence[int | None]) -> bool:
    """Whether the two were trained with the same seeds, each known and used once."""
    return None not in first and len(set(first)) == len(first) == len(second) and set(first) == set(second)


def _interval(
    first: Sequence[Resampled],
    second: Sequence[Resampled],
    order: Sequence[NDArray[np.int64]] | None,
    level: float,
) -> list[float] | None:
    values = [np.array([own.value for own in method]) for method in (first, second)]
    known = [~np.isnan(own) for own in values]
    groups = first[0].groups
    if not (known[0].any() and known[1].any()) or groups < 2:
        return None
    draws = [np.stack([own.draws for own in method]) for method in (first, second)]
    ours, theirs = (own[there].mean(axis=0) for own, there in zip(draws, known, strict=True))
    scatter = float(variance(ours - theirs, groups))
    if order is not None and known[0].all() and known[1].all():
        between = [_between(values[0][order[0]] - values[1][order[1]])]
    else:
        between = [_between(own[there]) for own, there in zip(values, known, strict=True)]
    parts = [(scatter, groups - 1), *(part for part in between if part[1])]
    total = sum(part for part, _ in parts)
    middle = values[0][known[0]].mean() - values[1][known[1]].mean()
    if not total:
        return [float(middle), float(middle)]
    freedom = total**2 / sum(part**2 / own for part, own in parts)
    half = float(quantile(freedom + 1, level)) * np.sqrt(total)
    return [float(middle - half), float(middle + half)]


def _between(values: Floats) -> tuple[float, float]:
    """Variance of a mean over seeds, and its degrees of freedom."""
    return (float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0), float(len(values) - 1)
