"""In what company a classifier errs: which other classes are there, or are found, where one is wrong.

Shapes: B samples, L classes; rows of a matrix are the class that is wrong, columns the other class.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.metrics.operating_point import Floats, ratio


class Company(NamedTuple):
    """One kind of error.

    Attributes:
        errors: (L,) int64, pictures in which the class is wrong in this way.
        present: (L, L) share of these pictures in which the other class is present; NaN where none has a known label.
        present_usually: (L, L) the same share of all pictures with the same label of the first class.
        predicted: (L, L) share of these pictures in which the other class is predicted.
        predicted_usually: (L, L) the same share of all pictures with the same label of the first class.
    """

    errors: NDArray[np.int64]
    present: Floats
    present_usually: Floats
    predicted: Floats
    predicted_usually: Floats


def error_company(decided: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[str, Company]:
    """Describe false positives and false negatives by the other classes.

    Args:
        decided: (B, L), predicted or not.
        labels: (B, L) in {0, 1, -1}; an unknown label is neither an error nor counted as company.

    Returns:
        By `false positive` and `false negative`. What is usual for a false positive are the pictures without the class,
        for a false negative those with it: a share far above it tells what the error goes along with.
    """
    result = {}
    for kind, truth, wrong in (("false positive", 0, decided), ("false negative", 1, ~decided)):
        same = labels == truth
        erring = same & wrong
        shares = [
            _shares(rows, of, known)
            for of, known in ((labels == 1, labels >= 0), (decided, np.ones_like(decided)))
            for rows in (erring, same)
        ]
        result[kind] = Company(erring.sum(axis=0), *shares)
    return result


def _shares(rows: NDArray[np.bool_], of: NDArray[np.bool_], known: NDArray[np.bool_]) -> Floats:
    """Of the rows of each class (B, L), the share in which each other class is so, where that is known; (L, L)."""
    chosen = rows.astype(np.float64)
    return ratio(chosen.T @ of.astype(np.float64), chosen.T @ known.astype(np.float64))
