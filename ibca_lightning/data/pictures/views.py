"""The eight flips and quarter turns of a square picture, numbered."""

import torch
from torch import Tensor

# (quarter turns against the clock, then mirrored or not). The first 1, 4 or 8 are what may be asked for: the picture
# as it is; with flips and the half turn; all eight.
VIEWS = ((0, False), (2, False), (0, True), (2, True), (1, False), (3, False), (1, True), (3, True))


def turned(images: Tensor, view: int, pair: bool = False) -> Tensor:
    """Return one view, 0 (as they are) to 7, of square pictures, masks or maps (..., S, S).

    Where they hold a pair, each half by itself, so that left stays left: views 0 to 3.
    """
    if pair:
        return torch.cat([turned(half, view) for half in images.tensor_split(2, -1)], -1)
    turns, mirrored = VIEWS[view]
    images = images.rot90(turns, (-2, -1)) if turns else images
    return images.flip(-1) if mirrored else images
