"""Query2Label: a learnt query for each label in a transformer decoder over the feature map.

Liu et al., "Query2Label: A Simple Transformer Way to Multi-Label Classification", arXiv 2107.10834 (2021).

Same weights in, same logits out as the authors' code (github.com/SlongLiu/query2labels), which leaves out the decoder's
self-attention by default; the numbers stand in the test. Different from the original:

- smaller, for small data. The published settings: `width` 2048 (= the backbone's channels, no projection, our
  `width=0`), `num_heads` 4, `ffn` 8192, `encoder_layers` 1, `decoder_layers` 2, `dropout` 0.1. Ours: 256, 4, 512, 0, 2,
  0.1. An encoder compares all positions with all, which on a 24 x 24 map costs more than the rest of the head;
- the positional encoding is computed for the map that comes, theirs for one image size;
- no dropout on the encoder's attention weights.

Shapes: B images, C channels (width), H x W positions, N = H*W, L labels.
"""
# ruff: noqa: N806 - shape suffixes

import math

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.peers.decoders.transformer import LabelLinear, MixBlock, ReadBlock, projection
from ibca_lightning.system.errors import InputError


class Query2LabelHead(Head):
    """h_l = 0, then h = block(h + q_l asks x + position, x) a layer; logit_l = w_l . norm(h_l) + b_l.

    The attention is that of label l's query in the last layer, mean over heads. Where the map is empty it is not
    uniform: the positional encoding alone can draw it to a place.

    Args:
        channels: Channels of the feature map.
        num_labels: L.
        width: C, a multiple of 4 where there are positions; 0 for the feature map's channels, without a projection.
        num_heads: Heads >= 1 of each attention, a divisor of the width.
        ffn: Hidden channels >= 1 of each block.
        encoder_layers: Layers >= 0 in which the positions attend to one another.
        decoder_layers: Layers >= 1 in which the labels attend to the positions.
        dropout: In [0, 1).
        positions: Whether keys have a positional encoding.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import Query2LabelHead
        >>> Query2LabelHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5)).attention.shape
        torch.Size([2, 3, 6, 5])
    """

    def __init__(
        self,
        channels: int,
        num_labels: int,
        width: int = 256,
        num_heads: int = 4,
        ffn: int = 512,
        encoder_layers: int = 0,
        decoder_layers: int = 2,
        dropout: float = 0.1,
        positions: bool = True,
    ) -> None:
        super().__init__(channels, num_labels)
        c = width or channels
        self.require(0, encoder_layers=encoder_layers)
        self.require(1, decoder_layers=decoder_layers)
        if positions and c % 4:
            raise InputError("a width that 4 divides", c, "change Query2LabelHead's width, or positions: false")
        self.positions = positions
        self.project = projection(channels, width)
        self.encoder = nn.ModuleList(MixBlock(c, num_heads, ffn, dropout) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(ReadBlock(c, num_heads, ffn, dropout) for _ in range(decoder_layers))
        self.queries = nn.Parameter(torch.randn(num_labels, c))
        self.norm = nn.LayerNorm(c)
        self.classify = LabelLinear(num_labels, c)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        size = (features.shape[-2], features.shape[-1])
        x_BNC = self.project(features.flatten(2).mT)
        position_NC = x_BNC.new_zeros(())
        if self.positions:
            position_NC = sine_positions(*size, x_BNC.shape[-1], x_BNC.device).to(x_BNC.dtype)
        for layer in self.encoder:
            x_BNC = layer(x_BNC, x_BNC + position_NC)
        key_BNC = x_BNC + position_NC
        query_BLC = self.queries.expand(x_BNC.shape[0], -1, -1)
        h_BLC = torch.zeros_like(query_BLC)
        attention_BLN = x_BNC.new_empty(0)
        for layer in self.decoder:
            h_BLC, attention_BLN = layer(h_BLC, key_BNC, x_BNC, h_BLC + query_BLC)
        return HeadOutput(self.classify(self.norm(h_BLC)), attention_BLN.reshape(*h_BLC.shape[:2], *size), {})


def sine_positions(height: int, width: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Sines and cosines of the row (first half of the channels) and of the column (second half).

    Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020, arXiv 2005.12872: rows 1..H are scaled to
    (0, 2 pi], and channels 2i and 2i+1 of C/2 are sine and cosine of row / 10000^(4i/C). (H*W, C), float32, rows first.
    """
    step = torch.arange(channels // 4, dtype=torch.float32, device=device) * (4 / channels)
    codes = []
    for count in (height, width):
        place = torch.arange(1, count + 1, dtype=torch.float32, device=device) * (2 * math.pi / (count + 1e-6))
        angle = place[:, None] / 10000.0**step
        codes.append(torch.stack((angle.sin(), angle.cos()), -1).flatten(1))
    rows, columns = codes
    return torch.cat((rows.repeat_interleave(width, 0), columns.repeat(height, 1)), 1)
