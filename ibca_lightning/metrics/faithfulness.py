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


def deletion_curve(
    model: Model, image: Tensor, attention: Tensor, label: int, steps: int = 10, filler: Tensor | None = None
) -> Curve:
    """Take the most attended cells out of a picture first.

    Args:
        model: Gives probabilities; called once, on all K pictures.
        image: (3, S, S), of any type the model takes.
        attention: (H, W), any scores; equal ones go in the order of reading.
        label: Whose probability is followed.
        steps: Into how many nearly equal parts the cells are taken, >= 1; fewer where there are fewer cells.
        filler: (3, S, S), what takes the place of the picture; default `blurred(image)`.

    Returns:
        The curve from the picture (share 0) to the filler (share 1).

    Example:
        A model that reads the brightness of the first of four cells; a map that points there lets it fall at once.

        >>> import torch
        >>> from ibca_lightning.metrics.faithfulness import deletion_curve
        >>> image, black = torch.ones(3, 4, 4), torch.zeros(3, 4, 4)
        >>> model = lambda images: images[:, 0, :2, :2].mean((1, 2))[:, None]
        >>> faithful = torch.tensor([[0.7, 0.1], [0.1, 0.1]])
        >>> curve = deletion_curve(model, image, faithful, label=0, steps=4, filler=black)
        >>> curve.probabilities.tolist(), curve.area
        ([1.0, 0.0, 0.0, 0.0, 0.0], 0.125)
        >>> deletion_curve(model, image, 1 - faithful, label=0, steps=4, filler=black).area  # the opposite map
        0.875
    """
    return _curve(model, image, blurred(image) if filler is None else filler, attention, label, steps)


def insertion_curve(
    model: Model, image: Tensor, attention: Tensor, label: int, steps: int = 10, filler: Tensor | None = None
) -> Curve:
    """Bring the most attended cells back first.

    Args:
        model: As for `deletion_curve`, and so are the others.
        image: (3, S, S).
        attention: (H, W).
        label: Whose probability is followed.
        steps: Into how many parts the cells are taken.
        filler: (3, S, S), where the curve starts; default `blurred(image)`.

    Returns:
        The curve from the filler (share 0) to the picture (share 1).
    """
    return _curve(model, blurred(image) if filler is None else filler, image, attention, label, steps)


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
        model: As for `deletion_curve`.
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
        curves[f"deletion{name}"] = deletion_curve(
            model, image, order, label, steps, blur if filler is None else filler
        )
        curves[f"insertion{name}"] = insertion_curve(model, image, order, label, steps, blur)
    return curves


def blurred(image: Tensor, share: float = 1 / 16) -> Tensor:
    """Blur a picture so far that no lesion is left in it, and keep its colours.

    Args:
        image: (3, S, S), uint8 or float.
        share: Standard deviation of the Gaussian, as a share of S.

    Returns:
        (3, S, S), of the picture's type.
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
    """Paint a picture all over in its mean colour.

    Args:
        image: (3, S, S), uint8 or float.

    Returns:
        (3, S, S), of the picture's type.
    """
    return _as_type(image.float().mean(dim=(1, 2), keepdim=True).expand(image.shape), image)


def random_order(height: int, width: int, seed: int) -> Tensor:
    """Score the cells at random: the reference of a map that knows nothing.

    Args:
        height: H.
        width: W.
        seed: Of the scores, which depend on nothing else.

    Returns:
        (H, W) float32 in [0, 1), all different.
    """
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


def _curve(model: Model, start: Tensor, end: Tensor, attention: Tensor, label: int, steps: int) -> Curve:
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


def _as_type(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype) if like.is_floating_point() else values.round().clamp(0, 255).to(like.dtype)
