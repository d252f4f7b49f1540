"""Layers that heads share: in float32, at every position of a map, and a norm for a batch of one value.

Float32: layers that compute in it whatever autocast and the precision of their weights, for what overflows half
precision. Switching autocast off is not enough: with "16-true" the weights themselves are half.

Shapes: B images, C channels, N = H x W positions, K outputs.
"""
# ruff: noqa: A002, N803 - `input` is the base's name; shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Float32Linear(nn.Linear):
    """nn.Linear in float32."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(input.float(), self.weight.float(), None if self.bias is None else self.bias.float())


class Float32LayerNorm(nn.LayerNorm):
    """nn.LayerNorm in float32."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise over the last axis."""
        return F.layer_norm(input.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution, of a channels-last map as the matrix product that it is.

    Half the kernels on a GPU, where a convolution adds its bias in one of its own, and 0.9 of the time on a CPU.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W) in the same layout."""
        if not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class MapBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d that reads its running statistics where a channel has one value only.

    A batch of one picture with a map of 1 x 1 has no variance, and BatchNorm2d refuses it in training.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, H, W) a channel."""
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def direction(x: Tensor) -> Tensor:
    """Bring x (..., C) to the length sqrt(C); zeros stay zeros.

    Of this length because a GPU then has one kernel for it, and another for the gradient.
    """
    # Far below any feature, and no smaller: the gradient of a vector of zeros has this to the power of -3/2.
    even: Tensor = F.rms_norm(x, x.shape[-1:], eps=1e-20)
    return even


def positionwise(weight_KC: Tensor, x_BCN: Tensor) -> Tensor:
    """w_k . x_n at each position of each picture, (B, K, N).

    As one batched product: `weight @ x` and a 1x1 convolution give the same numbers, but first copy the map into
    another order, and their backward pass takes two to three times as long.
    """
    # Not len(x): torch.export would keep the batch size that it was shown.
    return torch.bmm(weight_KC.expand(x_BCN.shape[0], -1, -1), x_BCN)
