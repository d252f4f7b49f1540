"""LoRA: the linear layers of a backbone learn a sum of low rank, its other parameters stay: `model.lora_rank`.

Hu et al., ICLR 2022 (arXiv 2106.09685): W + U D, with U (out, r) zero at first and D (r, in) drawn. Their alpha is r
here, so that the sum is not scaled. By torch's parametrizations: a layer's `weight` is the sum wherever it is read,
also by attention that does not call the layer. Checkpoints hold W, U and D, to go on from; `merged` makes of them the
weights of the plain backbone, which is what everybody sees who uses the model.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ibca_lightning.system.errors import InputError

_PART = re.compile(r"(backbone\..+)\.parametrizations\.weight\.(original|0\.up|0\.down)")


class LowRankSum(nn.Module):
    """Adds a matrix of low rank to a weight.

    Args:
        weight: (out, in).
        rank: r.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        self.down = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as torch's linear layers, and the authors

    def forward(self, weight: Tensor) -> Tensor:
        """W + U D, (out, in)."""
        return weight + self.up @ self.down


def adapt(backbone: nn.Module, name: str, rank: int) -> None:
    """Let every linear layer of a backbone learn a sum of this rank, and nothing else.

    Args:
        backbone: Whose used parameters require a gradient.
        name: Of the model, for errors.
        rank: r.

    Raises:
        InputError: It has no linear layer, or one that is smaller than the rank.
    """
    layers = [m for m in backbone.modules() if isinstance(m, nn.Linear) and m.weight.requires_grad]
    sides = [side for layer in layers for side in layer.weight.shape]
    if not layers:
        fix = "leave it out, or take a ViT, Swin or ConvNeXt"
        raise InputError("a backbone with linear layers for model.lora_rank", f"{name}, which has none", fix)
    if rank >= min(sides):
        raise InputError(f"model.lora_rank below {min(sides)}, a side of a layer of {name}", rank, "try 8")
    backbone.requires_grad_(False)
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRankSum(layer.weight, rank))


def merged(state: Mapping[str, Any]) -> dict[str, Any]:
    """A `state_dict` of a model as that of its plain backbone: sums in place of their parts, all else as it is."""
    result: dict[str, Any] = {}
    for key, value in state.items():
        part = _PART.fullmatch(key)
        names = [f"{part[1]}.parametrizations.weight.{name}" for name in ("original", "0.up", "0.down")] if part else []
        tensors = [tensor for name in names if isinstance(tensor := state.get(name), Tensor)]
        if part is None or len(tensors) < len(names):
            result[key] = value
        elif part[2] == "original":
            weight, up, down = tensors
            result[f"{part[1]}.weight"] = weight + up @ down
    return result
