"""Pictures teach the backbone by themselves: hidden patches are painted in, a shuffled grid is put in order.

Shapes: B images, C channels, H x W positions, S pixels, P patches a side.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms.base import Setting, Step, Term

_GRID, _FINE = 3, 4  # tiles a side; pixels that a cell of the map paints, a side


class Reconstruction(Term):
    """Pre-training on the set itself, which needs no label.

    The student sees each picture a second time, cut into 3 x 3 tiles in another order and with patches hidden. From its
    map, one layer paints the brightness of what is hidden, another says where each tile was.

    Pre-train with it first and start from that with `init_from`, or train with it beside the labels. The backbone must
    learn. Source: a form in two dimensions of volumetric weight initialisation (2023); details are ours.

    Args:
        weight: Of the term.
        hidden: Share of the patches, in (0, 1).
        patches: P.
        order: Weight >= 0, inside the term, of the order; 0 shuffles nothing.

    Raises:
        InputError: A value is out of range.
    """

    needs = ("image",)
    drawn: Tensor

    def __init__(self, weight: float = 1.0, hidden: float = 0.5, patches: int = 12, order: float = 0.1) -> None:
        super().__init__(weight)
        if not 0 < hidden < 1 or patches < 2 or order < 0:
            wanted = "Reconstruction's hidden in (0, 1), patches of at least 2, order >= 0"
            raise InputError(wanted, f"{hidden}, {patches}, {order}", "correct them")
        self.hidden, self.patches, self.order = hidden, patches, order
        self.paint, self.place = nn.Module(), nn.Module()
        self.register_buffer("drawn", torch.zeros((), dtype=torch.long))

    def begin(self, setting: Setting) -> None:
        """Make the two layers, the same in every process."""
        if setting.channels is None:
            raise InputError("the channels of the map for Reconstruction", "none", "train it with MultiLabelModule")
        torch.manual_seed(0)
        self.paint, self.place = nn.Conv2d(setting.channels, _FINE**2, 1), nn.Linear(setting.channels, _GRID**2)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        image = step.batch["image"]
        order, hidden = self._draw(step.batch["index"])
        order, hidden = order.to(image.device), hidden.to(image.device)
        whole = shuffled(image, order) if self.order else image
        patches = F.interpolate(hidden[:, None].float(), size=whole.shape[-2:], mode="nearest")
        grey = whole.float().mean((1, 2, 3), keepdim=True).to(image.dtype)
        seen = step.again({**step.batch, "image": torch.where(patches > 0, grey, whole)})
        with torch.autocast(image.device.type, enabled=False):
            features = seen.features.float()
            painted = F.pixel_shuffle(self.paint(features), _FINE)
            size = painted.shape[-2:]
            bright = F.interpolate(whole.float().mean(1, keepdim=True), size=size, mode="area")
            spread, mean = torch.std_mean(bright, dim=(2, 3), keepdim=True, correction=0)
            errors = (painted - (bright - mean) / (spread + 1)).square()
            painting = masked_mean(errors, F.interpolate(patches, size=size, mode="area") > 0.5)
            losses = {"reconstruction": self.weight * painting}
            if self.order:
                tiles = F.adaptive_avg_pool2d(features, _GRID).flatten(2).transpose(1, 2)
                costs = F.cross_entropy(self.place(tiles).flatten(0, 1), order.flatten(), reduction="none")
                losses["order"] = (
                    self.weight * self.order * masked_mean(costs, torch.ones_like(costs, dtype=torch.bool))
                )
        return losses

    def _draw(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Orders of tiles (B, 9) and hidden patches (B, P, P): of step and picture alone, for all processes."""
        self.drawn += 1
        orders, patches = [], []
        for row in index.tolist():
            generator = torch.Generator().manual_seed(int(self.drawn) * 2**24 + row)
            orders.append(torch.randperm(_GRID**2, generator=generator))
            patches.append(torch.rand(self.patches, self.patches, generator=generator) < self.hidden)
        return torch.stack(orders), torch.stack(patches)


def shuffled(image: Tensor, order: Tensor) -> Tensor:
    """Return pictures (B, C, S, S) whose tile i is their tile order_i; pixels beyond the 3 x 3 tiles stay."""
    (pictures, channels), (rows, columns) = image.shape[:2], (length // _GRID for length in image.shape[-2:])
    whole = image[..., : _GRID * rows, : _GRID * columns].reshape(pictures, channels, _GRID, rows, _GRID, columns)
    tiles = whole.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = tiles[torch.arange(pictures, device=image.device)[:, None], order]
    moved = moved.view(pictures, _GRID, _GRID, channels, rows, columns).permute(0, 3, 1, 4, 2, 5)
    result = image.clone()
    result[..., : _GRID * rows, : _GRID * columns] = moved.reshape(pictures, channels, _GRID * rows, _GRID * columns)
    return result
