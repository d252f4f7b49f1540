"""Which rows an epoch trains on, in which order: a function of seed and epoch, shared by all processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from ibca_lightning.system.errors import InputError


class Draw(int):
    """The row of a draw, and the seed of what is drawn at random for its item (see `loader.Guard`).

    The seed belongs to the place in the epoch: however many workers and processes there are, and wherever an epoch is
    taken up again, the same picture is augmented alike.
    """

    seed: int


class EpochSampler(DistributedSampler[int]):
    """Every row once an epoch, shuffled.

    All processes know one sequence of draws, a function of seed and epoch, and take every `num_replicas`-th of it: so
    batch after batch they train together on what one process with a batch as large as all of theirs would. It is a
    DistributedSampler because Lightning leaves those in place under DDP, and tells them the epoch; for whoever goes
    through a loader by hand each pass is the next epoch.

    Args:
        dataset: The training set, N items.
        seed: Of the draws; the same in all processes.
        num_replicas: Number of processes.
        rank: Of this process.
        drop_last: Leave the rest of N / num_replicas out; otherwise the first rows are repeated.

    Attributes:
        skip: Draws of this process that its next pass leaves out, to go on in the middle of an epoch.
    """

    skip = 0

    def __init__(
        self, dataset: Dataset[object], seed: int, num_replicas: int = 1, rank: int = 0, drop_last: bool = False
    ) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, seed=seed, drop_last=drop_last)

    def __iter__(self) -> Iterator[Draw]:
        random = np.random.default_rng((self.seed, self.epoch))
        rows = self.rows(random)
        if (arranged := getattr(self.dataset, "arranged", None)) is not None:  # in shards, which are read in turn
            rows = arranged(rows, random)
        rows = np.resize(rows, self.total_size)
        seeds = np.random.default_rng((self.seed, self.epoch, 1)).integers(2**63, size=len(rows))
        own = slice(self.rank + self.skip * self.num_replicas, None, self.num_replicas)
        self.epoch, self.skip = self.epoch + 1, 0
        for row, seed in zip(rows[own].tolist(), seeds[own].tolist(), strict=True):
            draw = Draw(row)
            draw.seed = seed
            yield draw

    def rows(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Draw the rows of an epoch, for all processes: of more than `total_size` the last are left out."""
        return random.permutation(len(self.dataset))  # type: ignore[arg-type]


def class_balanced_weights(labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """Probability of each row when a class is drawn first, each alike, and then one of its positives, each alike.

    Rows without a positive count as one class more; classes without a positive as none. So row i has the probability
    sum over its classes c of 1 / (C n_c), with n_c positives of class c and C classes. Source: class-aware sampling,
    Shen et al., ECCV 2016, arXiv 1512.05830. A class that comes along with others is still seen more often than they.

    Args:
        labels: (N, L) in {0, 1, -1}.

    Raises:
        InputError: If there is no row.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.data.sampling import class_balanced_weights
        >>> labels = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.int8)  # half of the draws each
        >>> class_balanced_weights(labels).tolist()
        [0.125, 0.125, 0.125, 0.125, 0.5]
    """
    if not len(labels):
        raise InputError("rows to train on", "none", "check the training table")
    positive = labels == 1
    member = np.column_stack([positive, ~positive.any(axis=1)])
    counts = member.sum(axis=0)
    share = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
    weights = member @ share
    return np.asarray(weights / weights.sum(), dtype=np.float64)


class BalancedSampler(EpochSampler):
    """As many draws an epoch as there are rows, with replacement, by `class_balanced_weights` of labels (N, L).

    Where the processes cannot share them evenly, `drop_last` draws fewer rather than more.
    """

    def __init__(self, dataset: Dataset[object], labels: NDArray[np.int8], seed: int, **processes: Any) -> None:
        super().__init__(dataset, seed, **processes)
        self._cumulative = class_balanced_weights(labels).cumsum()

    def rows(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Draw the rows of an epoch, for all processes: of more than `total_size` the last are left out."""
        draws = random.random(max(len(self._cumulative), self.total_size)) * self._cumulative[-1]
        return np.asarray(np.searchsorted(self._cumulative, draws, side="right"), dtype=np.int64)
