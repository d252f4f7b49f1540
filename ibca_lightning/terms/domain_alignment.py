"""What a class attends to is to look alike at all sites, also at one whose pictures have no labels.

Shapes: B images of all processes, L labels, C channels.
"""
# ruff: noqa: N803, N806 - shape suffixes

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import rows_of_all, rows_with_gradient
from ibca_lightning.terms.base import Setting, Step, Term

Kind = Literal["mmd", "coral", "prototype"]
_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
_LEAST = 0.5  # of a picture: a site whose part of the batch shows less of a class says nothing of it


class DomainAlignment(Term):
    """Distance of each site from the labelled pictures of all others, class by class.

    x_il = the attended feature of picture i and class l, of length 1. Source: pictures of other sites whose label is 1.
    Target: pictures of the site, each counted by its label, or where that is unknown by the probability p that the
    model gives it. The mean over sites and classes that both have. `prototype`: ||mean - mean||². `mmd`: the same in
    the space of five Gaussian kernels, around the mean squared distance. `coral`: ||covariance - covariance||² / 4.
    Source: the idea of work on COVID-19 across sites (2021); MMD Gretton et al. 2012, CORAL Sun & Saenko 2016; taking
    them class by class on attended features is ours. With a frozen backbone it moves the attention alone.

    Args:
        site_column: One of data.subgroup_columns, such as the hospital. `data.sites` takes labels of a site away.
        kind: `mmd`, `coral` or `prototype`.
        weight: Of the term.

    Raises:
        InputError: There is no such kind or column, or the column has one site alone.
    """

    needs = ("training_labels",)
    sites: Tensor

    def __init__(self, site_column: str, kind: Kind = "mmd", weight: float = 1.0) -> None:
        super().__init__(weight)
        if kind not in get_args(Kind):
            raise InputError(f"DomainAlignment's kind {', '.join(get_args(Kind))}", kind, "choose one")
        self.site_column, self.kind, self._number = site_column, kind, 0

    def begin(self, setting: Setting) -> None:
        """Find the site of each picture."""
        sites = setting.sites(self.site_column, "DomainAlignment")
        self._number = int(sites.max()) + 1
        self.register_buffer("sites", sites, persistent=False)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        with torch.autocast(step.features.device.type, enabled=False):
            x_LBC = rows_with_gradient(F.normalize(step.attended, dim=-1)).transpose(0, 1)
            p_LB = rows_of_all(step.output.logits.float().sigmoid()).T
            labels_LB, site_B = rows_of_all(step.labels).T, rows_of_all(self.sites[step.batch["index"]])
            shown_LB = torch.where(labels_LB >= 0, labels_LB.to(p_LB.dtype), p_LB)
            gram_LBB = x_LBC @ x_LBC.transpose(1, 2)
            values, both = [], []
            for site in range(self._number):
                source, target = (labels_LB == 1) * (site_B != site), shown_LB * (site_B == site)
                both.append((source.sum(1) > 0) & (target.sum(1) >= _LEAST))
                values.append(distance(gram_LBB, _shares(source), _shares(target), self.kind))
            loss = masked_mean(torch.stack(values), torch.stack(both))
        return {"domain_alignment": self.weight * loss}


def distance(gram_LBB: Tensor, source_LB: Tensor, target_LB: Tensor, kind: Kind) -> Tensor:
    """Return (L,), how far two weighted sets of rows of length 1 lie apart; no covariance (C, C) is made.

    Args:
        gram_LBB: Products of the rows.
        source_LB: Weights of the rows in one set, which sum to 1.
        target_LB: In the other.
        kind: As `DomainAlignment` has it.
    """
    if kind == "coral":
        ours, theirs = _spread(gram_LBB, source_LB, source_LB), _spread(gram_LBB, target_LB, target_LB)
        return (ours + theirs - 2 * _spread(gram_LBB, source_LB, target_LB)) / 4
    kernel_LBB, difference_LB = gram_LBB, source_LB - target_LB
    if kind == "mmd":
        squared_LBB = (2 - 2 * gram_LBB).clamp_min(0)
        in_both = (source_LB + target_LB) / 2
        width = _form(squared_LBB.detach(), in_both, in_both).clamp_min(1e-6)[:, None, None]
        kernel_LBB = torch.stack([(-squared_LBB / (width * factor)).exp() for factor in _WIDTHS]).mean(0)
    return _form(kernel_LBB, difference_LB, difference_LB)


def _spread(gram_LBB: Tensor, a_LB: Tensor, b_LB: Tensor) -> Tensor:
    """<covariance of a, covariance of b>: the products of the rows about the means of a and b, squared, weighted."""
    about_a, about_b = (a_LB[:, None] @ gram_LBB), (gram_LBB @ b_LB[:, :, None])
    centred_LBB = gram_LBB - about_a - about_b + about_a @ b_LB[:, :, None]
    return _form(centred_LBB.square(), a_LB, b_LB)


def _form(matrix_LBB: Tensor, a_LB: Tensor, b_LB: Tensor) -> Tensor:
    """a^T M b, class by class."""
    return (a_LB[:, None] @ matrix_LBB @ b_LB[:, :, None]).flatten()


def _shares(weights_LB: Tensor) -> Tensor:
    return weights_LB / weights_LB.sum(1, keepdim=True).clamp_min(1e-6)
