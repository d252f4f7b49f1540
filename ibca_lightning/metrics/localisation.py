"""Does a label's attention lie on its lesion? And where a logit sums more than attended evidence, does that?

A pair is a picture and a label that is present in it (label 1) and has a lesion in the mask. Each figure is computed
for every pair, then averaged over pairs. The figures on cells depend on the attention grid: a coarse cell is touched
more often. Compare different grids by `attention_gain` (share over that of uniform attention) and by `pixel_AP`.

Sources: pointing game, Zhang et al., Top-down Neural Attention by Excitation Backprop (IJCV 2018); energy, Wang et
al., Score-CAM (CVPR workshops 2020), here on cells.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.metrics.operating_point import Floats, number, ratio

_CONTRIBUTION = "contribution_"  # before the figures of the contribution map
# Names in test_metrics.json, where they differ.
_PUBLISHED = {
    "energy": "attention_energy",
    "pointing": "pointing_game",
    f"{_CONTRIBUTION}pointing": f"{_CONTRIBUTION}pointing_game",
}
_GAINS = {"attention_gain": "energy", f"{_CONTRIBUTION}gain": f"{_CONTRIBUTION}energy"}
_COLUMNS = {published: name for name, published in _PUBLISHED.items()} | _GAINS


def output_figures(
    attention: Tensor,
    contribution: Tensor | None,
    mask: Tensor | None,
    labels: Tensor,
    regions: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Compute the figures of a head's maps, those of the contribution under the prefix `contribution_`.

    Args:
        attention: (B, L, H, W), non-negative, each map sums to 1.
        contribution: (B, L, H, W), any sign, as in `HeadOutput`; None leaves its figures out.
        mask: (B, L, S, S) bool, the lesions of each label; None leaves all but the regions out.
        labels: (B, L) in {0, 1, -1}.
        regions: Further masks by name, each (B, L, S, S) or (B, 1, S, S) bool.

    Returns:
        Those of `pair_figures`, and `<region>_energy` for each region, each (B, L) float32, NaN where there is no pair.
    """
    maps = {"": attention}
    if contribution is not None:
        maps[_CONTRIBUTION] = positive_share(contribution)
    figures = {}
    for prefix, values in maps.items():
        own = {} if mask is None else pair_figures(values, mask, labels)
        own |= {f"{name}_energy": region_energy(values, region, labels) for name, region in (regions or {}).items()}
        figures.update({prefix + name: figure for name, figure in own.items() if not (prefix and name == "uniform")})
    return figures


def positive_share(contribution: Tensor) -> Tensor:
    """Share out 1 over the positions that speak for a label: the positive part scaled to sum 1; uniform without one."""
    positive = contribution.detach().float().clamp(min=0)
    total = positive.sum(dim=(-2, -1), keepdim=True)
    uniform = torch.full_like(positive, 1 / (positive.shape[-2] * positive.shape[-1]))
    return torch.where(total > 0, positive / total.clamp_min(torch.finfo(total.dtype).tiny), uniform)


def pair_figures(attention: Tensor, mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Compute the localisation figures of every pair.

    Args:
        attention: (B, L, H, W), non-negative, each map sums to 1.
        mask: (B, L, S, S) bool, the lesions of each label.
        labels: (B, L) in {0, 1, -1}.

    Returns:
        Each (B, L) float32 on the device of `attention`, NaN where (picture, label) is no pair:
        `energy`, the share of the attention on cells that the lesion touches;
        `uniform`, the same of uniform attention, which is the share of cells touched;
        `pointing`, 1 if the highest cell touches the lesion, else 0 (of several highest cells, the share that does);
        `pixel_AP`, the AP of the bilinearly upsampled map against the mask's pixels;
        `other_energy`, the share on cells touched by the masks of other labels and not by the label's own; 0 where
        there are none, and such a pair counts in the mean (unlike an empty region's in `region_energy`).

    Examples:
        >>> import torch
        >>> from ibca_lightning.metrics.localisation import pair_figures
        >>> attention, mask = torch.tensor([[[[0.7, 0.1], [0.1, 0.1]]]]), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
        >>> mask[..., 0, 0] = True  # one pixel, in the first of the four cells
        >>> pair_figures(attention, mask, labels=torch.tensor([[1]]))["energy"]
        tensor([[0.7000]])
    """
    attention, mask = attention.detach().float(), mask.to(attention.device)
    touched = touched_cells(mask, attention.shape[-2:])
    pairs = (labels.to(attention.device) == 1) & touched.flatten(2).any(dim=-1)
    others = (touched.sum(dim=1, keepdim=True) > touched.long()) & ~touched
    highest = attention == attention.amax(dim=(-2, -1), keepdim=True)
    figures = {
        "energy": _share(attention, touched),
        "uniform": touched.float().mean(dim=(-2, -1)),
        "pointing": _share(highest.float(), touched),
        "other_energy": _share(attention, others),
    }
    figures = {name: values.masked_fill(~pairs, torch.nan) for name, values in figures.items()}
    figures["pixel_AP"] = torch.full_like(figures["energy"], torch.nan)
    for picture, label in pairs.nonzero().tolist():
        figures["pixel_AP"][picture, label] = _pixel_average_precision(attention[picture, label], mask[picture, label])
    return figures


def region_energy(attention: Tensor, region: Tensor, labels: Tensor) -> Tensor:
    """Compute the share of a present label's attention on the cells that a region touches.

    Args:
        attention: (B, L, H, W), non-negative, each map sums to 1.
        region: (B, L, S, S) bool, or (B, 1, S, S) for a region that is the same for all labels.
        labels: (B, L) in {0, 1, -1}.

    Returns:
        (B, L) float32, NaN where the label is not present or the region is empty.
    """
    attention = attention.detach().float()
    touched = touched_cells(region.to(attention.device), attention.shape[-2:])
    pairs = (labels.to(attention.device) == 1) & touched.flatten(2).any(dim=-1)
    return _share(attention, touched).masked_fill(~pairs, torch.nan)


def summarise(pairs: Mapping[str, Tensor], class_names: Sequence[str]) -> dict[str, Any]:
    """Average pair figures over pairs.

    Args:
        pairs: What `output_figures` returns, each (N, L), and further figures under the names they are to have
            (`spurious_energy`, `noise_energy`); NaN where there is no pair.
        class_names: L names.

    Returns:
        `metrics`: attention_energy, attention_gain (that over what uniform attention would give), pointing_game,
        pixel_AP, the same of the contribution (contribution_energy, contribution_gain, ...) where given, and every
        other figure given, averaged over all pairs; each a float or None.
        `per_class`: the same for each name, and `pairs`, their number. `pairs`: int.
    """
    columns = {name: values.detach().cpu().double().numpy() for name, values in pairs.items()}
    numbers = [
        max((int((~np.isnan(v[:, i])).sum()) for v in columns.values()), default=0) for i in range(len(class_names))
    ]
    return {
        "metrics": _numbers(columns),
        "per_class": {
            name: _numbers({figure: values[:, [i]] for figure, values in columns.items()}) | {"pairs": numbers[i]}
            for i, name in enumerate(class_names)
        },
        "pairs": sum(numbers),
    }


def averages(pairs: Mapping[str, Floats], weights: NDArray[np.float32]) -> dict[str, Floats]:
    """Average pair figures (N, L) over pairs, under weights (N, R): how often a picture counts in each of R resamples.

    For each figure of `summarise(pairs, ...)["metrics"]` (R,), NaN where there is no pair.
    """
    return _published({
        name: ratio(np.nansum(values, axis=1) @ weights, (~np.isnan(values)).sum(axis=1) @ weights.astype(np.float64))
        for name, values in pairs.items()
    })  # fmt: skip


def class_averages(pairs: Mapping[str, Floats], weights: NDArray[np.float32]) -> dict[str, Floats]:
    """Average pair figures over the pairs of each class as `averages` does: (R, L), NaN where there is no pair."""
    exact = weights.T.astype(np.float64)
    return _published({
        name: ratio(exact @ np.nan_to_num(values), exact @ (~np.isnan(values)).astype(np.float64))
        for name, values in pairs.items()
    })  # fmt: skip


def columns_of(figure: str) -> tuple[str, str | None]:
    """The pair figure that a figure by its published name is the mean of, and over the mean of which it is, if any.

    Examples:
        >>> from ibca_lightning.metrics.localisation import columns_of
        >>> columns_of("attention_gain"), columns_of("pointing_game"), columns_of("deletion_gain")
        (('energy', 'uniform'), ('pointing', None), ('deletion_gain', None))
    """
    return _COLUMNS.get(figure, figure), "uniform" if figure in _GAINS else None


def _published(means: Mapping[str, Floats]) -> dict[str, Floats]:
    """The figures by the names they have in test_metrics.json, with the gains over uniform attention."""
    result = {_PUBLISHED.get(name, name): mean for name, mean in means.items() if name != "uniform"}
    for gain, energy in _GAINS.items():
        if energy in means and "uniform" in means:
            result[gain] = means[energy] / means["uniform"]
    return result


def _numbers(columns: Mapping[str, Floats]) -> dict[str, float | None]:
    samples = len(next(iter(columns.values()), ()))
    return {name: number(mean[0]) for name, mean in averages(columns, np.ones((samples, 1), np.float32)).items()}


def touched_cells(mask: Tensor, grid: tuple[int, int] | torch.Size) -> Tensor:
    """Cells of the grid (B, L, H, W) bool whose area holds a pixel of the mask (B, L, S, S), if only in part."""
    pictures, labels, height, width = mask.shape
    rows, columns = grid
    if height % rows == width % columns == 0:  # cells of whole pixels: rows first, as bytes, 30 times as fast
        bytes_ = mask.contiguous().view(torch.uint8)
        strips = bytes_.view(pictures, labels, rows, height // rows, width).amax(3)
        return strips.view(pictures, labels, rows, columns, width // columns).amax(4).bool()
    touched = torch.zeros(*mask.shape[:2], *grid, dtype=torch.bool, device=mask.device)
    lesions = mask.flatten(2).any(dim=-1)  # most masks are empty: pool the others only
    if lesions.any():
        # Adaptive pooling takes for each cell all pixels from floor(start) to ceil(end).
        touched[lesions] = F.adaptive_max_pool2d(mask[lesions].float(), grid) > 0
    return touched


def _share(attention: Tensor, cells: Tensor) -> Tensor:
    total = attention.sum(dim=(-2, -1))
    return (attention * cells).sum(dim=(-2, -1)) / total.clamp_min(torch.finfo(total.dtype).tiny)


def _pixel_average_precision(attention: Tensor, mask: Tensor) -> float:
    """AP of one map (H, W) against one mask (S, S) that is not empty; ties are one threshold."""
    # Interpolated in float64 and rounded: in float32 the noise of the interpolation breaks ties, such as those of a
    # uniform map.
    fine = F.interpolate(attention.cpu().double()[None, None], size=mask.shape, mode="bilinear", align_corners=False)
    scores = fine.float().flatten().numpy()
    # The bits of floats that are not negative sort as the floats do, and their sign bit is free for the label: one
    # sort of integers is several times as fast as an argsort.
    keys = (scores.view(np.uint32) << np.uint32(1)) | mask.cpu().flatten().numpy().astype(np.uint32)
    keys.sort()
    keys = keys[::-1]
    hits = np.cumsum(keys & np.uint32(1), dtype=np.int64)
    scores_only = keys >> np.uint32(1)
    last = np.flatnonzero(np.append(scores_only[1:] != scores_only[:-1], True))
    hits = hits[last]
    return float((np.diff(hits, prepend=0) * (hits / (last + 1))).sum() / hits[-1])
