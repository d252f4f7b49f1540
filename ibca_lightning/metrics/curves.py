"""Precision-recall and ROC curves of one class, exact: a point for every distinct score, ties as one threshold."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.metrics.operating_point import Floats


class Curves(NamedTuple):
    """The curves of one class with P positives and N negatives, at T thresholds from the highest score down.

    Attributes:
        thresholds: (T,) distinct scores; a point is what is found at this score and above.
        recall: (T,) share of the positives that are found.
        precision: (T,) share of positives in what is found.
        alarms: (T,) share of the negatives that are found (1 - specificity).
    """

    thresholds: Floats
    recall: Floats
    precision: Floats
    alarms: Floats


def curves(scores: Floats, labels: NDArray[np.int64]) -> Curves | None:
    """Compute both curves.

    Args:
        scores: (B,) probabilities.
        labels: (B,) in {0, 1, -1}; unknown ones are left out.

    Returns:
        The curves; None without a positive or without a negative.

    Example:
        >>> import numpy as np
        >>> from ibca_lightning.metrics.curves import curves
        >>> both = curves(np.array([0.9, 0.8, 0.8, 0.1]), np.array([1, 1, 0, 0]))
        >>> both.thresholds.tolist(), both.recall.tolist(), both.alarms.tolist()  # the two of 0.8 are one threshold
        ([0.9, 0.8, 0.1], [0.5, 1.0, 1.0], [0.0, 0.5, 1.0])
    """
    known = np.flatnonzero(labels >= 0)
    order = known[np.argsort(-scores[known], kind="stable")]
    positives = int(labels[order].sum())
    if positives in (0, len(order)):
        return None
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(labels[order])[last]
    found = last + 1
    return Curves(scores[order][last], hits / positives, hits / found, (found - hits) / (len(order) - positives))
