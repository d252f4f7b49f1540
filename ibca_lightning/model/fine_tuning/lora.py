"""LoRA: the linear layers of a backbone learn a sum of low rank, its other parameters stay: `model.lora_rank`.

Hu et al., ICLR 2022 (arXiv 2106.09685): W + U D, with U (out, r) zero at first and D (r, in) drawn. Their alpha is r
here, so that the sum is not scaled. Of a network without linear layers its convolutions do, W as (out, in x k x k);
this is peft's pair of a k x k convolution to r channels and a 1 x 1 one from them. By torch's parametrizations: a
layer's `weight` is the sum wherever it is read, also by attention that does not call the layer, which peft would pass
over without a word. Checkpoints hold W, U and D, to go on from; `merged` makes of them the weights of the plain
backbone, which is what everybody sees who uses the model.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ibca_lightning.system.errors import InputError

_KINDS = (nn.Linear, nn.Conv2d)
_PART = re.compile(r"(backbone\..+)\.parametrizations\.weight\.(original|0\.up|0\.down)")


class LowRankSum(nn.Module):
    """Adds a matrix of low rank to a weight.

    Args:
        weight: (out, in), or (out, in, k, k).
        rank: r.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        self.down = nn.Parameter(weight.new_empty(rank, weight[0].numel()))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as torch's linear layers, and the authors

    def forward(self, weight: Tensor) -> Tensor:
        """W + U D, of W's shape."""
        return weight + (self.up @ self.down).view_as(weight)


def adapt(backbone: nn.Module, name: str, rank: int) -> None:
    """Let every linear layer of a backbone learn a sum of this rank, and nothing else.

    Where there is none, every convolution that is not grouped does. Layers with a side of no more than the rank stay.

    Args:
        backbone: Whose used parameters require a gradient.
        name: Of the model, for errors.
        rank: r.

    Raises:
        InputError: It has no such layer.
    """
    learning = [m for m in backbone.modules() if isinstance(m, _KINDS) and m.weight.requires_grad]
    linear = any(isinstance(m, nn.Linear) for m in learning)
    layers = [m for m in learning if isinstance(m, nn.Linear) or (not linear and m.groups == 1)]
    sides = [min(layer.weight.flatten(1).shape) for layer in layers]
    if not sides:
        fix = "leave it out, or take another backbone"
        raise InputError("a backbone with linear layers or convolutions for model.lora_rank", name, fix)
    if rank >= max(sides):
        raise InputError(f"model.lora_rank below {max(sides)}, a side of a layer of {name}", rank, "try 8")
    backbone.requires_grad_(False)
    for layer, side in zip(layers, sides, strict=True):
        if rank < side:
            _add(layer, LowRankSum(layer.weight, rank))


def _add(layer: nn.Module, added: LowRankSum) -> nn.Module:
    """Make a sum of a layer's weight; it can be pickled, as processes that are spawned are given it."""
    parametrize.register_parametrization(layer, "weight", added)
    made: Any = type(layer)  # by torch, for this layer alone, and not to be pickled
    made.__reduce__ = _reduced
    return layer


def _reduced(layer: Any) -> tuple[Any, ...]:
    (cls,), state = type(layer).__bases__, dict(layer.__dict__)
    added = layer.parametrizations["weight"]
    state["_modules"] = {name: part for name, part in state["_modules"].items() if name != "parametrizations"}
    state["_parameters"] = {"weight": added.original, **state["_parameters"]}
    return _again, (cls, state, added[0])


def _again(cls: type[nn.Module], state: dict[str, Any], added: LowRankSum) -> nn.Module:
    layer = cls.__new__(cls)
    layer.__dict__.update(state)
    return _add(layer, added)


def merged(state: Mapping[str, Any]) -> dict[str, Any]:
    """A `state_dict` of a model as that of its plain backbone: sums in place of their parts, all else as it is.

    Raises:
        InputError: Two parts do not make up a sum, which may be of any size.
    """
    result: dict[str, Any] = {}
    for key, value in state.items():
        part = _PART.fullmatch(key)
        names = [f"{part[1]}.parametrizations.weight.{name}" for name in ("original", "0.up", "0.down")] if part else []
        tensors = [tensor for name in names if isinstance(tensor := state.get(name), Tensor)]
        if part is None or len(tensors) < len(names):
            result[key] = value
        elif part[2] == "original":
            weight, up, down = tensors
            rows, rank, columns = weight.shape[:1], down.shape[:1], math.prod(weight.shape[1:])
            alike = up.dtype == down.dtype == weight.dtype
            if not alike or (*up.shape, *down.shape) != (*rows, *rank, *rank, columns):
                got = f"{tuple(up.shape)} and {tuple(down.shape)}" if alike else f"{up.dtype} and {down.dtype}"
                expected = f"two factors of {part[1]}.weight, {weight.dtype} of shape {tuple(weight.shape)}"
                raise InputError(expected, got, "use the checkpoint as it was written")
            result[f"{part[1]}.weight"] = weight + (up @ down).view_as(weight)
    return result
