"""Attentive pooling: one learnt query reads the map through several heads, then an MLP and a linear layer.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (SigLIP), ICCV 2023, arXiv 2303.15343, after "Scaling Vision
Transformers", CVPR 2022, arXiv 2106.04560; timm's `AttentionPoolLatent`. As an attentive probe it is what V-JEPA, CAE
and others are compared by.

Same weights in, same pooled vector out as timm's (the test runs it). Different from it:

- class maps are ours (`class_maps`): the one query belongs to no class, and what a position says about one is read
  through values, output and classifier, without the MLP;
- smaller, for small data: `width` 256 behind a linear projection, `ffn` 512, dropout 0.1 in the MLP; there as wide as
  the map (our `width=0`), four times that, 0.

Shapes: B images, C channels (width), H x W positions, N = H*W, L labels.
"""
# ruff: noqa: N806 - shape suffixes

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import Float32Linear, positionwise
from ibca_lightning.heads.peers.decoders.transformer import MultiHeadAttention, feed_forward, projection
from ibca_lightning.heads.peers.pooling.class_maps import class_maps


class AttentivePoolHead(Head):
    """p = attention(q asks x); p = p + W gelu(V norm p); logit_l = w_l . p + b_l.

    Args:
        channels: Channels of the feature map.
        num_labels: L.
        width: C; 0 for the feature map's channels, without a projection.
        num_heads: Heads >= 1 of the attention, a divisor of the width.
        ffn: Hidden channels >= 1 of the MLP.
        dropout: In [0, 1), of the MLP.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import AttentivePoolHead
        >>> AttentivePoolHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5)).attention.shape
        torch.Size([2, 3, 6, 5])
    """

    def __init__(
        self, channels: int, num_labels: int, width: int = 256, num_heads: int = 8, ffn: int = 512, dropout: float = 0.1
    ) -> None:
        super().__init__(channels, num_labels)
        c = width or channels
        self.project = projection(channels, width)
        self.query = nn.Parameter(torch.empty(1, c))
        nn.init.trunc_normal_(self.query, std=c**-0.5)
        self.pool = MultiHeadAttention(c, num_heads)
        self.norm, self.mlp = nn.LayerNorm(c), feed_forward(c, ffn, dropout, nn.GELU())
        self.classify = Float32Linear(c, num_labels)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        x_BNC = self.project(features.flatten(2).mT)
        pooled_B1C, attention_B1N = self.pool(self.query.expand(x_BNC.shape[0], -1, -1), x_BNC, x_BNC)
        pooled_BC = (pooled_B1C + self.mlp(self.norm(pooled_B1C)))[:, 0]
        logits: Tensor = self.classify(pooled_BC)
        with torch.autocast(x_BNC.device.type, enabled=False):
            read_LC = self.classify.weight.float() @ self.pool.output.weight.float() @ self.pool.value.weight.float()
            attention = class_maps(attention_B1N, positionwise(read_LC, x_BNC.mT.float()))
        return HeadOutput(logits, attention.reshape(*logits.shape, *features.shape[-2:]), {})
