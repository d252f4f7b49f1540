"""A small classifier on the feature that each class attends to: what no single position shows, such as extent.

Shapes: B images, C channels, L labels.
"""
# ruff: noqa: N803 - shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.layers import Float32LayerNorm, Float32Linear


class AttendedFeatureClassifier(nn.Module):
    """u_l . GELU(W norm(v_l)): one hidden layer shared by all classes, one output vector each.

    It starts near 0, so that attention is first learnt by the evidence of positions.
    """

    def __init__(self, channels: int, num_labels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = Float32LayerNorm(channels)
        self.hidden = Float32Linear(channels, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Parameter(torch.empty(num_labels, hidden))
        nn.init.normal_(self.output, std=0.02)

    def forward(self, pooled_BLC: Tensor) -> Tensor:
        """Pooled features (B, L, C) to logits (B, L)."""
        hidden: Tensor = self.dropout(F.gelu(self.hidden(self.norm(pooled_BLC))))
        return (hidden * self.output.float()).sum(-1)
