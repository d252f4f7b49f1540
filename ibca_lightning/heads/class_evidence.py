"""What each position says about each class, kept apart from where the class looks.

Shapes: B images, C channels, N = H x W positions, L labels, A heads.
"""
# ruff: noqa: N803 - shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.positionwise import positionwise


def unit_class_evidence(x_BCN: Tensor, weight_LC: Tensor) -> Tensor:
    """Scalar evidence c_ln = w_l . x_n / ||w_l|| (CSRA: Zhu & Wu, ICCV 2021, arXiv 2108.02456).

    The direction of w_l is learnt and its length is not: the scale of a logit is that of the features, and one class
    cannot outweigh another by the length of its weights.

    Args:
        x_BCN: Features (B, C, N).
        weight_LC: One weight vector a class (L, C).

    Returns:
        (B, L, N).

    Example:
        >>> import torch
        >>> from ibca_lightning.heads.class_evidence import unit_class_evidence
        >>> place, weight = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[3.0, 4.0]])
        >>> unit_class_evidence(place, weight), unit_class_evidence(place, 10 * weight)  # the length of w says nothing
        (tensor([[[0.6000]]]), tensor([[[0.6000]]]))
    """
    return positionwise(F.normalize(weight_LC, dim=-1), x_BCN)


class ClassEvidence(nn.Module):
    """c_aln = s_al w_al . x_n / ||w_al||: evidence of A kinds for each class, with a learnt scale for each.

    Several kinds, each pooled by an attention of its own, because a single one locks in: once a spurious mark explains
    a class, the position of the cause is not attended to and gets no gradient.

    Args:
        channels: C.
        num_labels: L.
        num_heads: A.
    """

    def __init__(self, channels: int, num_labels: int, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_heads, num_labels, channels))
        self.scale = nn.Parameter(torch.ones(num_heads, num_labels))
        nn.init.normal_(self.weight, std=channels**-0.5)

    def forward(self, x_BCN: Tensor) -> Tensor:
        """Features (B, C, N) to evidence (B, A, L, N)."""
        evidence = unit_class_evidence(x_BCN, self.weight.float().flatten(0, 1))
        return evidence.reshape(x_BCN.shape[0], *self.weight.shape[:2], -1) * self.scale.float().unsqueeze(-1)
