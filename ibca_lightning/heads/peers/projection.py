"""A learnt projection of the feature map in front of a head that has none of its own in its paper.

Shapes: B images, C channels, H x W positions: (B, C, H, W) to (B, width, H, W).
"""

from torch import nn

from ibca_lightning.system.errors import InputError


def projection(channels: int, width: int, head: str) -> tuple[nn.Module, int]:
    """1x1 convolution and GELU.

    The papers fine-tune their backbones. On a frozen one a linear head can only read what is already there; with a
    projection it is compared with heads that bring one.

    Returns:
        The projection, or an identity where the width is 0; and the channels behind it.

    Raises:
        InputError: The width is negative; `head` is the name that the message has.
    """
    if width < 0:
        raise InputError(f"{head}'s width >= 0", width, "0 is no projection")
    return (nn.Sequential(nn.Conv2d(channels, width, 1), nn.GELU()), width) if width else (nn.Identity(), channels)
