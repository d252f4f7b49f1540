"""What every training term is: it sees a step of training, may correct its labels, and adds to its loss.

Shapes: B images of a batch, N rows of the training split, L labels, C channels, H x W positions, S pixels.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ibca_lightning.heads import HeadOutput
from ibca_lightning.system.errors import InputError

Batch = Mapping[str, Any]
Rows = list[Sequence[object]]


class Teacher(nn.Module):
    """A trained model that answers to the batches of a step, as the module loads it.

    Attributes:
        class_names: Of its logits.
        digest: Of its file.
        trained_on: The pictures it has learnt from, by id; None where nobody knows.
    """

    class_names: Sequence[str]
    digest: str
    trained_on: Collection[str] | None = None

    def forward(self, batch: Batch) -> HeadOutput:
        """Classify a batch, of pictures or of stored maps."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward(batch) -> HeadOutput")


class Setting(NamedTuple):
    """What a term is told before training.

    Attributes:
        class_names: The L labels.
        labels: (N, L) in {0, 1, -1}, those of the training split; row i is the picture of `batch["index"]` i. None
            where the data do not say.
        ids: N names of pictures, as they may be written; None likewise.
        groups: N names of what belongs together (patient, photograph); None likewise.
        subgroups: By column, such as `site`, N values.
        load: Opens a checkpoint as a teacher.
        channels: Of the map that the head reads.
    """

    class_names: Sequence[str]
    labels: Tensor | None = None
    ids: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    subgroups: Mapping[str, Sequence[str]] = {}  # never written to
    load: Callable[[str], Teacher] | None = None
    channels: int | None = None

    def sites(self, column: str, term: str) -> Tensor:
        """Return (N,), the site of each picture as a number, for the term of that name.

        Raises:
            InputError: There is no such column, or one site alone in it.
        """
        if column not in self.subgroups:
            known = ", ".join(self.subgroups) or "none"
            fix = f"add {column} to data.subgroup_columns, or leave it out"
            raise InputError(f"{term}'s site_column among data.subgroup_columns", f"{known} there", fix)
        names = self.subgroups[column]
        if len(sites := sorted(set(names))) < 2:
            fix = "name another column, or leave site_column out"
            if term == "DomainAlignment":
                fix = "add unlabelled: true to data.sites, name another column, or leave the term out"
            raise InputError(f"two sites or more in the column {column}", f"{sites[0]} alone", fix)
        return torch.tensor([sites.index(name) for name in names])


class Step(NamedTuple):
    """What a term may read of a step.

    Attributes:
        batch: As the data gave it: `image` or `features`, `index`, `id`, and where there are such `mask`, `subgroup`.
        labels: (B, L) in {0, 1, -1}, after corrections.
        output: Of the head.
        features: (B, C, H, W), the map that the head read.
        student: The network that learns.
        again: The student on another batch, such as another view of this one: a step without losses of the head.
        before: (B, C, H, W), the map before terms changed it; None: as `features`.
    """

    batch: Batch
    labels: Tensor
    output: HeadOutput
    features: Tensor
    student: nn.Module
    again: Callable[[Batch], "Step"]
    before: Tensor | None = None

    @property
    def attended(self) -> Tensor:
        """(B, L, C), the map summed under the attention of each class, in float32."""
        with torch.autocast(self.features.device.type, enabled=False):
            return self.output.attention.float().flatten(2) @ self.features.float().flatten(2).transpose(1, 2)


class Term(nn.Module):
    """Base of all terms; one of your own implements `forward`, `labels` or `features`, or several.

    Its parameters and buffers are its state: they lie under a key of their own in the checkpoint, so that neither
    predict nor export sees them, and a run that is taken up goes on with them. What has a size that the data decide,
    and what is drawn at random, is made in `begin`: a term that is built draws nothing. A memory is a buffer with a row
    for each training picture, by `batch["index"]`, written through `memory`: so all processes see the same.

    Args:
        weight: Of what it adds to the loss; of weight 0 it is switched off, and the run is the same to the bit.

    Attributes:
        needs: What it must have: `mask`, `training_labels`. It is asked for in one line before the first step.
        progress: From 0 at the first step to 1 at the last.

    Raises:
        InputError: The weight is negative.
    """

    needs: tuple[str, ...] = ()
    progress = 0.0

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if not weight >= 0:  # NaN, too
            raise InputError(f"{type(self).__name__}'s weight >= 0", weight, "0 turns it off")
        self.weight = weight

    def begin(self, setting: Setting) -> None:
        """Take what is to be known of the training split; before the first step, and before a checkpoint is read."""

    def begin_epoch(self) -> None:
        """Take stock before an epoch."""

    def labels(self, batch: Batch, labels: Tensor) -> Tensor:
        """Correct the labels (B, L) of a batch, for head, loss and the terms behind this one; here, they stay."""
        return labels

    def features(self, batch: Batch, features: Tensor) -> Tensor:
        """Change the map (B, C, H, W) before the head reads it; here, it stays."""
        return features

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return what is added to the loss: scalars by name, weighted, which are logged; here, nothing."""
        return {}

    def after_step(self, student: nn.Module) -> None:
        """See the student after a step of the optimiser."""

    def tables(self) -> dict[str, Rows]:
        """Return what a run is to write after each epoch: by the stem of a CSV file its rows, a header first."""
        return {}
