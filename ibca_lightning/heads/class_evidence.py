"""What each position says about each class; and, apart from it, where queries of the class look.

Shapes: C channels, L labels, A heads; l a label, a a head, n a position.
"""

import math

import torch
from torch import Tensor, nn

from ibca_lightning.heads.layers import direction


class ClassEvidence(nn.Module):
    """c_aln = s_al w_al . x_n / ||w_al||: evidence of A kinds for each class, with a learnt scale for each.

    Several kinds, each pooled by an attention of its own, because a single one locks in: once a spurious mark explains
    a class, the position of the cause is not attended to and gets no gradient.
    """

    def __init__(self, channels: int, num_labels: int, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_heads, num_labels, channels))
        self.scale = nn.Parameter(torch.ones(num_heads, num_labels))
        nn.init.normal_(self.weight, std=channels**-0.5)

    def forward(self) -> Tensor:
        """s_al w_al / ||w_al||, (A, L, C) in float32: what a position is multiplied by."""
        scale = self.scale.float() / math.sqrt(self.weight.shape[-1])
        return direction(self.weight.float()) * scale.unsqueeze(-1)


class ClassQueries(nn.Module):
    """q_al . x_n: how much head a of class l looks at position n, before the softmax.

    No key and value projections and no self-attention among queries: the maps are all that is asked for. The queries
    start small, so that the first maps follow nothing but the evidence that is added to these scores.
    """

    def __init__(self, channels: int, num_labels: int, num_heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(num_heads, num_labels, channels))
        nn.init.normal_(self.query, std=0.02)

    def forward(self) -> Tensor:
        """q_al, (A, L, C) in float32."""
        return self.query.float()
