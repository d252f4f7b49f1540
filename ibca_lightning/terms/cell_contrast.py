"""Cells of a lesion resemble cells of the same lesion elsewhere, and not what lies beside it."""

import logging
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.metrics.localisation import touched_cells
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import rows_with_gradient, total
from ibca_lightning.terms.base import Step, Term

log = logging.getLogger(__name__)


class CellContrast(Term):
    """Contrast of the cells of the map within the lesions of a class, and of the cells beside them.

    -mean_i log(sum_j exp(cos_ij / t) / (sum_j exp(cos_ij / t) + sum_k exp(cos_ik / t))): i and j != i are cells that
    the masks of a class touch, k cells that they do not, of all pictures of the batch; the mean over classes that have
    them. A present class with an empty mask gives no cell, an absent one cells beside it alone. It shapes the map, and
    so needs a backbone that learns; meant beside `MaskGuidance`.
    Source: MSA-UNet3+ (2026); the numbers of the authors' code.

    Args:
        weight: Of the term.
        temperature: t, above 0.
        cells: At most so many of each kind of a picture, evenly spaced.

    Raises:
        InputError: A value is out of range.
    """

    needs = ("mask",)

    def __init__(self, weight: float = 0.1, temperature: float = 0.1, cells: int = 16) -> None:
        super().__init__(weight)
        if temperature <= 0 or cells < 1:
            got = f"{temperature}, {cells}"
            raise InputError("CellContrast's temperature above 0 and cells of at least 1", got, "correct them")
        self.temperature, self.cells, self._warned = temperature, cells, False

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        if not step.features.requires_grad and not self._warned:
            self._warned = True
            log.warning("CellContrast changes nothing where the backbone is frozen")
        lesion = touched_cells(step.batch["mask"].to(step.features.device), step.features.shape[-2:]).flatten(2)
        masked = (step.labels == 1) & lesion.any(-1)
        inside, beside = lesion & masked[..., None], ~lesion & (masked | (step.labels == 0))[..., None]
        able = (total(inside.sum((0, 2))) > 1) & (total(beside.sum((0, 2))) > 0)
        cells = F.normalize(step.features.float().flatten(2).transpose(1, 2), dim=-1)
        costs = [
            contrast(self._chosen(cells, inside[:, label]), self._chosen(cells, beside[:, label]), self.temperature)
            for label in able.nonzero().flatten().tolist()
        ]
        loss = torch.stack(costs).mean() if costs else cells.sum() * 0
        return {"cell_contrast": self.weight * loss}

    def _chosen(self, cells: Tensor, of: Tensor) -> Tensor:
        """The cells (P, C) of all processes at some of the places (B, N)."""
        return rows_with_gradient(cells[spaced(of, self.cells)])


def contrast(inside: Tensor, beside: Tensor, temperature: float) -> Tensor:
    """Return the contrast of cells (P, C) with each other against cells (K, C), of length 1; P > 1, K > 0."""
    with torch.autocast(inside.device.type, enabled=False):
        itself = torch.eye(len(inside), dtype=torch.bool, device=inside.device)
        alike = (inside @ inside.T / temperature).masked_fill(itself, -math.inf).logsumexp(1)
        unlike = (inside @ beside.T / temperature).logsumexp(1)
    return F.softplus(unlike - alike).mean()


def spaced(of: Tensor, most: int) -> Tensor:
    """Keep at most so many of the places (B, N) bool of each picture, evenly spaced."""
    rank, number = of.cumsum(1), of.sum(1, keepdim=True)
    kept = number.clamp(1, most)
    return of & (rank * kept // number.clamp_min(1) > (rank - 1) * kept // number.clamp_min(1))
