"""Layers that compute in float32 whatever autocast and the precision of their weights: what overflows half precision.

Switching autocast off is not enough: with "16-true" the weights themselves are half.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Float32Linear(nn.Linear):
    """nn.Linear in float32."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base's name
        """(..., in) to (..., out)."""
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(input.float(), self.weight.float(), None if self.bias is None else self.bias.float())


class Float32LayerNorm(nn.LayerNorm):
    """nn.LayerNorm in float32."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base's name
        """Normalise over the last axis."""
        return F.layer_norm(input.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)
