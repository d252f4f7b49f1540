"""Attention pooling of multiple-instance learning, with the evidence itself as attention.

Idea: Ilse et al., "Attention-based Deep Multiple Instance Learning", ICML 2018, arXiv 1802.04712. Different from the
paper: no attention network beside the classifier; the evidence weighs itself, so "where" and "what" are one.

Shapes: B images, C channels, H x W positions, N = H*W, L labels.
"""

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import positionwise
from ibca_lightning.heads.peers.projection import projection


class MILAttentionHead(Head):
    """e_ln = w_l . x_n; logit_l = sum_n e_ln softmax_n(e_ln) + b_l.

    Args:
        channels: C of the feature map.
        num_labels: L.
        init_std: Standard deviation of the initial weights. Small, so that the first attention is near uniform: a sharp
            random one freezes on wherever it happens to look.
        width: Channels after a projection (1x1 convolution, GELU) in front; 0 for none.

    Raises:
        InputError: `width` is negative.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import MILAttentionHead
        >>> MILAttentionHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5)).attention.shape
        torch.Size([2, 3, 6, 5])
    """

    def __init__(self, channels: int, num_labels: int, init_std: float = 0.02, width: int = 0) -> None:
        super().__init__(channels, num_labels)
        self.project, channels = projection(channels, width, "MILAttentionHead")
        self.weight = nn.Parameter(torch.empty(num_labels, channels))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        nn.init.normal_(self.weight, std=init_std)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        evidence = positionwise(self.weight, self.project(features).flatten(2)).float()
        attention = evidence.softmax(-1)
        contribution = attention * evidence
        logits = contribution.sum(-1) + self.bias
        grid = (-1, *logits.shape[1:], *features.shape[-2:])
        return HeadOutput(logits, attention.reshape(grid), {}, contribution.reshape(grid))
