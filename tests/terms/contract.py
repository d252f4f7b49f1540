"""What every term is tested with: the terms themselves, and steps of any size."""

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ibca_lightning import terms
from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.tables.table import Table, encode
from ibca_lightning.heads import HeadOutput
from ibca_lightning.terms import Setting, Step, Teacher, Term
from tests.training import Data, Pictures

ROWS, GRID, SIDE = 8, 3, 9

# Every term that the package offers; one added to `terms.__all__` is covered without a change here.
TERMS: dict[str, type[Term]] = {
    name: value
    for name, value in ((name, getattr(terms, name)) for name in terms.__all__)
    if isinstance(value, type) and issubclass(value, Term) and value is not Term
}
OPTIONS: dict[str, dict[str, Any]] = {
    "LabelCorrection": {"start": 0.0},
    "Distillation": {"teachers": ["a.ckpt", "b.ckpt"], "attention": 0.5},
    "JTT": {"first": "a.ckpt"},
    "DomainAlignment": {"site_column": "site"},
    "MeanTeaching": {"relations": 0.5},
    "MetricLearning": {"clusters": 3},
}
WEIGHTLESS = ("LabelCorrection",)  # what corrects labels alone


def build(name: str, **options: Any) -> Term:
    return TERMS[name](**(OPTIONS.get(name, {}) | options))


def wave(*shape: int, a: float = 1.0, b: float = 0.0) -> Tensor:
    """sin(a i + b), i = 1..n row by row: the rule of all reference inputs."""
    return torch.sin(a * torch.arange(1, math.prod(shape) + 1, dtype=torch.float64) + b).view(shape)


def setting(labels: Tensor) -> Setting:
    names = [f"p{row // 2}/{row}.png" for row in range(len(labels))]
    subgroups = {"site": ["north" if row % 2 else "south" for row in range(len(labels))]}
    classes = [f"class {i}" for i in range(labels.shape[1])]
    groups = [name.partition("/")[0] for name in names]
    return Setting(classes, labels, names, groups, subgroups, lambda path: Known(classes[::-1], path), 2)


def given(labels: int, kind: str = "mixed") -> Tensor:
    """Labels of the training split, (ROWS, labels)."""
    drawn = torch.rand(ROWS, labels, generator=torch.Generator().manual_seed(0))
    mixed = (drawn < 0.4).to(torch.int8)
    mixed[drawn > 0.9] = -1
    mixed[0, 0], mixed[1, 0] = 1, 0
    fixed = {"no positive": 0, "all unknown": -1}
    return mixed if kind == "mixed" else torch.full_like(mixed, fixed[kind])


class Student(nn.Module):
    """A network of the smallest kind: (B, 2, GRID, GRID) to logits and attention."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.score, self.look = nn.Conv2d(2, labels, 1), nn.Conv2d(2, labels, 1)

    def forward(self, features: Tensor) -> HeadOutput:
        attention = self.look(features).float().flatten(2).softmax(-1).view(len(features), -1, GRID, GRID)
        return HeadOutput((self.score(features) * attention).sum((2, 3)), attention, {})


class Known(Teacher):
    """A teacher with the student's classes in another order, and weights of its own."""

    def __init__(self, class_names: list[str], path: str) -> None:
        super().__init__()
        self.class_names, self.digest = class_names, path
        self.network = Student(len(class_names))
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.add_(0.1 * len(path))

    def forward(self, batch: Any) -> HeadOutput:
        return self.network(features(batch["index"]))


def features(index: Tensor) -> Tensor:
    """(B, 2, GRID, GRID), a function of the row."""
    return torch.stack([wave(2, GRID, GRID, a=0.1 * (1 + int(row))).float() for row in index])


def step(student: Student, labels: Tensor, index: Tensor, masks: bool = True) -> Step:
    """A step on some rows; the mask of a present class is the cell of its number."""
    mask = torch.zeros(len(index), labels.shape[1], SIDE, SIDE, dtype=torch.bool)
    for label in range(labels.shape[1]):
        row, column = divmod(label % SIDE**2, SIDE)
        mask[:, label, row, column] = masks & (labels[index, label] == 1)
    drawn = mask.any(1, keepdim=True)
    batch = {
        "image": torch.stack([(100 + 99 * wave(3, SIDE, SIDE, a=1 + int(row))).to(torch.uint8) for row in index]),
        "index": index,
        "label": labels[index],
        "mask": mask,
        "drawn_mask": drawn,
        "spurious_mask": mask & (index % 3 > 0)[:, None, None, None],
        "id": [f"{int(row)}.png" for row in index],
    }
    return seen(student, batch | {"features": [features(index)]})


def seen(student: Student, batch: Any) -> Step:
    """What the module gives of a batch."""
    x = batch["features"][0]
    return Step(batch, batch["label"], student(x), x, student, lambda other: seen(student, other))


class Trained(Data, MultiLabelDataModule):
    """Pictures with masks as a data module that knows its training labels, and two sites."""

    test_names: ClassVar[list[str]] = []  # in the place of a property

    def __init__(self, train: Pictures) -> None:
        super().__init__({"test": train}, train)

    def setup(self, stage: str | None = None) -> None:
        pass

    def training_labels(self) -> Any:
        return self.train.label.numpy()

    def split_files(self) -> Any:
        rows = [self.train[row] for row in range(len(self.train))]
        names, groups = (encode([row[key] for row in rows]) for key in ("id", "group"))
        site = encode(["north" if row % 2 else "south" for row in range(len(rows))])
        return {
            "": {"train": Table("", "", np.arange(len(rows)), names, self.training_labels(), groups, {"site": site})}
        }
