"""GLoRI: a query a class reads the local map in one decoder layer; its answer is classified beside a global vector.

Yang et al., "Chest X-ray Foundation Model with Global and Local Representations Integration" (CheXFound), 2025, arXiv
2502.05142. ML-Decoder with a group a class, on the patches of a ViT's last four blocks side by side, and the class
tokens of the same blocks beside each answer.

Same weights in, same logits out as the authors' code (github.com/RPIDIAL/CheXFound); the numbers stand in the test.
Different from the original:

- any feature map. The authors' is `--model.feature_blocks 4 --model.head.class_token true` on a ViT, whose class tokens
  come behind its patches, the same at every position. Without class tokens the mean of the map is the global vector;
- smaller, for small data: `width` 256 and `ffn` 512, theirs 768 and 2048;
- one linear layer for the global vector and one for the answers in place of one for both: the same sum, in less memory.

Shapes: B images, C channels (width), H x W positions, N = H*W, L labels.
"""
# ruff: noqa: N806 - shape suffixes

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import Float32Linear
from ibca_lightning.heads.peers.decoders.transformer import LabelLinear, ReadBlock, dropout_layer, projection
from ibca_lightning.system.errors import InputError


class GLoRIHead(Head):
    """h_l = block(norm(2 q_l) asks relu(project x)); logit_l = w_l . h_l + u_l . g + b_l.

    The queries are random and stay so; the keys learn to answer them. The attention is that of label l's query, mean
    over heads. What the global vector g says lies in no map.

    Args:
        channels: Channels of the feature map.
        num_labels: L.
        width: C; 0 for the channels that are read, without a projection.
        num_heads: Heads >= 1 of the attention, a divisor of the width.
        ffn: Hidden channels >= 1 of the block.
        dropout: In [0, 1).
        class_token: Whether the second half of the channels are class tokens, which make g and are not read.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import GLoRIHead
        >>> GLoRIHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5)).attention.shape
        torch.Size([2, 3, 6, 5])
    """

    queries: Tensor

    def __init__(
        self, channels: int, num_labels: int, width: int = 256, num_heads: int = 8, ffn: int = 512,
        dropout: float = 0.1, class_token: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(channels, num_labels)
        self.class_token = class_token
        if class_token and channels % 2:
            raise InputError("as many channels of class tokens as of patches", f"{channels} together", _BLOCKS)
        self.local = channels // 2 if class_token else channels
        self.first_global = self.local if class_token else 0
        c = width or self.local
        self.project = nn.Sequential(projection(self.local, width), nn.ReLU())
        self.register_buffer("queries", torch.randn(num_labels, c))
        self.query_dropout, self.query_norm = dropout_layer(dropout), nn.LayerNorm(c)
        self.decoder = ReadBlock(c, num_heads, ffn, dropout)
        self.classify = LabelLinear(num_labels, c)
        self.classify_global = Float32Linear(channels - self.first_global, num_labels, bias=False)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        map_BCN = features.flatten(2)
        x_BNC = self.project(map_BCN[:, : self.local].mT)
        query_BLC = self.queries.expand(x_BNC.shape[0], -1, -1)
        query_BLC = self.query_norm(query_BLC + self.query_dropout(query_BLC))
        h_BLC, attention_BLN = self.decoder(query_BLC, x_BNC, x_BNC)
        whole_BC = map_BCN[:, self.first_global :].float().mean(-1)  # of a token, the same everywhere, the token
        logits: Tensor = self.classify(h_BLC) + self.classify_global(whole_BC)
        return HeadOutput(logits, attention_BLN.reshape(*logits.shape, *features.shape[-2:]), {})


_BLOCKS = "give model.feature_blocks, and a backbone that has a class token, or leave model.head.class_token false"
