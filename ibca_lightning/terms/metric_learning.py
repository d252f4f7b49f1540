"""Pictures with the same findings lie together before they are classified: the first of two stages."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import rows_of_all, rows_with_gradient
from ibca_lightning.terms.base import Setting, Step, Term

_KEPT, _TIMES = 0.9, 3  # of a centroid, a step; what the hard negative counts


class MetricLearning(Term):
    """Supervised contrast of pictures, whose pairs are counted by the findings that they share.

    z_i = the attended features of picture i, their mean over the classes, of length 1. The mean over pictures i with a
    pair of -sum_j w_ij log(exp(z_i z_j / t) / sum_{k != i} exp(z_i z_k / t)) / sum_j w_ij, where w_ij is the Jaccard
    index of the positive labels of both, among the classes known of both; pictures without a finding form no pair.
    Source: SupCon, Khosla et al. 2020, arXiv 2004.11362; as the first of two stages against imbalance, a work of 2022
    whose code is not public; the weights of several labels are ours. The second stage trains the classifier alone
    (`init_from`, `freeze_backbone`, `balanced_sampling`). With a frozen backbone it moves the attention alone.

    `clusters` adds to the pictures that z_i is told apart from the second nearest of so many running centroids of all
    z, three times: a likely neighbour that is not its own cluster. Source: the negatives of CM-CGNS (2025), whose
    contrast is of pictures and reports.

    Args:
        weight: Of the term.
        temperature: t, above 0.
        clusters: Centroids, 0 for none, else at least 2.

    Raises:
        InputError: A value is out of range.
    """

    centroids: Tensor

    def __init__(self, weight: float = 0.5, temperature: float = 0.1, clusters: int = 0) -> None:
        super().__init__(weight)
        if temperature <= 0 or clusters < 0 or clusters == 1:
            wanted = "MetricLearning's temperature above 0 and clusters of 0 or at least 2"
            raise InputError(wanted, f"{temperature}, {clusters}", "correct them")
        self.temperature, self.clusters = temperature, clusters

    def begin(self, setting: Setting) -> None:
        """Make room for the centroids."""
        if self.clusters and setting.channels is None:
            raise InputError("the channels of the map for MetricLearning's clusters", "none", "set them to 0")
        self.register_buffer("centroids", torch.zeros(self.clusters, setting.channels or 0))

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        with torch.autocast(step.features.device.type, enabled=False):
            z = rows_with_gradient(F.normalize(step.attended.mean(1), dim=-1))
            hard = self._hard(z) if self.clusters else None
            loss = supervised_contrast(z, jaccard(rows_of_all(step.labels)), self.temperature, hard)
        return {"metric_learning": self.weight * loss}

    def _hard(self, z: Tensor) -> Tensor:
        """(B,), the likeness of each row to its second nearest centroid; then the centroids move."""
        if not self.centroids.any():
            self.centroids.copy_(z.detach()[torch.arange(self.clusters, device=z.device) % len(z)])
        near = z @ self.centroids.T
        hard = near.topk(2).values[:, 1]
        members = F.one_hot(near.argmax(1), self.clusters).to(z.dtype)
        means = members.T @ z.detach() / members.sum(0).clamp_min(1)[:, None]
        moved = F.normalize(torch.lerp(means, self.centroids, _KEPT), dim=-1)
        self.centroids = torch.where(members.sum(0)[:, None] > 0, moved, self.centroids)
        return hard


def supervised_contrast(rows: Tensor, pairs: Tensor, temperature: float, hard: Tensor | None = None) -> Tensor:
    """Return the contrast of rows (B, C) of length 1, whose pairs (B, B) weigh what they say; its diagonal is unread.

    0, with a gradient of zeros, where there is no pair. `hard`, (B,), is the likeness to one more row, which counts
    three times among those that a row is told apart from.
    """
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    pairs = pairs.masked_fill(itself, 0)
    similar = (rows @ rows.T / temperature).masked_fill(itself, -math.inf)
    whole = similar.logsumexp(1, keepdim=True)
    if hard is not None:
        whole = torch.logaddexp(whole, hard[:, None] / temperature + math.log(_TIMES))
    apart = whole - similar
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
