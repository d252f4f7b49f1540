"""Thresholds that give each class its best F1; to be chosen on validation data, never on the test set."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.metrics.multilabel import checked_arrays
from ibca_lightning.metrics.operating_point import Floats


def best_f1_thresholds(probabilities: Tensor, labels: Tensor) -> list[float]:
    """Choose the threshold of the best F1 for each class, for the decision probability > threshold.

    Candidates lie midway between neighbouring distinct scores, the lowest one midway between 0 and the lowest score.
    Of candidates with equal F1 the one nearest 0.5 is taken, of two equally near the higher. A float32 value is given
    wherever one separates the two scores, so that a threshold means the same in float32 and float64.

    Args:
        probabilities: (B, L) float in [0, 1].
        labels: (B, L) in {0, 1, -1}, -1 = unknown.

    Returns:
        L thresholds in [0, 1); 0.5 for a class without a positive or without a negative, and where no threshold finds
        a positive.

    Raises:
        InputError: As in `figures`.
    """
    scores, target = checked_arrays(probabilities, labels)
    return [_best_f1(column[known >= 0], known[known >= 0]) for column, known in zip(scores.T, target.T, strict=True)]


def _best_f1(scores: Floats, labels: NDArray[np.int64]) -> float:
    positives = int((labels == 1).sum())
    if positives in (0, len(labels)):
        return 0.5
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(labels[order])
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], scores[-1] > 0))  # nothing lies below a score of 0
    if not last.size or hits[last[-1]] == 0:
        return 0.5
    f1 = 2 * hits[last] / (last + 1 + positives)
    best = last[f1 == f1.max()]
    lower = np.append(scores, 0.0)[best + 1]
    thresholds = np.array([_between(low, high) for low, high in zip(lower, scores[best], strict=True)])
    return float(thresholds[np.argmin(np.abs(thresholds - 0.5))])


def _between(low: float, high: float) -> float:
    """Return a threshold t, low <= t < high, midway as far as the precision goes."""
    middle = low + (high - low) / 2
    for threshold in (float(np.float32(middle)), middle):
        if low <= threshold < high:
            return threshold
    return low
