"""Pictures with the same findings lie together before they are classified: the first of two stages."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import rows_of_all, rows_with_gradient
from ibca_lightning.terms.base import Step, Term


class MetricLearning(Term):
    """Supervised contrast of pictures, whose pairs are counted by the findings that they share.

    z_i = the attended features of picture i, their mean over the classes, of length 1. The mean over pictures i with a
    pair of -sum_j w_ij log(exp(z_i z_j / t) / sum_{k != i} exp(z_i z_k / t)) / sum_j w_ij, where w_ij is the Jaccard
    index of the positive labels of both, among the classes known of both; pictures without a finding form no pair.
    Source: SupCon, Khosla et al. 2020, arXiv 2004.11362; as the first of two stages against imbalance, a work of 2022
    whose code is not public; the weights of several labels are ours. The second stage trains the classifier alone
    (`init_from`, `freeze_backbone`, `balanced_sampling`). With a frozen backbone it moves the attention alone.

    Args:
        weight: Of the term.
        temperature: t, above 0.

    Raises:
        InputError: A value is out of range.
    """

    def __init__(self, weight: float = 0.5, temperature: float = 0.1) -> None:
        super().__init__(weight)
        if temperature <= 0:
            raise InputError("MetricLearning's temperature above 0", temperature, "try 0.1")
        self.temperature = temperature

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        with torch.autocast(step.features.device.type, enabled=False):
            z = rows_with_gradient(F.normalize(step.attended.mean(1), dim=-1))
            loss = supervised_contrast(z, jaccard(rows_of_all(step.labels)), self.temperature)
        return {"metric_learning": self.weight * loss}


def supervised_contrast(rows: Tensor, pairs: Tensor, temperature: float) -> Tensor:
    """Return the contrast of rows (B, C) of length 1, whose pairs (B, B) weigh what they say; its diagonal is unread.

    0, with a gradient of zeros, where there is no pair.
    """
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    pairs = pairs.masked_fill(itself, 0)
    similar = (rows @ rows.T / temperature).masked_fill(itself, -math.inf)
    apart = similar.logsumexp(1, keepdim=True) - similar
    costs = torch.where(pairs > 0, pairs * apart, 0).sum(1) / pairs.sum(1).clamp_min(1e-6)
    return masked_mean(costs, (pairs > 0).any(1))


def jaccard(labels: Tensor) -> Tensor:
    """Return (B, B), the share of findings in common, among the classes known of both; 0 where neither has one.

    Args:
        labels: (B, L) in {0, 1, -1}.
    """
    present, known = (labels == 1).float(), (labels >= 0).float()
    common = present @ present.T
    either = present @ known.T + known @ present.T - common
    return common / either.clamp_min(1)
