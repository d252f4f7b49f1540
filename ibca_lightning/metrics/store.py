"""What an evaluation keeps of every sample, gathered over processes: logits, from which all else follows.

Figures over a data set are not means of batches, and a distributed sampler repeats samples so that every process has
as many: so each sample is kept with its index, and what was seen twice counts once.
"""

from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor

from ibca_lightning.system.errors import NonFiniteError


@dataclass(frozen=True)
class Stored:
    """Samples of a whole data set, on the CPU, each once, by ascending index.

    Attributes:
        index: (N,) int64.
        logits: (N, L) float32, before any calibration.
        labels: (N, L) int8 in {0, 1, -1}.
        pairs: Figures of (picture, class) pairs, each (N, L) float32, NaN where there is no such pair.
    """

    index: Tensor
    logits: Tensor
    labels: Tensor
    pairs: dict[str, Tensor]


class EvaluationStore:
    """Keeps index, logits, labels and pair figures of every sample until `compute`.

    All of it stays on the CPU: 100,000 samples of 20 classes are 10 MB that a device need not hold. `compute` gathers
    the batches as objects: it must be called on every process, works with gloo and nccl, with a process that saw no
    sample, and where only some samples have masks. Of torchmetrics' own gathering none of this holds.
    """

    def __init__(self) -> None:
        self._batches: list[Stored] = []
        self._whole: Stored | None = None

    def update(self, index: Tensor, logits: Tensor, labels: Tensor, pairs: dict[str, Tensor] | None = None) -> None:
        """Add a batch.

        Args:
            index: (B,) int64, the sample's place in its data set.
            logits: (B, L) float; infinite ones are certain.
            labels: (B, L) in {0, 1, -1}.
            pairs: Figures of (picture, class) pairs, each (B, L), NaN where there is no such pair.

        Raises:
            NonFiniteError: A logit is NaN.
        """
        index, logits = index.detach().cpu(), logits.detach().cpu().float()
        finite = ~logits.isnan().any(dim=1)
        if not finite.all():
            raise NonFiniteError(_diverged(index[~finite].tolist()))
        figures = {name: values.detach().cpu().float() for name, values in (pairs or {}).items()}
        self._batches.append(Stored(index.long(), logits, labels.detach().cpu().to(torch.int8), figures))
        self._whole = None

    def compute(self) -> Stored:
        """The samples of all processes: what was seen twice once, sorted by index; kept until the next `update`.

        Raises:
            RuntimeError: No process has stored a sample.
        """
        if self._whole is None:
            self._whole = _whole([batch for own in self._from_all_processes() for batch in own])
        return self._whole

    def _from_all_processes(self) -> list[list[Stored]]:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return [self._batches]
        gathered: list[list[Stored]] = [[]] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(gathered, self._batches)
        return gathered


def _whole(batches: list[Stored]) -> Stored:
    if not batches:
        raise RuntimeError("expected at least one stored sample, got none; call update before compute")
    index, order = torch.sort(torch.cat([batch.index for batch in batches]), stable=True)
    first = torch.ones_like(index, dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    order = order[first]
    pairs = {
        name: torch.cat([batch.pairs.get(name, torch.full_like(batch.logits, torch.nan)) for batch in batches])[order]
        for name in dict.fromkeys(name for batch in batches for name in batch.pairs)
    }
    logits, labels = (torch.cat([getattr(batch, name) for batch in batches])[order] for name in ("logits", "labels"))
    return Stored(index[first], logits, labels, pairs)


def _diverged(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
    return (
        f"finite probabilities, got NaN for the samples with index {shown}; training has diverged: lower "
        "the learning rate, or use more precision or gradient clipping"
    )
