"""ML-Decoder: fixed group queries in one decoder layer without self-attention, then a linear layer a group.

Ridnik et al., "ML-Decoder: Scalable and Versatile Classification Head", WACV 2023, arXiv 2111.12933.

Same weights in, same logits out as the authors' code (github.com/Alibaba-MIIL/ML_Decoder); the numbers stand in the
test. Different from the original:

- smaller, for small data. The published settings: `width` 768, `num_heads` 8, `ffn` 2048, `dropout` 0.1, `groups`
  100 (or the number of labels, if that is less). Ours: 256, 8, 512, 0.1, 100;
- the group linear is one einsum, not a loop;
- no word vectors for classes never seen.

Shapes: B images, C channels (width), H x W positions, N = H*W, L labels, G groups, F labels of a group.
"""
# ruff: noqa: N806 - shape suffixes

import math

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.peers.decoders.transformer import ReadBlock, dropout_layer, projection


class MLDecoderHead(Head):
    """h_g = block(norm(2 q_g) asks relu(project x)); logit_l = w_l . h_g + b_l, with g = l // F the group of label l.

    The queries are random and stay so; the keys learn to answer them. The attention of label l is that of its group,
    mean over heads: labels of one group share their map.

    Args:
        channels: Channels of the feature map.
        num_labels: L.
        width: C; 0 for the feature map's channels, without a projection.
        num_heads: Heads >= 1 of the attention, a divisor of the width.
        ffn: Hidden channels >= 1 of the block.
        groups: The most queries, >= 1; with as many labels or fewer, each label has its own.
        dropout: In [0, 1).

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import MLDecoderHead
        >>> maps = MLDecoderHead(channels=8, num_labels=4, groups=2)(torch.rand(2, 8, 6, 5)).attention
        >>> torch.equal(maps[:, 0], maps[:, 1]), torch.equal(maps[:, 1], maps[:, 2])  # groups: labels 0, 1 and 2, 3
        (True, False)
    """

    queries: Tensor

    def __init__(
        self,
        channels: int,
        num_labels: int,
        width: int = 256,
        num_heads: int = 8,
        ffn: int = 512,
        groups: int = 100,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, num_labels)
        self.require(1, groups=groups)
        c, groups = width or channels, min(groups, num_labels)
        self.group_size = math.ceil(num_labels / groups)
        self.project = nn.Sequential(projection(channels, width), nn.ReLU())
        self.register_buffer("queries", torch.randn(groups, c))
        self.query_dropout, self.query_norm = dropout_layer(dropout), nn.LayerNorm(c)
        self.decoder = ReadBlock(c, num_heads, ffn, dropout)
        # The last group may have places to spare; they are cut off.
        self.weight = nn.Parameter(torch.empty(groups, c, self.group_size))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        nn.init.normal_(self.weight, std=c**-0.5)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        x_BNC = self.project(features.flatten(2).mT)
        query_BGC = self.queries.expand(x_BNC.shape[0], -1, -1)
        query_BGC = self.query_norm(query_BGC + self.query_dropout(query_BGC))
        h_BGC, attention_BGN = self.decoder(query_BGC, x_BNC, x_BNC)
        with torch.autocast(h_BGC.device.type, enabled=False):
            logits_BGF = torch.einsum("bgc,gcf->bgf", h_BGC.float(), self.weight.float())
        logits = logits_BGF.flatten(1)[:, : self.num_labels] + self.bias.float()
        attention_BLN = attention_BGN.repeat_interleave(self.group_size, 1)[:, : self.num_labels]
        return HeadOutput(logits, attention_BLN.reshape(*logits.shape, *features.shape[-2:]), {})
