"""What an evaluation keeps of every sample, gathered over processes: logits, from which all else follows, and names.

Figures over a data set are not means of batches, and a distributed sampler repeats samples so that every process has
as many: so each sample is kept with its index, and what was seen twice counts once.
"""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.system.errors import InputError, NonFiniteError

_SHARED = 2**16  # texts of a column that show whether many are equal, and are then kept once
_BATCHES = 256  # that are joined, as each takes a kilobyte beside its numbers


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
        self._single = 0  # at the end of them, those that are not joined
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
        self._single += 1
        if self._single == _BATCHES:
            self._batches[-_BATCHES:] = [_joined(self._batches[-_BATCHES:])]
            self._single = 0
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
    every = _joined(batches)
    index, order = torch.sort(every.index, stable=True)
    first = torch.ones_like(index, dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    order = order[first]
    pairs = {name: values[order] for name, values in every.pairs.items()}
    return Stored(index[first], every.logits[order], every.labels[order], pairs)


def _joined(batches: list[Stored]) -> Stored:
    """Batches as one; a figure of pairs that some of them lack is NaN there."""
    pairs = {
        name: torch.cat([batch.pairs.get(name, torch.full_like(batch.logits, torch.nan)) for batch in batches])
        for name in dict.fromkeys(name for batch in batches for name in batch.pairs)
    }
    index, logits, labels = (
        torch.cat([getattr(batch, name) for batch in batches]) for name in ("index", "logits", "labels")
    )
    return Stored(index, logits, labels, pairs)


def _diverged(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
    return (
        f"finite probabilities, got NaN for the samples with index {shown}; training has diverged: lower "
        "the learning rate, or use more precision or gradient clipping"
    )


class Texts:
    """Texts laid end to end, as bytes of UTF-8, and how many characters each has."""

    def __init__(self) -> None:
        self.data, self.lengths = bytearray(), array("I")

    def extend(self, values: Iterable[Any]) -> None:
        """Add values as text."""
        texts = [*map(str, values)]
        self.data += "".join(texts).encode("utf-8", "surrogatepass")
        self.lengths.extend(map(len, texts))

    def join(self, other: "Texts") -> None:
        """Add all texts of another."""
        self.data += other.data
        self.lengths.extend(other.lengths)

    def at(self, rows: NDArray[np.intp]) -> list[str]:
        """The texts of some rows; equal ones are one object where there are few different ones."""
        whole, lengths = self.data.decode("utf-8", "surrogatepass"), np.array(self.lengths, np.int64)
        ends = lengths.cumsum()
        places = zip((ends - lengths)[rows].tolist(), ends[rows].tolist(), strict=True)
        texts = [whole[start:end] for start, end in places]
        shared = {text: text for text in texts[:_SHARED]}
        return [shared.setdefault(text, text) for text in texts] if len(shared) < _SHARED // 2 else texts


class SampleFacts:
    """Id, group and subgroup values of the samples of one evaluation set, by sample index."""

    def __init__(self) -> None:
        self._index = array("q")
        self._ids, self._groups = Texts(), Texts()
        self._subgroups: dict[str, Texts] = {}
        self._checked = 0  # rows among which no index stands for two samples

    def update(self, batch: Mapping[str, Any]) -> None:
        """Add one batch (keys `index`, `id`, and where given `group`, `subgroup`).

        Raises:
            InputError: When two samples have one index, so that one of them would be taken for a repetition. That is
                looked for whenever there are twice as many.
        """
        self._index.extend(batch["index"].tolist())
        self._ids.extend(batch["id"])
        self._groups.extend(batch.get("group", batch["id"]))
        for column, values in batch.get("subgroup", {}).items():
            self._subgroups.setdefault(column, Texts()).extend(values)
        if len(self._index) >= 2 * self._checked:
            self._places()

    def gathered(self, world_size: int) -> "SampleFacts":
        """The facts of all processes together."""
        if world_size == 1:
            return self
        parts: list[Any] = [None] * world_size
        torch.distributed.all_gather_object(parts, self)
        together = SampleFacts()
        for part in parts:
            together._index.extend(part._index)
            together._ids.join(part._ids)
            together._groups.join(part._groups)
            for column, values in part._subgroups.items():
                together._subgroups.setdefault(column, Texts()).join(values)
        return together

    def of(self, index: Tensor) -> tuple[list[str], list[str], dict[str, list[str]]]:
        """Ids, groups, and the values of each subgroup column, of the samples with these indices.

        Raises:
            InputError: When two samples have one index.
            KeyError: When a sample is not there.
        """
        known, rows = self._places()
        asked = index.numpy()
        at = np.minimum(np.searchsorted(known, asked), max(len(known) - 1, 0))
        if len(asked) and (not len(known) or (known[at] != asked).any()):
            raise KeyError("no facts of a sample that was stored")
        rows = rows[at]
        columns = {column: values.at(rows) for column, values in self._subgroups.items()}
        return self._ids.at(rows), self._groups.at(rows), columns

    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Every index once, ascending, and the first row of each; equal indices are those of one sample."""
        given = np.array(self._index, np.int64)
        order = given.argsort(kind="stable")
        again = np.zeros(len(given), bool)
        again[1:] = given[order[1:]] == given[order[:-1]]
        repeated = np.flatnonzero(again)
        if len(repeated):
            first, second = self._ids.at(order[repeated - 1]), self._ids.at(order[repeated])
            for at, one, other in zip(repeated, first, second, strict=True):
                if one != other:
                    raise InputError(
                        "an index of its own for every sample of a data set",
                        f"{given[order[at]]} for {one} and for {other}",
                        "give each its place in the whole set under `index`",
                    )
        self._checked = len(given)
        return given[order[~again]], order[~again]
