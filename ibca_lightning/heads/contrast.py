"""The contrastive enhancement: what a class attends to resembles the class elsewhere, and not what surrounds it.

Shapes: B images, C channels, N = H x W positions, L labels.
"""
# ruff: noqa: N803, N806 - shape suffixes

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.processes import total


def spurious_attention(attention_BLN: Tensor, reference_BLN: Tensor, smoothing: float = 1e-3) -> Tensor:
    """The part of the attention that the reference does not back: A_spurious ∝ A (1 - S / max S).

    For the intervention do(A = A_spurious): what would a class see, had it looked at everything but its cause?

    Args:
        attention_BLN: A, maps that sum to 1.
        reference_BLN: S, maps that sum to 1; no gradient flows into it.
        smoothing: Mass of a uniform map that is added, so that a flat S, where nothing is left, gives a uniform map and
            not 0/0.

    Returns:
        (B, L, N), maps that sum to 1.
    """
    reference = reference_BLN.detach()
    kept = attention_BLN * (1 - reference / reference.amax(-1, keepdim=True))
    kept = kept + smoothing / kept.shape[-1]
    return kept / kept.sum(-1, keepdim=True)


def background_attention(reference_BLN: Tensor, labels_BL: Tensor, smoothing: float = 1e-3) -> Tensor:
    """Where no class that may be present looks: ∝ 1 - max_l S_l / max S, uniform in a picture without such a class.

    Args:
        reference_BLN: S, maps that sum to 1.
        labels_BL: (B, L) in {0, 1, -1}; unknown counts as present.
        smoothing: Added at every position, against 0/0, to values in [0, 1].

    Returns:
        (B, N), maps that sum to 1.
    """
    relative = reference_BLN / reference_BLN.amax(-1, keepdim=True)
    left = 1 - torch.where((labels_BL != 0)[:, :, None], relative, 0.0).amax(1)
    left = left + smoothing
    return left / left.sum(-1, keepdim=True)


def contrastive_loss(
    anchor_BLC: Tensor,
    reference_BLC: Tensor,
    spurious_BLC: Tensor | None,
    background_BC: Tensor,
    labels_BL: Tensor,
    weight_BL: Tensor,
    temperature: float = 0.2,
) -> Tensor:
    """InfoNCE over class prototypes of the batch, and of the other processes' batches.

    Anchor: the feature pooled under A of a present class. Positive: the mean of the same class's features under S in
    the *other* pictures. Negatives: the prototypes of the other classes of the batch, the anchor's spurious pooling,
    its picture's background pooling. Only the anchor has a gradient. Prototypes in the place of all pairs make the
    memory (B, L, L) and not (B L)², and let processes exchange sums, (L, C), and not pictures.

    Args:
        anchor_BLC: Features pooled under A.
        reference_BLC: Features pooled under S.
        spurious_BLC: Features pooled under A_spurious; None leaves the intervention out.
        background_BC: Features pooled under the background's map.
        labels_BL: (B, L) in {0, 1, -1}; only positive labels form pairs.
        weight_BL: (B, L) in [0, 1], what the loss of each pair is multiplied by; it gets no gradient.
        temperature: Of the cosine similarities, > 0.

    Returns:
        A scalar, mean over the present (picture, class) pairs whose class is present in another picture too (over their
        number, whatever they weigh); 0 with a gradient of zeros where there is none.
    """
    present_BL = labels_BL == 1
    anchor = F.normalize(anchor_BLC, dim=-1)
    reference = F.normalize(reference_BLC.detach(), dim=-1) * present_BL[:, :, None]
    background = F.normalize(background_BC.detach(), dim=-1)

    total_LC, count_L = total(reference.sum(0)), total(present_BL.sum(0))
    positive_BL1 = (anchor * F.normalize(total_LC - reference, dim=-1)).sum(-1, keepdim=True)
    prototypes_BLL = anchor @ F.normalize(total_LC, dim=-1).T
    own = torch.eye(count_L.shape[0], dtype=torch.bool, device=count_L.device)
    prototypes_BLL = prototypes_BLL.masked_fill(own | (count_L == 0), -math.inf)
    similarities = [positive_BL1, prototypes_BLL, anchor @ background[:, :, None]]
    if spurious_BLC is not None:
        similarities.append((anchor * F.normalize(spurious_BLC.detach(), dim=-1)).sum(-1, keepdim=True))

    similarity = torch.cat(similarities, dim=-1) / temperature
    loss_BL = (similarity.logsumexp(-1) - similarity[..., 0]) * weight_BL.detach()
    return masked_mean(loss_BL, present_BL & (count_L > 1))
