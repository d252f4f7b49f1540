"""A training of a head on stored maps that lie in memory: the steps of `MultiLabelModule`, a tenth of its seconds.

Order, views, rate and schedule are those of `ibca fit` in kind, not to the bit: AdamW at 3e-3, warm-up and cosine,
batches of 32. The last epoch is tested, so that nothing is chosen.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ibca_lightning.data.label_noise import LabelNoise
from ibca_lightning.data.pictures.masks import unpack
from ibca_lightning.data.pictures.views import turned
from ibca_lightning.data.sampling import class_balanced_weights
from ibca_lightning.data.tables.table import Table, pooled
from ibca_lightning.datasets.frozen_maps import FrozenMaps
from ibca_lightning.datasets.layouts.map_files import MapSplit
from ibca_lightning.heads import Head, HeadOutput
from ibca_lightning.heads.layers import MapBatchNorm
from ibca_lightning.losses import Loss, MaskedBCE
from ibca_lightning.metrics.localisation import output_figures, touched_cells
from ibca_lightning.metrics.resampling.paired import paired_intervals
from ibca_lightning.metrics.resampling.resamples import Resampled, resampled_figures
from ibca_lightning.model.backbone import Backbone
from ibca_lightning.model.optimisation import parameter_groups, warmup_cosine
from ibca_lightning.system.allocator import keep_freed_memory
from ibca_lightning.terms import Setting, Step, Teacher, Term, Terms
from ibca_lightning.terms.base import Batch

BATCH, RATE, DECAY = 32, 3e-3, 0.01
_ROWS = ("views", "labels", "mask", "cells")
Tested = dict[str, Resampled]  # by figure
Make = Callable[[int, int], Head]


def prepare() -> None:
    """One thread, and memory kept: as `ibca` does on a CPU."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()


@dataclass(frozen=True)
class Maps:
    """A split in memory: N pictures, V views.

    Attributes:
        views: (N, V, C, H, W) float32.
        labels: (N, L) in {0, 1, -1}.
        mask: (N, L, S, S) bool of the picture as it is; `spurious` likewise, where there are marks.
        cells: (N, L, H, W) bool, the cells that the mask touches.
    """

    views: Tensor
    labels: Tensor
    mask: Tensor
    cells: Tensor
    spurious: Tensor | None
    table: Table
    class_names: list[str]

    @property
    def ids(self) -> list[str]:
        """N names."""
        return [name.decode() for name in self.table.names]

    @property
    def groups(self) -> list[str]:
        """N names of groups."""
        return [name.decode() for name in self.table.groups]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Sequence[int] | Tensor) -> "Maps":
        """Some of the rows."""
        at = torch.as_tensor(rows)
        own = {name: getattr(self, name)[at] for name in _ROWS}
        marks = None if self.spurious is None else self.spurious[at]
        return replace(self, **own, spurious=marks, table=self.table.take(at.numpy()))

    def noisy(self, noise: LabelNoise) -> "Maps":
        """With labels made wrong, as `data.label_noise` does it."""
        return replace(self, labels=torch.from_numpy(noise.applied(self.table).labels))

    def beside(self, other: "Maps") -> "Maps":
        """With the rows of another split behind its own."""
        own = {
            name: torch.cat([getattr(self, name), getattr(other, name)])
            for name in ("views", "labels", "mask", "cells")
        }
        return replace(self, **own, spurious=None, table=pooled([self.table, other.table]))

    def batch(self, rows: Tensor, any_view: bool = True) -> dict[str, Any]:
        """As the data module would give it, but for masks, which are of cells already."""
        view = (
            torch.randint(self.views.shape[1], (len(rows),)) if any_view else torch.zeros(len(rows), dtype=torch.long)
        )
        cells = torch.stack([turned(self.cells[i], int(v)) for i, v in zip(rows.tolist(), view, strict=True)])
        return {"index": rows, "features": [self.views[rows, view]], "label": self.labels[rows], "mask": cells,
                "id": [self.table.name(i) for i in rows.tolist()]}  # fmt: skip


def load(root: str, split: str) -> Maps:
    """Read a split of stored maps: `train`, `val`, `test.NAME`."""
    data = FrozenMaps(root)
    own = MapSplit(root, data.record, split)
    stages = [
        torch.from_numpy(np.array(own._array(f"stage{i}")[:, : own.views])) for i in range(len(data.record.stages))
    ]
    count = len(own.table)
    together = Backbone.combine([stage.flatten(0, 1).float() for stage in stages])
    masks = {name: torch.stack([unpack(list(own.planes(row, name)), n) for row in range(count)])
             for name, n in own.masks.items()}  # fmt: skip
    cells = touched_cells(masks["mask"], together.shape[-2:])
    return Maps(
        together.unflatten(0, (count, own.views)), torch.from_numpy(np.array(own.table.labels)), masks["mask"], cells,
        masks.get("spurious_mask"), own.table, list(data.class_names),
    )  # fmt: skip


class Student(nn.Module):
    """A head behind the normalisation of the channels; with `learnt`, behind so many channels of a learnt layer, which
    stand for a backbone that learns."""

    def __init__(self, channels: int, num_labels: int, make: Make, learnt: int = 0) -> None:
        super().__init__()
        self.norm = MapBatchNorm(channels, affine=False)
        self.channels = learnt or channels
        self.backbone = nn.Sequential(nn.Conv2d(channels, learnt, 1), nn.GELU()) if learnt else nn.Identity()
        self.head = make(self.channels, num_labels)

    def features(self, batch: Batch) -> Tensor:
        """The map that the head reads."""
        features: Tensor = self.backbone(self.norm(batch["features"][0]))
        return features

    def forward(self, batch: Batch, labels: Tensor | None = None) -> HeadOutput:
        """Classify a batch."""
        output: HeadOutput = self.head(self.features(batch), labels)
        return output


class Taught(Teacher):
    """A student as the teacher of another, on the same maps or on those of another backbone."""

    def __init__(self, student: nn.Module, class_names: Sequence[str], unseen: Iterable[str] | None = None) -> None:
        super().__init__()
        self.student, self.class_names, self.digest = student.eval(), class_names, ""
        self.trained_on = None if unseen is None else list(unseen)

    def forward(self, batch: Batch) -> HeadOutput:
        """Classify a batch."""
        output: HeadOutput = self.student(batch)
        return output


def student_of(data: Maps, make: Make, seed: int, learnt: int = 0) -> Student:
    """An untrained one."""
    torch.manual_seed(seed)
    return Student(data.views.shape[2], len(data.class_names), make, learnt)


def fit(
    data: Any,
    student: nn.Module,
    terms: Sequence[Term] = (),
    *,
    seed: int,
    epochs: int = 25,
    loss: Loss | None = None,
    balanced: bool = False,
    load_teacher: Callable[[str], Teacher] | None = None,
    rate: float = RATE,
) -> nn.Module:
    """Train a student, a module with `features(batch)` and `head`, as `MultiLabelModule.training_step` does."""
    torch.manual_seed(seed)
    loss, carrier, labels = loss or MaskedBCE(), Terms(terms), data.labels
    # No groups: so many masks a class are so many pictures.
    carrier.begin(Setting(data.class_names, labels, data.ids, None, {}, load_teacher, student.channels))
    if loss.needs_labels:
        loss.see_labels(labels)
    groups = parameter_groups(student.backbone, student.head, loss, *carrier.modules())
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=DECAY)
    steps = epochs * max(len(data) // BATCH, 1)
    schedule = warmup_cosine(optimizer, steps, round(0.05 * steps))
    weights = torch.from_numpy(class_balanced_weights(labels.numpy())) if balanced else None

    def again(other: Batch) -> Step:
        features = student.features(other)
        return Step(other, other["label"], student.head(features), features, student, again)

    student.train()
    for step in range(steps):
        progress = step / max(steps - 1, 1)
        if step % max(len(data) // BATCH, 1) == 0:
            carrier.begin_epoch(progress)
            drawn = torch.randperm(len(data)) if weights is None else torch.multinomial(weights, len(data), True)
            order = iter(drawn.split(BATCH))
        batch = data.batch(next(order))
        student.head.set_progress(progress)
        seen = carrier.labels(batch, progress)
        before = student.features(batch)
        features = carrier.features(batch, before)
        output = student.head(features, seen)
        parts = [loss(output.logits, seen), *output.losses.values()]
        parts += carrier.losses(Step(batch, seen, output, features, student, again, before)).values()
        optimizer.zero_grad()
        torch.stack([part.float() for part in parts]).sum().backward()
        optimizer.step()
        schedule.step()
        carrier.after_step(student)
    return student.eval()


@torch.inference_mode()
def said(student: nn.Module, data: Any) -> tuple[Tensor, Tensor]:
    """Probabilities (N, L) and attention (N, L, H, W) of every picture as it is."""
    outputs = [student(data.batch(rows, any_view=False)) for rows in torch.arange(len(data)).split(64)]
    return torch.cat([own.logits.float().sigmoid() for own in outputs]), torch.cat([own.attention for own in outputs])


def measured(student: nn.Module, data: Any, masks: bool = True, resamples: int = 500) -> Tested:
    """Every figure of a test set, in resamples of its groups; the AP of each class under its name."""
    probability, attention = said(student, data)
    pairs = None
    if masks:
        marks = {} if data.spurious is None else {"spurious": data.spurious}
        pairs = output_figures(attention.float(), None, data.mask, data.labels, marks)
    return resampled_figures(
        probability, data.labels, data.groups, resamples, pairs=pairs, class_figures=data.class_names
    )


def table(
    found: Mapping[str, Mapping[int, Tested]], shown: Sequence[str], base: str, compared: Sequence[str] = ("mAP",)
) -> str:
    """A row a variant: means and deviations over seeds, and figures in points against one of them, paired by seed."""
    against = [f"{figure} in points against {base} [95 %]" for figure in compared]
    header = ["variant", "seeds", *shown, *against]
    lines = [f"| {' | '.join(header)} |", "|---" + "|---:" * (len(header) - 1) + "|"]
    for name, runs in found.items():
        cells = [spread([run[column].value for run in runs.values()]) for column in shown]
        cells += [_difference(runs, found[base], figure) if name != base else "-" for figure in compared]
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(ours: Mapping[int, Tested], theirs: Mapping[int, Tested], figure: str) -> str:
    seeds = [seed for seed in ours if seed in theirs]
    first, second = ([{figure: own[seed][figure]} for seed in seeds] for own in (ours, theirs))
    ends = paired_intervals(first, second, training_seeds=(seeds, seeds))[figure]
    gain = statistics.mean(one[figure].value - two[figure].value for one, two in zip(first, second, strict=True))
    return f"{100 * gain:+.1f}" + (f" [{100 * ends[0]:+.1f}, {100 * ends[1]:+.1f}]" if ends else "")


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean ± standard deviation."""
    tail = f" ± {statistics.stdev(values):.{digits}f}" if values[1:] else ""
    return f"{statistics.mean(values):.{digits}f}{tail}"
