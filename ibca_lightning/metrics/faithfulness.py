"""Does a probability rest on what the attention shows? Deletion and insertion curves.

The cells of the attention grid are taken in order of falling attention, and the picture under them is replaced by a
blurred copy (deletion) or brought back into one (insertion), a tenth of the cells at a time. A faithful map makes the
class's probability fall early under deletion, and rise early under insertion. Compare with other orders on the same
picture, such as a random one: the area itself depends on how sure the model is.

Source: Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018, arXiv
1806.07421. Different from the paper: cells in the place of pixels, because the maps have no more; deletion to the
blurred copy as well, because a black hole is a lesion of its own kind.

Shapes: B pictures, S picture side, L labels, H x W attention grid, N = H*W cells, K points of a curve.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Model = Callable[[Tensor], Tensor]
"""From pictures (B, 3, S, S) to probabilities (B, L)."""


class Curve(NamedTuple):
    """How a probability changes with the share of cells that are replaced.

    Attributes:
        shares: (K,), rising from 0 to 1.
        probabilities: (K,).
    """

    shares: Tensor
    probabilities: Tensor

    @property
    def area(self) -> float:
        """The area under the curve, by trapezoids, in [0, 1]."""
        return float(torch.trapezoid(self.probabilities.double(), self.shares.double()))


def replacement_curve(
    model: Model, start: Tensor, end: Tensor, attention: Tensor, label: int, steps: int = 10
) -> Curve:
    """Replace the most attended cells of a picture first: deletion from the picture, insertion to it.

    Args:
        model: Gives probabilities; called once, on all K pictures.
        start: (3, S, S), of any type the model takes: the picture, or for insertion what stands in its place.
        end: (3, S, S), what the cells are taken from.
        attention: (H, W), any scores; equal ones go in the order of reading.
        label: Whose probability is followed.
        steps: Into how many nearly equal parts the cells are taken, >= 1; fewer where there are fewer cells.

    Returns:
        The curve from `start` (share 0) to `end` (share 1).

    Examples:
        >>> import torch
        >>> from ibca_lightning.metrics.faithfulness import replacement_curve
        >>> model = lambda images: images[:, 0, :2, :2].mean((1, 2))[:, None]  # how bright is the first of four cells?
        >>> places = torch.tensor([[0.7, 0.1], [0.1, 0.1]])
        >>> replacement_curve(model, torch.ones(3, 4, 4), torch.zeros(3, 4, 4), places, label=0).probabilities
        tensor([1., 0., 0., 0., 0.])
    """
    cells = attention.numel()
    counts = sorted({(step * cells + steps // 2) // steps for step in range(steps + 1)})
    order = attention.detach().flatten().sort(descending=True, stable=True).indices
    rank = torch.empty_like(order)
    rank[order] = torch.arange(cells, device=order.device)
    replaced = rank[None] < torch.tensor(counts, device=order.device)[:, None]
    grid = replaced.view(-1, 1, *attention.shape).float()
    pixels = F.interpolate(grid, size=start.shape[-2:], mode="nearest-exact").bool().to(start.device)
    probabilities = model(torch.where(pixels, end, start))[:, label]
    return Curve(torch.tensor(counts) / cells, probabilities.detach().float().cpu())


def pair_curves(
    model: Model,
    image: Tensor,
    attention: Tensor,
    label: int,
    mask: Tensor | None = None,
    steps: int = 10,
    filler: Tensor | None = None,
    seed: int = 0,
) -> dict[str, Curve]:
    """Both curves in the attention's order, and in the orders it is to be compared with.

    Args:
        model: As for `replacement_curve`.
        image: (3, S, S).
        attention: (H, W).
        label: Whose probability is followed.
        mask: (S, S) bool, the label's lesion; None or empty leaves its order out.
        steps: Into how many parts the cells are taken.
        filler: (3, S, S), what takes the place of deleted cells; default `blurred(image)`, from which insertion starts
            in any case.
        seed: Of the random order.

    Returns:
        `deletion`, `insertion`, the same with `_random`, and with `_lesion` where there is one.
    """
    height, width = attention.shape
    random = random_order(height, width, seed)
    orders = {"": attention, "_random": random}
    if mask is not None and bool(mask.any()):
        orders["_lesion"] = lesion_order(mask, random)
    blur = blurred(image)
    curves = {}
    for name, order in orders.items():
        gone = blur if filler is None else filler
        curves[f"deletion{name}"] = replacement_curve(model, image, gone, order, label, steps)
        curves[f"insertion{name}"] = replacement_curve(model, blur, image, order, label, steps)
    return curves


def blurred(image: Tensor, share: float = 1 / 16) -> Tensor:
    """Blur a picture (3, S, S) so far that no lesion is left in it, and keep its colours and type (uint8 or float).

    The standard deviation of the Gaussian is a share of S.
    """
    side = image.shape[-1]
    radius = min(max(round(3 * share * side), 1), side - 1)
    at = torch.arange(-radius, radius + 1, device=image.device, dtype=torch.float32)
    kernel = torch.exp(-(at**2) / (2 * (share * side) ** 2))
    kernel = kernel / kernel.sum()
    planes = image.float()[:, None]
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))
    return _as_type(planes[:, 0], image)


def mean_colour(image: Tensor) -> Tensor:
    """Paint a picture (3, S, S), uint8 or float, all over in its mean colour."""
    return _as_type(image.float().mean(dim=(1, 2), keepdim=True).expand(image.shape), image)


def random_order(height: int, width: int, seed: int) -> Tensor:
    """Score the cells at random, all different, in [0, 1): the reference of a map that knows nothing."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(height * width, generator=generator).view(height, width) / (height * width)


def lesion_order(mask: Tensor, ties: Tensor) -> Tensor:
    """Score the cells by how much of the lesion they hold: the reference of a map that knows all.

    Args:
        mask: (S, S) bool.
        ties: (H, W) float in [0, 1), the order of cells that hold as much; those without a lesion above all.

    Returns:
        (H, W) float64.
    """
    height, width = ties.shape
    held = F.adaptive_avg_pool2d(mask[None, None].double(), (height, width))[0, 0]
    # Between two ranks there is room for the order of ties.
    ranks = torch.searchsorted(held.flatten().sort().values, held)
    return ranks + ties.to(held)  # float64, which tells the cells of any grid apart


def _as_type(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype) if like.is_floating_point() else values.round().clamp(0, 255).to(like.dtype)
