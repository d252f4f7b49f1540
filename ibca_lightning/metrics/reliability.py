"""Do probabilities mean what they say? Reliability curves and the expected calibration error (ECE).

Probabilities are sorted into `BINS` bins of equal width, and in each the mean probability is held against the share of
positives. The ECE is the mean absolute difference, each bin weighing by its number of known labels (Naeini et al.,
AAAI 2015; for each class as a binary problem, so the probability of the positive, not the confidence).

Shapes: B samples, L classes, R resamples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ibca_lightning.metrics.operating_point import Counts, Floats, Labels, class_mean, known_rows, number, ratio

BINS = 15


class Binned:
    """One class, (B,) scores and labels, sorted into bins: what its calibration error needs under any weights.

    Args:
        scores: (B,).
        labels: (B,) in {0, 1, -1}.
        codes: (B,), of which of `groups` groups each sample is.
        groups: G.
    """

    def __init__(self, scores: Floats, labels: Labels, codes: NDArray[np.int32], groups: int) -> None:
        known = known_rows(labels)
        scores = scores[known]
        bins, residuals = _bin(scores), scores - labels[known]
        summed = np.bincount(bins * groups + codes[known], residuals, BINS * groups)
        self._residuals = csr_array(summed.reshape(BINS, groups))  # type: ignore[no-untyped-call]
        # (BINS,), of the gaps, if the probabilities are right and the samples independent.
        self.variances: Floats = np.bincount(bins, scores * (1 - scores), BINS).astype(np.float64)

    def gaps(self, weights: NDArray[np.float32]) -> Floats:
        """Sum of probability less label in each bin under weights (G, R); (BINS, R)."""
        found: Floats = self._residuals @ weights
        return found


def gaps_of_parts(scores: Floats, labels: Labels, parts: NDArray[np.int64], number: int) -> Floats:
    """Sum of probability less label in each bin, of each of so many parts of the rows.

    Args:
        scores: (B, L).
        labels: (B, L) in {0, 1, -1}.
        parts: (B,), from 0.
        number: G.

    Returns:
        (G, L, BINS), for `calibration_errors`.
    """
    found = np.zeros((number, scores.shape[1], BINS))
    for label in range(scores.shape[1]):
        known = known_rows(labels[:, label])
        own = scores[known, label]
        places = parts[known] * BINS + _bin(own)
        found[:, label] = np.bincount(places, own - labels[known, label], number * BINS).reshape(number, BINS)
    return found


def calibration_errors(gaps: Floats, counts: Counts) -> dict[str, Floats]:
    """Compute every calibration error under weights.

    Args:
        gaps: (R, L, BINS), those of `Binned.gaps` of each class.
        counts: (R, L), of positives and negatives under the same weights.

    Returns:
        `per_class` (R, L), NaN for a class without a positive or without a negative; `class_ECE` (R,), their mean;
        `ECE` (R,), of all known labels of all classes together, NaN without a single positive.
    """
    known = counts.positives + counts.negatives
    per_class = ratio(np.abs(gaps).sum(axis=-1), known) + np.where(counts.defined, 0.0, np.nan)
    together = ratio(np.abs(gaps.sum(axis=-2)).sum(axis=-1), known.sum(axis=-1))
    return {
        "per_class": per_class,
        "class_ECE": class_mean(per_class, counts.defined),
        "ECE": np.where(counts.positives.sum(axis=-1) > 0, together, np.nan),
    }


def reliability_curves(scores: Floats, labels: Labels, class_names: Sequence[str]) -> dict[str, Any]:
    """Give the reliability curve of all classes together, and of each, from probabilities and labels (B, L).

    Returns:
        `bins`: their number; bin i reaches from i / bins up to (i + 1) / bins. `curve`, and `per_class` by name:
        {"count": known labels in each bin, "probability": their mean probability, "frequency": the share of positives},
        None where a bin is empty.
    """
    sums = np.zeros((labels.shape[1], 3, BINS))
    for label, own in enumerate(sums):
        known = known_rows(labels[:, label])
        probabilities = scores[known, label]
        bins = _bin(probabilities)
        own[:] = [np.bincount(bins, values, BINS) for values in (None, probabilities, labels[known, label])]
    return {
        "bins": BINS,
        "curve": _curve(sums.sum(axis=0)),
        "per_class": {name: _curve(own) for name, own in zip(class_names, sums, strict=True)},
    }


def _curve(sums: Floats) -> dict[str, list[Any]]:
    """From the numbers in each bin, and the sums of probabilities and labels, (3, BINS)."""
    probability, frequency = ([number(value) for value in ratio(total, sums[0])] for total in sums[1:])
    return {"count": sums[0].astype(int).tolist(), "probability": probability, "frequency": frequency}


def _bin(scores: Floats) -> NDArray[np.int64]:
    return np.minimum((scores * BINS).astype(np.int64), BINS - 1)
