"""Multi-head class attention: one learnt query a class and head, keys from the feature map.

Shapes: B images, C channels, N = H x W positions, L labels, A heads, E = C / A channels of a head.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
from torch import Tensor, nn

from ibca_lightning.errors import InputError


class ClassQueries(nn.Module):
    """q_la . k_na / sqrt(E): how much head a of class l looks at position n, before the softmax.

    No value path and no self-attention among queries: the maps are all that is asked for, and the cost stays that of
    one C x C projection. The queries start small, so that the first maps are near uniform.

    Args:
        channels: C.
        num_labels: L.
        num_heads: A, a divisor of C.

    Raises:
        InputError: A does not divide C.
    """

    def __init__(self, channels: int, num_labels: int, num_heads: int, init_std: float = 0.02) -> None:
        super().__init__()
        if channels % num_heads:
            raise InputError(f"num_heads that divides the width {channels}", num_heads, "change num_heads or width")
        # A key's bias would add the same to all positions, which the softmax removes.
        self.key = nn.Linear(channels, channels, bias=False)
        self.query = nn.Parameter(torch.empty(num_heads, num_labels, channels // num_heads))
        nn.init.normal_(self.query, std=init_std)

    def forward(self, x_BCN: Tensor) -> Tensor:
        """Score positions: features (B, C, N) to (B, A, L, N)."""
        heads, _, size = self.query.shape
        key_BAEN = (self.key.weight.float() @ x_BCN).reshape(x_BCN.shape[0], heads, size, x_BCN.shape[2])
        scaled_query: Tensor = self.query.float() * size**-0.5
        return scaled_query @ key_BAEN
