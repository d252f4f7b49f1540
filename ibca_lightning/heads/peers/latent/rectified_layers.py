"""Small fully connected networks on one vector a picture, and their exact linearisation.

A head that classifies a pooled map x = mean_n x_n by a network g has no class map of its own. Its gradient gives one:
J_l = dg_l / dx, and J_l . x_n is what the position n adds to the logit to first order, GAP's class activation map where
g is linear. The gradient is written out here, because heads must also work without autograd (evaluation, export).

Shapes: B images, L labels, I inputs, O outputs.
"""
# ruff: noqa: N803, N806 - shape suffixes

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.layers import Float32Linear


class RectifiedLayers(nn.Module):
    """Linear layers in float32, each with a rectifier and dropout behind it, the last one too.

    Args:
        widths: Inputs, outputs of each layer: at least two.
        slopes: Slope of each layer's rectifier on the negative side; default 0 for all.
        dropout: Share in [0, 1) of the outputs of each layer that training drops.
    """

    def __init__(self, widths: Sequence[int], slopes: Sequence[float] = (), dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Float32Linear(*pair) for pair in pairwise(widths))
        self.slopes = list(slopes) or [0.0] * len(self.layers)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., I) to (..., O), float32."""
        for layer, slope in self._steps():
            x = F.dropout(F.leaky_relu(layer(x), slope), self.dropout, self.training)
        return x

    def linearise(self, x_BI: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Evaluate without dropout, and take the slopes there; not under autocast.

        Returns:
            The output (B, O), and a function that multiplies L directions of it for each picture (B, L, O) by the
            Jacobian: (B, L, I), float32.
        """
        slopes = []
        for layer, slope in self._steps():
            before_BO = layer(x_BI)
            slopes.append(torch.where(before_BO > 0, 1.0, slope))
            x_BI = F.leaky_relu(before_BO, slope)

        def pull_back(v_BLO: Tensor) -> Tensor:
            for (layer, _), slope_BO in reversed(list(zip(self._steps(), slopes, strict=True))):
                v_BLO = v_BLO * slope_BO[:, None] @ layer.weight.float()
            return v_BLO

        return x_BI, pull_back

    def _steps(self) -> Iterable[tuple[Float32Linear, float]]:
        return zip(self.layers, self.slopes, strict=True)  # type: ignore[arg-type]


def normalise_pull_back(u_BO: Tensor, v_BLO: Tensor) -> Tensor:
    """Multiply v by the Jacobian of u / ||u||: (v - (v . u/||u||) u/||u||) / ||u||, (B, L, O)."""
    length_B11: Tensor = u_BO.norm(dim=-1).clamp(min=1e-12)[:, None, None]  # F.normalize's own bound
    unit_B1O = u_BO[:, None] / length_B11
    return (v_BLO - (v_BLO * unit_B1O).sum(-1, keepdim=True) * unit_B1O) / length_B11


def class_activation(jacobian_BLI: Tensor, features: Tensor) -> Tensor:
    """J_l . x_n: (B, L, I) and a map (B, I, H, W) to (B, L, N), float32."""
    return (jacobian_BLI.to(features.dtype) @ features.flatten(2)).float()
