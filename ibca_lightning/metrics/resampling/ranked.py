"""AP, AUROC and sensitivity at 95 % specificity of one class under many weights, from one sorting."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ibca_lightning.metrics.multilabel import SPECIFICITY
from ibca_lightning.metrics.operating_point import Floats, ratio

_STEPS = 2048  # summed at once, so that they stay in the cache


class Groups:
    """Of which of G groups each of N samples is: sums over weighted samples are sums over weighted groups.

    Args:
        codes: (N,), from 0.
    """

    def __init__(self, codes: NDArray[np.intp]) -> None:
        self.codes, self.number = codes.astype(np.int32), int(codes.max(initial=-1)) + 1
        self._ones = np.ones(len(codes), np.float32)

    def sums(self, rows: NDArray[np.intp], ends: NDArray[np.intp]) -> csr_array:
        """The matrix (K, G) whose product with weights (G, R) sums those of rows[ends[k]] to rows[ends[k + 1] - 1]."""
        own = self.codes[rows[ends[0] : ends[-1]]]
        cells, shape = (self._ones[: len(own)], own, ends - ends[0]), (len(ends) - 1, self.number)
        return csr_array(cells, shape=shape)  # type: ignore[no-untyped-call]


class Ranked:
    """One class, sorted by score: what its ranking figures need under any weights.

    Only thresholds at which a positive is gained matter to AP, AUROC and the best sensitivity, so the sorted samples
    are summed between those ("steps") before anything is accumulated.

    Args:
        scores: (B,).
        labels: (B,) in {0, 1, -1}.
        groups: Of the samples.
    """

    def __init__(self, scores: Floats, labels: NDArray[np.int64], groups: Groups) -> None:
        known = np.flatnonzero(labels >= 0)
        order = known[np.argsort(-scores[known], kind="stable")]
        scores, labels = scores[order], labels[order]
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(order) else np.array([], dtype=int)
        found = np.cumsum(labels)[last]
        steps = np.diff(found, prepend=0) > 0  # of the distinct scores, where positives are
        self.steps = int(steps.sum())
        chosen, gained = (np.append(0, ends[steps]) for ends in (last + 1, found))
        # Negatives that share their score with a positive, by step.
        beside = (labels == 0) & np.repeat(steps, np.diff(last, prepend=-1))
        tied = np.append(0, np.cumsum(beside)[last[steps]])
        rows = order, order[labels == 1], order[beside]
        # For each of some steps: all that are chosen there, the positives, and the negatives beside them.
        self._blocks = [
            [groups.sums(of, ends[at : at + _STEPS + 1]) for of, ends in zip(rows, (chosen, gained, tied), strict=True)]
            for at in range(0, self.steps, _STEPS)
        ]

    def figures(self, weights: NDArray[np.float32], negatives: Floats) -> tuple[Floats, Floats, Floats]:
        """AP, AUROC and sensitivity at 95 % specificity under weights (G, R); (R,) each, NaN where undefined."""
        if not self.steps:
            undefined = np.full(weights.shape[1], np.nan)
            return undefined, undefined, undefined
        found, before, precision, beaten, most = np.zeros((5, weights.shape[1]))
        for chosen, gained, tied in self._blocks:
            more = (gained @ weights).astype(np.float64)
            hits = more.cumsum(axis=0) + found
            every = (chosen @ weights).cumsum(axis=0, dtype=np.float64) + before
            found, before = hits[-1], every[-1]
            alarms = every - hits
            precision += (more * np.divide(hits, np.maximum(every, 1))).sum(axis=0)
            # Each positive beats the negatives below it, and half of those beside it.
            beaten += (more * (negatives - alarms)).sum(axis=0)
            if tied.nnz:
                beaten += (more * (tied @ weights)).sum(axis=0) / 2
            specific = 1 - ratio(alarms, negatives) >= SPECIFICITY
            most = np.maximum(most, np.where(specific, hits, 0.0).max(axis=0))
        return ratio(precision, found), ratio(beaten, found * negatives), ratio(most, found)
