"""Weights that are no numbers, as a training that diverged leaves them."""

from torch import Tensor


def spoilt(name: str, weight: Tensor) -> bool:
    """Whether a weight is no number somewhere; a mask of attention may hold zeros and infinities."""
    finite = weight.isfinite()
    if bool(finite.all()):
        return False
    is_mask = not name.endswith((".weight", ".bias")) and ".running_" not in name and not bool(weight[finite].any())
    return not is_mask or bool(weight.isnan().any())
