"""AP, AUROC and sensitivity at 95 % specificity of one class under many weights, from one sorting."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from ibca_lightning.metrics.operating_point import SPECIFICITY, Floats, Labels, by_score, ratio

_STEPS = 1024  # summed at once, so that they stay in the cache
_MOST = 2**15  # steps of a class


class Runs(NamedTuple):
    """K runs of places, one behind the other.

    Attributes:
        places: (B,), of rows of whatever is summed.
        starts: (K,), of the runs among them, whole numbers of the same type.
    """

    places: Tensor
    starts: Tensor

    def sums(self, values: Tensor) -> Tensor:
        """The rows of whole numbers (G, R) float32 at the places of each run, summed: (K, R) float64."""
        return embedding_bag(self.places, values, self.starts, mode="sum").double()


class Groups:
    """Of which of G groups each of N samples is: it weighs what its group does.

    Args:
        codes: (N,), from 0.
    """

    def __init__(self, codes: NDArray[np.intp]) -> None:
        self.codes, self.number = codes.astype(np.int32), int(codes.max(initial=-1)) + 1

    def runs(self, rows: NDArray[np.intp], ends: NDArray[np.intp]) -> Runs:
        """The groups of rows[ends[k]] to rows[ends[k + 1] - 1], a run for each k."""
        own, starts = self.codes[rows[ends[0] : ends[-1]]], (ends[:-1] - ends[0]).astype(np.int32)
        return Runs(torch.from_numpy(own), torch.from_numpy(starts))


class Ranked:
    """One class, sorted by score: what its ranking figures need under any weights.

    Only thresholds at which a positive is gained matter to AP, AUROC and the best sensitivity, so the sorted samples
    are summed between those ("steps") before anything is accumulated. Of more than 32,768 steps neighbours are joined,
    as if their scores were equal: that moved a figure by a tenth of its standard error at most where classes overlap,
    by 0.3 where a class is all but told apart.

    Args:
        scores: (B,) in [0, 1].
        labels: (B,) in {0, 1, -1}.
        groups: Of the samples.
    """

    def __init__(self, scores: Floats, labels: Labels, groups: Groups) -> None:
        known = np.flatnonzero(labels >= 0)
        order = known[by_score(scores[known])]
        scores, labels = scores[order], labels[order]
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(order) else np.array([], dtype=int)
        found = np.cumsum(labels)[last]
        steps = np.diff(found, prepend=0) > 0  # of the distinct scores, where positives are
        if (many := -(-int(steps.sum()) // _MOST)) > 1:
            at = np.flatnonzero(steps)
            kept = np.union1d(at[many - 1 :: many], [at[-1], len(last) - 1])
            last, found = last[kept], found[kept]
            steps = np.diff(found, prepend=0) > 0
        self.steps = int(steps.sum())
        chosen, gained = (np.append(0, ends[steps]) for ends in (last + 1, found))
        # Negatives that share their score with a positive, by step.
        beside = (labels == 0) & np.repeat(steps, np.diff(last, prepend=-1))
        tied = np.append(0, np.cumsum(beside)[last[steps]])
        rows = order, order[labels == 1], order[beside]
        # For each of some steps: all that are chosen there, the positives, and the negatives beside them.
        self._blocks = [
            [groups.runs(of, ends[at : at + _STEPS + 1]) for of, ends in zip(rows, (chosen, gained, tied), strict=True)]
            for at in range(0, self.steps, _STEPS)
        ]

    def figures(self, weights: NDArray[np.float32], negatives: Floats) -> tuple[Floats, Floats, Floats]:
        """AP, AUROC and sensitivity at 95 % specificity under weights (G, R); (R,) each, NaN where undefined."""
        if not self.steps:
            undefined = np.full(weights.shape[1], np.nan)
            return undefined, undefined, undefined
        each, below = torch.from_numpy(weights), torch.from_numpy(negatives)
        found, before, precision, beaten, most = torch.zeros((5, weights.shape[1]), dtype=torch.float64)
        for chosen, gained, tied in self._blocks:
            more, every = gained.sums(each), chosen.sums(each)
            more[0] += found
            every[0] += before
            hits, every = more.cumsum(dim=0), every.cumsum(dim=0)
            more[0] -= found
            found, none, before = hits[-1], not before.all(), every[-1].clone()
            alarms = every - hits
            ends = 1 - alarms[[0, -1]] / below >= SPECIFICITY  # there are more and more alarms
            if ends[1].all():
                most = hits[-1]
            elif ends[0].any():
                most = torch.maximum(most, (hits * (1 - alarms / below >= SPECIFICITY)).amax(dim=0))
            # Each positive beats the negatives below it, and half of those beside it.
            if len(tied.places):
                alarms -= tied.sums(each) / 2
            beaten -= (more * alarms).sum(dim=0)
            if none:
                every.clamp_(min=1)
            precision += (more * hits).div_(every).sum(dim=0)
        beaten += found * below
        positives, exact, won, top = (own.numpy() for own in (found, precision, beaten, most))
        return ratio(exact, positives), ratio(won, positives * negatives), ratio(top, positives)
