"""Efficient probing: queries that pool a part of the channels each, with the map itself as keys.

Psomas et al., "Attention, Please! Revisiting Attentive Probing Through the Lens of Efficiency", ICLR 2026, arXiv
2506.10178. An attentive probe without what attention can do without: no projection of keys or queries, one value
projection, and each query pools the channels that are its own.

Same weights in, same pooled vector out as the authors' code (github.com/billpsomas/efficient-probing); the numbers
stand in the test. Different from the original:

- class maps are ours (`class_maps`): the queries belong to no class;
- no BatchNorm between pooling and classifier; `model.normalise_features` norms the map in front of any head;
- the class token is no further position; the values are as wide as the map (their `d_out` 1);
- `width`: a projection in front, as for other linear heads on frozen maps.

Shapes: B images, C channels, H x W positions, N = H*W, L labels, Q queries, E = C / Q channels of a query.
"""
# ruff: noqa: N806 - shape suffixes

import math

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import positionwise
from ibca_lightning.heads.peers.pooling.class_maps import class_maps
from ibca_lightning.heads.peers.projection import projection


class EPHead(Head):
    """a_q = softmax_n(q_q . x_n / sqrt(C)); p_j = sum_n a_q(j)n (V x_n)_j, with q(j) = j // E; logit_l = w_l . p + b_l.

    Args:
        channels: C of the feature map.
        num_labels: L.
        queries: The most queries, >= 1, 32 in the paper; as each has as many channels, Q is the greatest common divisor
            of this and the channels.
        width: Channels after a projection (1x1 convolution, GELU) in front; 0 for none, as in the paper.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import EPHead
        >>> head, maps = EPHead(channels=8, num_labels=3, queries=4), torch.rand(2, 8, 6, 5)
        >>> torch.allclose(head(maps).contribution.sum((2, 3)) + head.classify.bias, head(maps).logits, atol=1e-4)
        True
    """

    def __init__(self, channels: int, num_labels: int, queries: int = 32, width: int = 0) -> None:
        super().__init__(channels, num_labels)
        self.project, channels = projection(channels, width, "EPHead")
        self.require(1, queries=queries)
        self.queries = nn.Parameter(0.02 * torch.randn(math.gcd(queries, channels), channels))
        self.value = nn.Linear(channels, channels, bias=False)
        self.classify = nn.Linear(channels, num_labels)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        x_BCN = self.project(features).flatten(2)
        value_BCN = positionwise(self.value.weight, x_BCN)
        queries, channels = self.queries.shape
        with torch.autocast(x_BCN.device.type, enabled=False):
            x_BCN, value_BCN, weight_LC = x_BCN.float(), value_BCN.float(), self.classify.weight.float()
            attention_BQN = positionwise(self.queries.float() * channels**-0.5, x_BCN).softmax(-1)
            read_BCN = attention_BQN.repeat_interleave(channels // queries, 1) * value_BCN
            contribution = positionwise(weight_LC, read_BCN)
            logits = contribution.sum(-1) + self.classify.bias.float()
            attention = class_maps(attention_BQN, positionwise(weight_LC, value_BCN))
        grid = (-1, *logits.shape[1:], *features.shape[-2:])
        return HeadOutput(logits, attention.reshape(grid), {}, contribution.reshape(grid))
