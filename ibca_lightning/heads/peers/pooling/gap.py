"""Global average pooling and a linear layer: the head every backbone comes with.

Shapes: B images, C channels, H x W positions, N = H*W, L labels.
"""

from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import positionwise
from ibca_lightning.heads.peers.projection import projection


class GAPHead(Head):
    """logit_l = mean_n (w_l . x_n) + b_l.

    Its attention is the softmax over the positions of the class activation map w_l . x_n (Zhou et al., CVPR 2016, arXiv
    1512.04150). The paper only draws the map; the softmax is ours, the one that CSRA and MIL attention use.
    Sharing out the map's positive part instead gives a blunter map, so this is the stronger baseline of localisation.

    Args:
        channels: C of the feature map.
        num_labels: L.
        width: Channels after a projection (1x1 convolution, GELU) in front; 0 for none.

    Raises:
        InputError: `width` is negative.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import GAPHead
        >>> head, maps = GAPHead(channels=8, num_labels=3), torch.rand(2, 8, 6, 5)
        >>> torch.allclose(head(maps).contribution.sum((2, 3)) + head.linear.bias, head(maps).logits, atol=1e-4)
        True
    """

    def __init__(self, channels: int, num_labels: int, width: int = 0) -> None:
        super().__init__(channels, num_labels)
        self.project, channels = projection(channels, width, "GAPHead")
        self.linear = nn.Linear(channels, num_labels)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        maps = positionwise(self.linear.weight, self.project(features).flatten(2)).float()
        # The mean of the maps is the map of the mean, and under autocast it is taken in float32.
        contribution = maps / maps.shape[-1]
        logits = contribution.sum(-1) + self.linear.bias
        attention = maps.softmax(-1)
        grid = (-1, *logits.shape[1:], *features.shape[-2:])
        return HeadOutput(logits, attention.reshape(grid), {}, contribution.reshape(grid))
