"""Precision-recall and ROC curves of one class, exact: a point for every distinct score, ties as one threshold."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.metrics.operating_point import Floats, Labels, by_score


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


def curves(scores: Floats, labels: Labels) -> Curves | None:
    """Compute both curves, of probabilities (B,) and labels (B,) in {0, 1, -1}; unknown ones are left out.

    Returns:
        The curves; None without a positive or without a negative.
    """
    steps = cumulated(scores, labels)
    if steps is None:
        return None
    scores, hits, found = steps
    positives, known = hits[-1], found[-1]
    return Curves(scores, hits / positives, hits / found, (found - hits) / (known - positives))


def cumulated(scores: Floats, labels: Labels) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]] | None:
    """Distinct scores from high to low, the positives and all known labels at each and above; None as in `curves`."""
    known = np.flatnonzero(labels >= 0)
    order = known[by_score(scores[known])]
    scores, hits = scores[order], np.cumsum(labels[order], dtype=np.int64)
    if not len(order) or hits[-1] in (0, len(order)):
        return None
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    return scores[last], hits[last], last + 1
