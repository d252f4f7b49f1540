"""What an evaluation keeps of every sample, gathered over processes: logits, from which all else follows.

Figures over a data set are not means of batches, and a distributed sampler repeats samples so that every process has
as many: so each sample is kept with its index, and what was seen twice counts once.
"""

from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torchmetrics import Metric

from ibca_lightning.system.errors import NonFiniteError


class Stored:
    """Samples of a whole data set, on the CPU, each once, by ascending index.

    Not a tuple: torchmetrics squeezes tensors of one element out of tuples, and one sample must stay (1, L).

    Attributes:
        index: (N,) int64.
        logits: (N, L) float32, before any calibration.
        labels: (N, L) int8 in {0, 1, -1}.
        pairs: Figures of (picture, class) pairs, each (N, L) float32, NaN where there is no such pair.
    """

    def __init__(self, index: Tensor, logits: Tensor, labels: Tensor, pairs: dict[str, Tensor]) -> None:
        self.index, self.logits, self.labels, self.pairs = index, logits, labels, pairs


class EvaluationStore(Metric):
    """Keeps index, logits, labels and pair figures of every sample until `compute`.

    The states stay on the CPU: 100,000 samples of 20 classes are 10 MB that a device need not hold. `compute` gathers
    them itself, as objects: it must be called on every process, works with gloo and nccl, with a process that saw no
    sample, and where only some samples have masks.

    Example:
        >>> import torch
        >>> from ibca_lightning.metrics.store import EvaluationStore
        >>> store = EvaluationStore()
        >>> store.update(torch.tensor([1, 0]), torch.tensor([[2.0], [-1.0]]), torch.tensor([[1], [0]]))
        >>> store.update(torch.tensor([1]), torch.tensor([[2.0]]), torch.tensor([[1]]))  # a sampler repeated picture 1
        >>> stored = store.compute()
        >>> stored.index.tolist(), stored.logits.tolist()
        ([0, 1], [[-1.0], [2.0]])
    """

    full_state_update = False
    index: list[Tensor]
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        # torchmetrics' own gathering needs the states on the device under nccl, and equal shapes and types everywhere.
        super().__init__(sync_on_compute=False)
        for name in ("index", "logits", "labels"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._pairs: list[dict[str, Tensor]] = []

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
        self.index.append(index.long())
        self.logits.append(logits)
        self.labels.append(labels.detach().cpu().to(torch.int8))
        self._pairs.append({name: values.detach().cpu().float() for name, values in (pairs or {}).items()})

    def compute(self) -> Stored:
        """Gather, drop what was seen twice, sort by index.

        Returns:
            The samples of all processes.

        Raises:
            RuntimeError: No process has stored a sample.
        """
        batches = list(zip(self.index, self.logits, self.labels, self._pairs, strict=True))
        batches = [batch for own in self._from_all_processes(batches) for batch in own]
        if not batches:
            raise RuntimeError("expected at least one stored sample, got none; call update before compute")
        index = torch.cat([batch[0] for batch in batches])
        logits = torch.cat([batch[1] for batch in batches])
        labels = torch.cat([batch[2] for batch in batches])
        pairs = {
            name: torch.cat([batch[3].get(name, torch.full_like(batch[1], torch.nan)) for batch in batches])
            for name in dict.fromkeys(name for batch in batches for name in batch[3])
        }
        index, order = torch.sort(index, stable=True)
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        order = order[first]
        return Stored(
            index[first],
            logits[order],
            labels[order],
            {name: values[order] for name, values in pairs.items()},
        )

    def reset(self) -> None:
        """Forget every sample."""
        super().reset()
        self._pairs = []

    def _from_all_processes(self, own: list[Any]) -> list[list[Any]]:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return [own]
        gathered: list[Any] = [None] * torch.distributed.get_world_size(self.process_group)
        torch.distributed.all_gather_object(gathered, own, group=self.process_group)
        return gathered


def _diverged(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
    return (
        f"finite probabilities, got NaN for the samples with index {shown}; training has diverged: lower "
        "the learning rate, or use more precision or gradient clipping"
    )
