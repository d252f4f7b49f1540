"""A student learns what trained models say: a large one made small, or several readers of noisy labels."""

from collections.abc import Collection, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms.asked_models import AskingTerm
from ibca_lightning.terms.base import Setting, Step

Choice = Literal["mean", "random", "unseen"]
_TINY = 1e-7


class Distillation(AskingTerm):
    """T^2 BCE(z / T, sigma(z_t / T)), the mean over pictures and the classes that a teacher has, labels known or not.

    The classification loss stays as it is, so that a weight w is a share w / (1 + w) of the sum. Teachers are models of
    `ibca fit`, of any backbone and head, and never saved (`AskingTerm`).
    Source: Hinton et al. 2015, arXiv 1503.02531; several teachers, RoS-KD (2022), of which no code is public: ours.

    Args:
        teachers: Checkpoints.
        weight: Of the term.
        temperature: T, above 0.
        choose: The `mean` of the teachers' probabilities; one drawn at `random` for each picture; or the mean of those
            that did not learn from the picture (`unseen`), as `splits.csv` of their runs says, with folds of
            `ibca sweep`. A picture that all have learnt from teaches nothing then.
        attention: Weight, inside the term, of KL(A_t || A) for present classes: the student looks where they look.

    Raises:
        InputError: An option is out of range, or a teacher has no class of the data.
    """

    unseen: Tensor

    def __init__(
        self,
        teachers: Sequence[str],
        weight: float = 1.0,
        temperature: float = 2.0,
        choose: Choice = "mean",
        attention: float = 0.0,
    ) -> None:
        super().__init__(teachers, weight)
        if not teachers:
            raise InputError("a checkpoint in Distillation's teachers", "none", "name one, or leave the term out")
        if choose not in get_args(Choice) or temperature <= 0 or attention < 0:
            got = f"{choose}, {temperature}, {attention}"
            raise InputError("Distillation's choose (mean, random, unseen), temperature > 0, attention >= 0", got,
                             "correct them")  # fmt: skip
        self.temperature, self.choose, self.attention = temperature, choose, attention

    def begin(self, setting: Setting) -> None:
        """Load the teachers, and find the classes and pictures that each can speak of."""
        super().begin(setting)
        if self.choose == "unseen":
            self.register_buffer("unseen", self._unseen(setting.ids), persistent=False)

    def _unseen(self, ids: Sequence[str] | None) -> Tensor:
        """(N, teachers) bool: which did not learn from which picture."""
        told: list[Collection[str]] = [t.trained_on for t in self.teachers if t.trained_on is not None]
        if ids is None or len(told) < len(self.paths):
            which = "of the data" if ids is None else "beside the teachers' checkpoints"
            raise InputError(f"names of training pictures {which}, for choose: unseen", "none", "use mean")
        unseen = torch.tensor([[name not in own for own in told] for name in ids])
        if not unseen.any():
            fix = "give teachers of the folds of ibca sweep, with the hash key of this run, or use mean"
            raise InputError("a training picture that a teacher has not learnt from", "none", fix)
        return unseen

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        said = self.ask(step)
        weights = self._weights(step) * torch.stack([known for *_, known in said])  # (teachers, B, L)
        total = weights.sum(0)
        t = self.temperature
        soft = torch.stack([(logits / t).sigmoid() for logits, *_ in said])
        target = (weights * soft).sum(0) / total.clamp_min(_TINY)
        values = t**2 * F.binary_cross_entropy_with_logits(step.output.logits.float() / t, target, reduction="none")
        losses = {"distillation": self.weight * masked_mean(values, total > 0)}
        if self.attention:
            size = step.output.attention.shape[-2:]
            maps = torch.stack([resized(attention, size) for _, attention, _ in said])
            seen = (weights[..., None, None] * maps).sum(0) / total.clamp_min(_TINY)[..., None, None]
            ratio = seen.clamp_min(_TINY).log() - step.output.attention.float().clamp_min(_TINY).log()
            pairs = (step.labels == 1) & (total > 0)
            kl = masked_mean((seen * ratio).sum((-2, -1)), pairs)
            losses["distillation_attention"] = self.weight * self.attention * kl
        return losses

    def _weights(self, step: Step) -> Tensor:
        """(teachers, B, 1), how much each is listened to."""
        pictures, device = len(step.labels), step.output.logits.device
        if self.choose == "unseen":
            return self.unseen[step.batch["index"]].T[..., None].float()
        if self.choose == "random":
            drawn = torch.randint(len(self.teachers), (pictures,), device=device)
            return F.one_hot(drawn, len(self.teachers)).T[..., None].float()
        return torch.ones(len(self.teachers), pictures, 1, device=device)


def resized(attention: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (B, L, h, w) on another grid, each summing to 1 again."""
    pooled = F.interpolate(attention, size=tuple(size), mode="area")
    return pooled / pooled.sum((-2, -1), keepdim=True).clamp_min(_TINY)
