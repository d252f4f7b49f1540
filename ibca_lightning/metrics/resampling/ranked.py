"""AP, AUROC and sensitivity at 95 % specificity of one class under many weights, from one sorting."""

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.metrics.multilabel import SPECIFICITY
from ibca_lightning.metrics.operating_point import Floats, ratio


class Ranked:
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
