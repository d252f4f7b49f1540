"""Precision, recall and their kin at one threshold a class, from counts.

The counts may carry leading dimensions (one row a bootstrap resample), so that a point estimate and its interval come
from the same lines. NaN stands for "undefined" inside this package; `number` turns it into None at the door.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.signedinteger[Any]]
SPECIFICITY = 0.95  # where the sensitivity of `sensitivity_at_95_specificity` is read


class Counts(NamedTuple):
    """Totals over the known labels of each class; each (..., L) float64, whole numbers.

    Attributes:
        true_positives: Positives that are predicted.
        predicted: Known labels, positive or negative, that are predicted.
        positives: Known labels that are 1.
        negatives: Known labels that are 0.
    """

    true_positives: Floats
    predicted: Floats
    positives: Floats
    negatives: Floats

    @property
    def defined(self) -> NDArray[np.bool_]:
        """Classes with both a positive and a negative, (..., L): only these enter a mean over classes."""
        return (self.positives > 0) & (self.negatives > 0)


def count(scores: Floats, labels: Labels, thresholds: Floats, starts: NDArray[np.int64] | None = None) -> Counts:
    """Count what `scores > thresholds` gets right.

    Args:
        scores: (B, L) probabilities.
        labels: (B, L) in {0, 1, -1}, -1 = unknown.
        thresholds: (L,), a score equal to its threshold is not predicted.
        starts: (G,), the first rows of parts that are counted each for itself; None counts all rows together.

    Returns:
        Counts of shape (L,), or (G, L).
    """
    predicted = scores > thresholds
    positive, negative = labels == 1, labels == 0
    totals = (positive & predicted, (positive | negative) & predicted, positive, negative)
    return Counts(*(summed(total, starts) for total in totals))


def summed(values: NDArray[np.bool_], starts: NDArray[np.int64] | None) -> Floats:
    """How often each column (B, L) holds, in all or by the parts of `count`."""
    totals: Floats
    if starts is None:
        totals = values.sum(axis=0, dtype=np.float64)
    else:
        totals = np.add.reduceat(values, starts, axis=0, dtype=np.float64)
    return totals


def known_rows(labels: Labels) -> slice | NDArray[np.intp]:
    """Return the rows of labels (B,) that are known, as an index; where all are it copies nothing."""
    known = labels >= 0
    return slice(None) if known.all() else np.flatnonzero(known)


def by_score(scores: Floats) -> NDArray[np.intp]:
    """Return the places of scores (B,) in [0, 1] from the highest to the lowest, of equal ones the first one first.

    The bits of such numbers are whole numbers in the same order, which torch sorts by their digits, in a third of the
    time.
    """
    keys = np.float64(1).view(np.int64) - np.add(scores, 0.0, dtype=np.float64).view(np.int64)  # -0.0 becomes 0.0
    order: NDArray[np.intp] = torch.from_numpy(keys).sort(stable=True).indices.numpy()
    return order


def ratio(numerator: Floats, denominator: Floats, otherwise: float = np.nan) -> Floats:
    """Divide without a warning; `otherwise` is the result where the denominator is 0."""
    result = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), otherwise)
    np.divide(numerator, denominator, out=result, where=np.broadcast_to(denominator, result.shape) != 0)
    return result


def harmonic_mean(precision: Floats, recall: Floats) -> Floats:
    """Return 2·P·R / (P + R): 0 if both are 0, NaN if either is NaN."""
    return ratio(2 * precision * recall, precision + recall, otherwise=0.0)


def class_mean(values: Floats, defined: NDArray[np.bool_]) -> Floats:
    """Average (..., L) over the defined classes; NaN where there is none."""
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))


def per_class_figures(counts: Counts) -> dict[str, Floats]:
    """Precision, recall, F1 and specificity of each class (..., L).

    NaN for a class without a positive or without a negative; precision is 0 where nothing is predicted.
    """
    true_positives, predicted, positives, negatives = counts
    undefined = np.where(counts.defined, 0.0, np.nan)
    precision = ratio(true_positives, predicted, otherwise=0.0) + undefined
    recall = ratio(true_positives, positives) + undefined
    false_positives = predicted - true_positives
    return {
        "precision": precision,
        "recall": recall,
        "F1": harmonic_mean(precision, recall),
        "specificity": ratio(negatives - false_positives, negatives) + undefined,
    }


def overall_figures(counts: Counts) -> dict[str, Floats]:
    """CP, CR, CF1, OP, OR, OF1, sensitivity and specificity.

    CP, CR and specificity are means over the defined classes (CR is also the sensitivity), CF1 the harmonic mean of CP
    and CR (not the mean of the classes' F1). OP, OR and OF1 come from totals over all known labels of all classes;
    without a single positive among them the three are undefined.

    Returns:
        Arrays (...,), NaN where undefined.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.metrics.operating_point import Counts, overall_figures
        >>> hits, predicted, positives, negatives = np.array([[9.0, 0.0], [9.0, 2.0], [10.0, 1.0], [90.0, 99.0]])
        >>> float(overall_figures(Counts(hits, predicted, positives, negatives))["CP"])  # the mean of 1 and 0
        0.5
    """
    per_class = per_class_figures(counts)
    class_precision = class_mean(per_class["precision"], counts.defined)
    class_recall = class_mean(per_class["recall"], counts.defined)
    true_positives, predicted, positives, _ = (total.sum(axis=-1) for total in counts)
    overall_recall = ratio(true_positives, positives)
    overall_precision = ratio(true_positives, predicted, otherwise=0.0) + 0 * overall_recall
    return {
        "CP": class_precision,
        "CR": class_recall,
        "CF1": harmonic_mean(class_precision, class_recall),
        "OP": overall_precision,
        "OR": overall_recall,
        "OF1": harmonic_mean(overall_precision, overall_recall),
        "sensitivity": class_recall,
        "specificity": class_mean(per_class["specificity"], counts.defined),
    }


def number(value: float | Floats) -> float | None:
    """Turn one figure into what JSON can hold: a float, or None for NaN."""
    return None if np.isnan(value) else float(value)
