"""The eight flips and quarter turns of a square picture, numbered."""

from torch import Tensor

# (quarter turns against the clock, then mirrored or not). The first 1, 4 or 8 are what may be asked for: the picture
# as it is; with flips and the half turn; all eight.
VIEWS = ((0, False), (2, False), (0, True), (2, True), (1, False), (3, False), (1, True), (3, True))


def turned(images: Tensor, view: int) -> Tensor:
    """Return one view, 0 (as they are) to 7, of square pictures, masks or maps (..., S, S).

    Example:
        >>> import torch
        >>> from ibca_lightning.data.pictures.views import turned
        >>> [turned(torch.tensor([[1, 2], [3, 4]]), view).tolist() for view in (0, 1, 2)]  # as it is, turned, mirrored
        [[[1, 2], [3, 4]], [[4, 3], [2, 1]], [[2, 1], [4, 3]]]
    """
    turns, mirrored = VIEWS[view]
    images = images.rot90(turns, (-2, -1)) if turns else images
    return images.flip(-1) if mirrored else images
