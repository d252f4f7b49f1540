"""Weights that are none: no numbers, as a training that diverged leaves them, or numbers of another kind."""

import torch
from torch import Tensor

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_TRAINED = (".weight", ".bias", ".running_mean", ".running_var", ".original", ".up", ".down")


def wrong_kind(name: str, weight: Tensor, own: Tensor | None = None) -> str:
    """What is wrong with the type of a weight; blank where it is sound.

    Args:
        name: Of the weight, whose last part says what it is where the model's own is not known.
        weight: Of a file, of any type.
        own: The model's, which it is to be copied to.
    """
    is_float = name.endswith(_TRAINED) or weight.is_floating_point() if own is None else own.is_floating_point()
    is_complex = weight.is_complex() and (own is None or not own.is_complex())
    if is_complex or (is_float and weight.dtype not in _FLOATS):
        return f"{weight.dtype} in place of floating-point numbers in {name}".replace("torch.", "")
    return ""


def spoilt(name: str, weight: Tensor, own: Tensor | None = None) -> str:
    """What is wrong with a weight, as `wrong_kind`; a mask of attention may hold zeros and infinities."""
    if wrong := wrong_kind(name, weight, own):
        return wrong
    if weight.dtype == torch.float64:
        weight = weight.float()  # as a model holds it: beyond 3.4e38 is infinity
    finite = weight.isfinite()
    if not bool(finite.all()):
        is_mask = not name.endswith(_TRAINED) and not bool(weight[finite].any())
        if not is_mask or bool(weight.isnan().any()):
            return f"NaN or infinity in {name}"
    return f"a variance below 0 in {name}" if name.endswith(".running_var") and bool((weight < 0).any()) else ""
