"""Global average pooling and a linear layer: the head every backbone comes with.

Shapes: B images, C channels, H x W positions, N = H*W, L labels.
"""

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput


class GAPHead(Head):
    """logit_l = w_l . mean_n x_n + b_l.

    Its attention is the class activation map (Zhou et al., CVPR 2016, arXiv 1512.04150) w_l . x_n, of which the
    positive part, divided by its sum, is what speaks for the class; a map that is positive nowhere becomes uniform.

    Args:
        channels: C of the feature map.
        num_labels: L.
    """

    def __init__(self, channels: int, num_labels: int) -> None:
        super().__init__(channels, num_labels)
        self.linear = nn.Linear(channels, num_labels)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        logits = self.linear(features.mean((-2, -1)))
        # float32, so that the maps sum to 1 under autocast too
        maps = torch.einsum("lc,bchw->blhw", self.linear.weight, features).float()
        return HeadOutput(logits.float(), positive_share(maps), {})


def positive_share(maps: Tensor) -> Tensor:
    """Divide the positive part of each map by its sum; a map that is positive nowhere becomes uniform.

    Args:
        maps: (B, L, H, W) float32.

    Returns:
        (B, L, H, W), non-negative, each map sums to 1.
    """
    positive = maps.relu()
    total = positive.sum((-2, -1), keepdim=True)
    uniform = torch.full_like(maps, 1.0) / (maps.shape[-2] * maps.shape[-1])
    floor = torch.finfo(maps.dtype).tiny
    return torch.where(total > floor, positive / total.clamp(min=floor), uniform)
