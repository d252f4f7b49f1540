"""GroupDRO: what is trained is the worst of the groups that label and mark make; it must be told the marks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import total
from ibca_lightning.terms.base import Setting, Step, Term

_NEVER = -1e9  # a score that leaves a group nothing, and finite


class GroupDRO(Term):
    """min over weights, max over q of sum_g q_g E[BCE | g], the groups of a class being its label with mark or without.

    Each step: q_g <- q_g exp(rate L_g), divided by their sum, L_g the group's mean loss; then the weights learn from
    sum_g q_g L_g. The term is that sum less the mean over all pairs: with `model.loss: bce` and weight 1 the whole loss
    is GroupDRO's, and losses of the head stay as they are. It is an upper bound of what can be done, as nobody has the
    marks of real pictures: `data.marks` and `scm` do.

    Source: Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020, arXiv 1911.08731,
    algorithm 1, without their adjustment of group losses by size. They have one label and draw groups equally often.
    Multi-label is ours: four groups a class, q of each class by itself, and the mean over classes. So is L_g of batches
    drawn as ever: the sum of the group's losses in a batch over the number that is expected there, by the share it has
    had so far. A group that has never come has no part of q.

    Args:
        weight: Of the term, in [0, 1].
        rate: Of q, >= 0; the paper's is 0.01, and 0 keeps the groups equal.

    Raises:
        InputError: A value is out of range.
    """

    needs = ("spurious_mask",)
    scores: Tensor
    drawn: Tensor

    def __init__(self, weight: float = 1.0, rate: float = 0.01) -> None:
        super().__init__(weight)
        if not (weight <= 1 and rate >= 0):
            raise InputError("GroupDRO's weight in [0, 1] and rate >= 0", f"{weight}, {rate}", "correct them")
        self.rate = rate

    def begin(self, setting: Setting) -> None:
        """Make room for the four groups of each class: label 0 without and with its mark, label 1 likewise."""
        size = (4, len(setting.class_names))
        self.register_buffer("scores", torch.zeros(size))  # log q, but for a constant
        self.register_buffer("drawn", torch.zeros(size, dtype=torch.long))

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        logits, labels = step.output.logits.float(), step.labels
        known, present = labels >= 0, (labels == 1).long()
        values = F.binary_cross_entropy_with_logits(logits, present.float(), reduction="none")
        marked = step.batch["spurious_mask"].to(labels.device).flatten(2).any(-1)
        groups = F.one_hot(2 * present + marked, 4).movedim(-1, 0) * known  # (4, B, L)
        count = total(groups.sum(1))
        self.drawn += count
        share = self.drawn / self.drawn.sum(0).clamp(min=1)
        inverse = torch.where(self.drawn > 0, 1 / share, 0.0)
        losses = total((groups * values.detach()).sum(1)) * inverse / count.sum(0).clamp(min=1)
        self.scores += self.rate * losses
        q = self.scores.masked_fill(self.drawn == 0, _NEVER).softmax(0)
        weights = (groups * (q * inverse)[:, None]).sum(0)
        return {"group_dro": self.weight * masked_mean((weights - 1) * values, known)}
