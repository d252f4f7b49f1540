"""The student agrees with the average of its weights on another view, and keeps how pictures lie to each other there.

Shapes: B images, R rows of a draw, N rows of the training split, L labels, D width of an embedding.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import total
from ibca_lightning.terms.base import Batch, Setting, Step, Term
from ibca_lightning.terms.mean_teacher import MeanTeacher
from ibca_lightning.terms.memory import remember

_WIDTH, _TEMPERATURE, _MOMENTUM = 128, 0.07, 0.5  # as published
_TINY = 1e-7


class MeanTeaching(Term):
    """A mean teacher: pictures without labels teach that a view and its mirror image have the same findings.

    The teacher is the student with the average of its weights over the steps. It sees each picture mirrored; the term
    is the mean of (p - p_t)^2 over all pictures and classes, labels known or not, and rises by exp(-5 (1 - x)^2).

    `relations` adds CRCKD's two losses on embeddings of length 1 of the attended feature (its mean over the classes),
    of student and teacher each by a layer of its own. `relation_contrast`: an embedding resembles what the other
    remembers of pictures with the same finding, more than of pictures known to be without it, for each present class.
    `relation_keeping`: over the classes, the student is as near to its centres as the teacher is to its own.
    Source: mean teacher, Tarvainen and Valpola 2017, arXiv 1703.01780; CRCKD, Xing et al., MICCAI 2021, whose numbers
    for one class a picture are reproduced; for several labels, the anchors are ours. A layer and a memory of N rows of
    128 numbers for each network lie in the checkpoint.

    Args:
        weight: Of the term.
        decay: Of the average, a step, in [0, 1).
        ramp: Part of training, in (0, 1], over which x rises from 0 to 1.
        relations: Weight >= 0, inside the term, of the two losses; 0 leaves them out.
        rows: Of the memories, are drawn each step, as positives and negatives.

    Raises:
        InputError: A value is out of range.
    """

    given: Tensor
    drawn: Tensor
    memory: Tensor
    scale: Tensor

    def __init__(
        self, weight: float = 1.0, decay: float = 0.99, ramp: float = 0.4, relations: float = 0.0, rows: int = 4096
    ) -> None:
        super().__init__(weight)
        if not 0 <= decay < 1 or not 0 < ramp <= 1 or relations < 0 or rows < 2:
            got = f"{decay}, {ramp}, {relations}, {rows}"
            wanted = "MeanTeaching's decay in [0, 1), ramp in (0, 1], relations >= 0, rows > 1"
            raise InputError(wanted, got, "correct them")
        self.ramp, self.relations, self.rows = ramp, relations, rows
        self.teacher, self.embed = MeanTeacher(decay), nn.ModuleList()

    def begin(self, setting: Setting) -> None:
        """Make layers and memories, the same in every process."""
        if not self.relations:
            return
        if setting.labels is None or setting.channels is None:
            raise InputError("the labels of the training split for MeanTeaching's relations", "none", "set them to 0")
        torch.manual_seed(0)
        layers = [nn.Linear(setting.channels, _WIDTH) for _ in range(2)]  # for what the student, the teacher sees
        self.embed = nn.ModuleList(layers)
        memory = F.normalize(torch.rand(2, len(setting.labels), _WIDTH) * 2 - 1, dim=-1)
        self.register_buffer("given", setting.labels, persistent=False)
        self.register_buffer("memory", memory)
        self.register_buffer("scale", torch.zeros(2))
        self.register_buffer("drawn", torch.zeros((), dtype=torch.long))

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        taught = self.teacher(step, mirrored(step.batch))
        weight = self.weight * math.exp(-5 * (1 - min(self.progress / self.ramp, 1)) ** 2)
        p, q = (own.output.logits.float().sigmoid() for own in (step, taught))
        losses = {"mean_teaching": weight * masked_mean((p - q).square(), torch.ones_like(p, dtype=torch.bool))}
        if self.relations:
            with torch.autocast(p.device.type, enabled=False):
                contrast, keeping = self._related(step, taught)
            losses |= {"relation_contrast": weight * self.relations * contrast}
            losses |= {"relation_keeping": weight * self.relations * keeping}
        return losses

    def _related(self, step: Step, taught: Step) -> tuple[Tensor, Tensor]:
        index = step.batch["index"]
        seen = [F.normalize(layer(own.attended.mean(1)), dim=-1)
                for layer, own in zip(self.embed, (step, taught), strict=True)]  # fmt: skip
        rows = self._draw(index.device)
        picture, label = (step.labels == 1).nonzero().T  # the anchors, and below (anchors, R)
        shown, itself = self.given[rows].T[label], rows == index[picture][:, None]
        alike, unlike = (shown == 1) | itself, (shown == 0) & ~itself
        costs = torch.zeros((), device=index.device)
        for at, own in enumerate(seen):
            likeness = (own @ self.memory[1 - at][rows].T / _TEMPERATURE).exp()[picture]
            if not self.scale[at]:  # published: N times the mean of the first batch
                counted = alike | unlike
                mean = total((likeness.detach() * counted).sum()) / total(counted.sum()).clamp_min(1)
                self.scale[at] = len(self.given) * mean
            likeness = likeness / self.scale[at].clamp_min(_TINY)
            costs = costs + relation_contrast(likeness, alike, unlike, len(self.given))
        contrast = masked_mean(costs, alike.any(-1) & unlike.any(-1))
        for at, own in enumerate(seen):
            remember(self.memory[at], index, own, _moved)
        members = self.given == 1
        centres = [class_centres(own, members) for own in self.memory]
        keeping = relation_keeping(seen[0], seen[1].detach(), centres[0], centres[1], members.any(0))
        return contrast, masked_mean(keeping, torch.ones_like(keeping, dtype=torch.bool))

    def _draw(self, device: torch.device) -> Tensor:
        """The rows of a step, the same in every process and in a run that is taken up."""
        number = len(self.given)
        generator = torch.Generator().manual_seed(int(self.drawn))
        self.drawn += 1
        order = torch.randperm(number, generator=generator) if number > self.rows else torch.arange(number)
        return order[: self.rows].to(device)

    def after_step(self, student: nn.Module) -> None:
        """Move the teacher."""
        self.teacher.update(student)


def mirrored(batch: Batch) -> Batch:
    """The batch with its pictures, or stored maps, mirrored."""
    image = {"image": batch["image"].flip(-1)} if "image" in batch else {}
    features = {"features": [stage.flip(-1) for stage in batch["features"]]} if "features" in batch else {}
    return {**batch, **image, **features}


def relation_contrast(likeness: Tensor, alike: Tensor, unlike: Tensor, rows: int) -> Tensor:
    """Return what each anchor costs (...): -mean log h / (h + K / N) of those alike - sum log (K / N) / (h + K / N).

    Args:
        likeness: h (..., R), exp of cosine over temperature, scaled.
        alike: (..., R) bool, which are positives.
        unlike: (..., R) bool, which are negatives, K of them.
        rows: N.
    """
    chance = unlike.sum(-1, keepdim=True) / rows
    near, far = (likeness / (likeness + chance + _TINY)), (chance / (likeness + chance + _TINY))
    found = torch.where(alike, near, 1).log().sum(-1) / alike.sum(-1).clamp_min(1)
    return -found - torch.where(unlike, far.clamp_min(_TINY), 1).log().sum(-1)


def class_centres(memory: Tensor, members: Tensor) -> Tensor:
    """Centres (L, D) of length 1 of the classes: the mean of what is positive in the memory (N, D) of its members."""
    return F.normalize(members.T.to(memory.dtype) @ memory.relu(), dim=-1)


def relation_keeping(own: Tensor, taught: Tensor, centres: Tensor, taught_centres: Tensor, known: Tensor) -> Tensor:
    """Return (B,), KL of how near the teacher's embedding is to its centres, to how near the student's is to its own.

    Args:
        own: (B, D); `taught` likewise, read alone.
        taught: Of the teacher.
        centres: (L, D); `taught_centres` likewise.
        taught_centres: Of the teacher.
        known: (L,) bool, the classes that have a centre.
    """
    near, sought = own @ centres[known].T / _TEMPERATURE, taught @ taught_centres[known].T / _TEMPERATURE
    return (sought.softmax(1) * (sought.log_softmax(1) - near.log_softmax(1))).sum(1)


def _moved(before: Tensor, seen: Tensor) -> Tensor:
    return F.normalize(_MOMENTUM * before + (1 - _MOMENTUM) * seen, dim=-1)
