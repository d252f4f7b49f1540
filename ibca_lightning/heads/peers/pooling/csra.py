"""CSRA: class-specific residual attention.

Zhu & Wu, "Residual Attention: A Simple but Effective Method for Multi-Label Recognition", ICCV 2021, arXiv 2108.02456.
Different from the paper: one head with a temperature of one's own in the place of its 1 to 8 heads with fixed
temperatures and weights of their own, whose logits the authors add up; their temperature 99 means the maximum, here it
stays a softmax.

Same logits as the authors' code with the same weights: one of these heads as one of theirs, several added up as several
of theirs (the numbers in the test).

Shapes: B images, C channels, H x W positions, N = H*W, L labels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import positionwise
from ibca_lightning.heads.peers.projection import projection


class CSRAHead(Head):
    """s_ln = w_l . x_n / ||w_l||; logit_l = mean_n s_ln + lambda * sum_n s_ln softmax_n(T s_ln).

    The direction of w_l is learnt and its length is not: the scale of a logit is that of the features, and one class
    cannot outweigh another by the length of its weights.

    Args:
        channels: C of the feature map.
        num_labels: L.
        residual_weight: lambda, what the attended evidence weighs against the mean.
        temperature: T, >= 0; 0 is average pooling, large is max pooling.
        width: Channels after a projection (1x1 convolution, GELU) in front; 0 for none, as in the paper.

    Raises:
        InputError: `width` is negative.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import CSRAHead
        >>> CSRAHead(channels=8, num_labels=3, temperature=0.0)(torch.rand(2, 8, 1, 2)).attention[0, 0].tolist()
        [[0.5, 0.5]]
    """

    def __init__(
        self, channels: int, num_labels: int, residual_weight: float = 1.0, temperature: float = 1.0, width: int = 0
    ) -> None:
        super().__init__(channels, num_labels)
        self.project, channels = projection(channels, width, "CSRAHead")
        self.residual_weight, self.temperature = residual_weight, temperature
        self.weight = nn.Parameter(torch.empty(num_labels, channels))
        nn.init.normal_(self.weight, std=channels**-0.5)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        evidence = positionwise(F.normalize(self.weight, dim=-1), self.project(features).flatten(2)).float()
        attention = (self.temperature * evidence).softmax(-1)
        contribution = (1 / evidence.shape[-1] + self.residual_weight * attention) * evidence
        logits = contribution.sum(-1)
        grid = (-1, *logits.shape[1:], *features.shape[-2:])
        return HeadOutput(logits, attention.reshape(grid), {}, contribution.reshape(grid))
