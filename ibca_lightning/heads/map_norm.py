"""Batch normalisation that takes a batch of a single value.

Shapes: B images, C channels, H x W positions.
"""

from torch import Tensor, nn


class MapBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d that reads its running statistics where a channel has one value only.

    A batch of one picture with a map of 1 x 1 has no variance, and BatchNorm2d refuses it in training.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base's name
        """Normalise (B, C, H, W) a channel."""
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)
