"""TSFormer: label tokens that read the feature map in the blocks of a second stream.

Zhu et al., "Two-Stream Transformer for Multi-Label Image Classification", ACM Multimedia 2022, doi
10.1145/3503161.3548343 (no arXiv version).

Same weights in, same logits out as the blocks and the classifier of the authors' code (github.com/jasonseu/TSFormer)
over the same tokens; the numbers stand in the test. Different from the original:

- any feature map in the place of a ViT: every block reads one and the same map, theirs the tokens of ViT layer i in
  block i, with a class token among the keys;
- label tokens are learnt; theirs are BERT vectors of the labels' names, or learnt (their option "random");
- smaller, for small data. The published settings: `width` 768, `num_heads` 1, `ffn` 3072, `dropout` 0, `layers` 3
  (COCO), 8 (VOC) or 11 (NUS-WIDE). Ours: 256, 4, 512, 0.1, 2.

Shapes: B images, C channels (width), H x W positions, N = H*W, L labels.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.peers.decoders.transformer import (
    LabelLinear,
    MultiHeadAttention,
    dropout_layer,
    feed_forward,
    projection,
)


class TSFormerHead(Head):
    """t = t + attention(norm t asks norm x), t = t + W gelu(V norm t) a layer; logit_l = w_l . t_l + b_l.

    The attention is that of label l's token in the last layer, mean over heads.

    Args:
        channels: Channels of the feature map.
        num_labels: L.
        width: C; 0 for the feature map's channels, without a projection.
        num_heads: Heads >= 1 of each attention, a divisor of the width.
        ffn: Hidden channels >= 1 of each block.
        layers: Blocks >= 1.
        dropout: In [0, 1).

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import TSFormerHead
        >>> TSFormerHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5)).attention.shape
        torch.Size([2, 3, 6, 5])
    """

    def __init__(
        self,
        channels: int,
        num_labels: int,
        width: int = 256,
        num_heads: int = 4,
        ffn: int = 512,
        layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, num_labels)
        self.require(1, layers=layers)
        c = width or channels
        self.project = projection(channels, width)
        self.tokens = nn.Parameter(torch.empty(num_labels, c))
        nn.init.uniform_(self.tokens, -(num_labels**-0.5), num_labels**-0.5)
        self.blocks = nn.ModuleList(_PreNormBlock(c, num_heads, ffn, dropout) for _ in range(layers))
        self.classify = LabelLinear(num_labels, c)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        x_BNC = self.project(features.flatten(2).mT)
        t_BLC, attention_BLN = self.tokens.expand(x_BNC.shape[0], -1, -1), x_BNC.new_empty(0)
        for block in self.blocks:
            t_BLC, attention_BLN = block(t_BLC, x_BNC)
        logits: Tensor = self.classify(t_BLC)
        return HeadOutput(logits, attention_BLN.reshape(*logits.shape, *features.shape[-2:]), {})


class _PreNormBlock(nn.Module):
    """One block: norms in front of attention and MLP, no bias in front of the softmax."""

    def __init__(self, width: int, num_heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.token_norm, self.map_norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, num_heads, dropout, bias=False)
        self.ffn = feed_forward(width, ffn, dropout, nn.GELU())
        self.dropout = dropout_layer(dropout)

    def forward(self, t_BLC: Tensor, x_BNC: Tensor) -> tuple[Tensor, Tensor]:
        x_BNC = self.map_norm(x_BNC)
        answer_BLC, attention_BLN = self.attention(self.token_norm(t_BLC), x_BNC, x_BNC)
        t_BLC = t_BLC + self.dropout(answer_BLC)
        return t_BLC + self.dropout(self.ffn(self.ffn_norm(t_BLC))), attention_BLN
