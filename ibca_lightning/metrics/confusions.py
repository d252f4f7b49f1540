"""In what company a classifier errs, and which classes it finds together that exclude each other.

Shapes: B samples, L classes; rows of a matrix are the class that is wrong, columns the other class.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.metrics.operating_point import Floats, Labels, ratio

_MET = 5.0  # pictures with both of two classes that chance makes, of which none is there


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


def error_company(decided: NDArray[np.bool_], labels: Labels) -> dict[str, Company]:
    """Describe false positives and false negatives by the other classes.

    Args:
        decided: (B, L), predicted or not.
        labels: (B, L) in {0, 1, -1}; an unknown label is neither an error nor counted as company.

    Returns:
        By `false positive` and `false negative`. What is usual for a false positive are the pictures without the class,
        for a false negative those with it: a share far above it tells what the error goes along with.
    """
    result = {}
    present, known, predicted = (of.astype(np.float32) for of in (labels == 1, labels >= 0, decided))
    for kind, truth, wrong in (("false positive", 0, decided), ("false negative", 1, ~decided)):
        same = (labels == truth).astype(np.float32)
        erring = same * wrong
        shares = [
            ratio((rows.T @ of).astype(np.float64), (rows.T @ among).astype(np.float64))
            for of, among in ((present, known), (predicted, np.ones_like(known)))
            for rows in (erring, same)
        ]
        result[kind] = Company(erring.sum(axis=0, dtype=int), *shares)
    return result


def exclusive_together(
    decided: NDArray[np.bool_],
    labels: Labels,
    class_names: Sequence[str],
    seen: NDArray[np.int8] | None = None,
    columns: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:
    """Find classes that are predicted together though they exclude each other, or seem to.

    Classes of one column of words do, as a picture has one of them. Others seem to where no picture is labelled with
    both, and chance alone, were they independent, would have put them together in five or more: it leaves five expected
    pictures out in 7 of 1,000 cases. Rarer classes may not have met by chance.

    Args:
        decided: (B, L), predicted or not.
        labels: (B, L) in {0, 1, -1} of the same pictures.
        class_names: L names.
        seen: (N, L), labels of further pictures, such as those of the training set, that tell what excludes what.
        columns: The names of the classes of each column of which a picture has one at most.

    Returns:
        `pictures`, the number of pictures with such a pair, and `certain`, with one of a column; `found`, the pairs,
        the most frequent first: `classes` (two names), `pictures`, `expected`, how many of them chance would have
        labelled with both, and `certain`, whether they are of one column.
    """
    known = labels if seen is None else np.concatenate([labels, seen])
    positive, either = (known == 1).astype(np.float32), (known >= 0).astype(np.float32)
    share = ratio(positive.sum(axis=0, dtype=float), either.sum(axis=0, dtype=float), otherwise=0.0)
    expected = np.outer(share, share) * (either.T @ either)
    of = np.array([next((at for at, own in enumerate(columns) if name in own), -1) for name in class_names])
    certain = np.triu((of[:, None] == of) & (of >= 0), 1)
    excluded = np.triu((expected >= _MET) & (positive.T @ positive == 0), 1) | certain
    here = either[: len(labels)]
    expected = np.outer(share, share) * (here.T @ here)  # of the pictures that were decided
    found = decided.astype(np.float32)
    together = np.where(excluded, found.T @ found, 0).astype(int)
    pairs = sorted(zip(*map(np.ndarray.tolist, np.nonzero(together)), strict=True), key=lambda at: -together[at])
    if not pairs:
        return {"pictures": 0, "certain": 0, "found": []}
    return {
        "pictures": int((((found @ excluded) > 0) & decided).any(axis=1).sum()),
        "certain": int((((found @ certain) > 0) & decided).any(axis=1).sum()),
        "found": [
            {
                "classes": [class_names[one], class_names[other]], "pictures": int(together[one, other]),
                "expected": round(float(expected[one, other]), 1), "certain": bool(certain[one, other]),
            }
            for one, other in pairs
        ],
    }  # fmt: skip
