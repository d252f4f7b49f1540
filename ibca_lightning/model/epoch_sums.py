"""Losses summed over an epoch so far, so that its mean survives a stop in the middle of it."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor


class Part(NamedTuple):
    """What an earlier start of the run has seen of an epoch, as the share of this process."""

    mean: Tensor  # over the samples
    samples: int


class EpochSums:
    """Sums over the samples of an epoch, of this process while they grow and of all processes when they are saved."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._samples: dict[str, int] = {}
        self._earlier: dict[str, Part] = {}

    def clear(self) -> None:
        """Begin an epoch."""
        for held in (self._sums, self._samples, self._earlier):
            held.clear()

    def add(self, name: str, mean: Tensor, samples: int) -> Part | None:
        """Add the mean over a batch; the first time after `load_state_dict`, return what came before."""
        earlier = self._earlier.pop(name, None)
        for part in (earlier, Part(mean.detach(), samples)):
            if part is not None:
                # As float32 at least: a bfloat16 has 8 bits, and would lose what a batch adds to a long epoch.
                self._sums[name] = self._sums.get(name, 0.0) + part.mean.to(mean.device).float() * part.samples
                self._samples[name] = self._samples.get(name, 0) + part.samples
        return earlier

    def state_dict(self) -> dict[str, list[float]]:
        """Sum and number of samples of every name, over all processes; each of them must ask."""
        if not self._sums:
            return {}
        totals = torch.stack([torch.stack([s, s.new_tensor(self._samples[n])]) for n, s in self._sums.items()])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(totals)
        return dict(zip(self._sums, totals.tolist(), strict=True))

    def load_state_dict(self, state: Mapping[str, list[float]], processes: int, rank: int) -> None:
        """Take up an epoch: each process takes an equal part, the first ones a sample more where it does not divide."""
        self.clear()
        self._earlier = {
            # Checkpoints before the loss of steps and of epochs had names of their own call the latter so.
            "train/loss_epoch" if name == "train/loss" else name: Part(
                torch.tensor(total / samples), (int(samples) + processes - 1 - rank) // processes
            )
            for name, (total, samples) in state.items()
        }
