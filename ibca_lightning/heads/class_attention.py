"""Multi-head class attention: one learnt query a class and head, and the class's own evidence, say where to look.

Shapes: B images, C channels, N = H x W positions, L labels, A heads.
"""
# ruff: noqa: N803 - shape suffixes

import torch
from torch import Tensor, nn

from ibca_lightning.heads.positionwise import positionwise


class ClassQueries(nn.Module):
    """q_al . x_n: how much head a of class l looks at position n, before the softmax.

    No key and value projections and no self-attention among queries: the maps are all that is asked for. The queries
    start small, so that the first maps follow nothing but the evidence that is added to these scores.

    Args:
        channels: C.
        num_labels: L.
        num_heads: A.
    """

    def __init__(self, channels: int, num_labels: int, num_heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(num_heads, num_labels, channels))
        nn.init.normal_(self.query, std=0.02)

    def forward(self, x_BCN: Tensor) -> Tensor:
        """Score positions: features (B, C, N) to (B, A, L, N)."""
        score = positionwise(self.query.float().flatten(0, 1), x_BCN)
        return score.reshape(x_BCN.shape[0], *self.query.shape[:2], -1)
