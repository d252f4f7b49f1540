"""The contrastive enhancement: what a class attends to resembles the class elsewhere, and not what surrounds it.

Shapes: B images, C channels, N = H x W positions, L labels, M maps that are pooled.
"""
# ruff: noqa: N803, N806 - shape suffixes

import math

import torch
from torch import Tensor

from ibca_lightning.heads.layers import direction
from ibca_lightning.losses import masked_mean
from ibca_lightning.system.processes import total


def compared_maps(
    evidence_BNL: Tensor, attention_BNL: Tensor, labels_BL: Tensor, intervention: bool, smoothing: float = 1e-3
) -> Tensor:
    """The maps under which what an anchor is compared with is pooled; no gradient flows into them.

    Their sums differ: what is pooled under a map is compared by its direction. With S = softmax_n of the evidence they
    are, behind each other:

    - L references S / max S: where the evidence of a class lies.
    - L times A_spurious ∝ A (1 - S / max S), for the intervention do(A = A_spurious): what would a class see, had it
      looked at everything but its cause?
    - The background 1 - max_l S_l / max S over the classes that may be present: uniform in a picture without one.

    Args:
        evidence_BNL: The evidence.
        attention_BNL: A, maps that sum to 1.
        labels_BL: (B, L) in {0, 1, -1}; unknown counts as present.
        intervention: Whether A_spurious is among them.
        smoothing: Mass of a uniform map that is added to A_spurious, and the value that is added to the background at
            every position: what is left of a flat S is a uniform map, and not 0/0.

    Returns:
        (B, N, 2 L + 1), or L + 1 without the intervention; non-negative.
    """
    evidence_BNL, attention_BNL = evidence_BNL.detach(), attention_BNL.detach()
    reference = (evidence_BNL - evidence_BNL.amax(1, keepdim=True)).exp()
    background = (1 + smoothing) - (reference * (labels_BL != 0)[:, None]).amax(-1, keepdim=True)
    spurious = torch.addcmul(attention_BNL, attention_BNL, reference, value=-1) + smoothing / reference.shape[1]
    return torch.cat([reference, *([spurious] if intervention else []), background], -1)


def contrastive_loss(
    anchor_BLC: Tensor, pooled_BMC: Tensor, labels_BL: Tensor, weight_BL: Tensor, temperature: float = 0.2
) -> Tensor:
    """InfoNCE over class prototypes of the batch, and of the other processes' batches.

    Anchor: the feature pooled under A of a present class. Positive: the mean of the same class's features under S in
    the *other* pictures. Negatives: the prototypes of the other classes of the batch, the anchor's spurious pooling,
    its picture's background pooling. Only the anchor has a gradient. Prototypes in the place of all pairs make the
    memory (B, L, L) and not (B L)², and let processes exchange sums, (L, C), and not pictures.

    Args:
        anchor_BLC: Features pooled under A.
        pooled_BMC: Features pooled under the maps of `compared_maps`.
        labels_BL: (B, L) in {0, 1, -1}; only positive labels form pairs.
        weight_BL: (B, L) in [0, 1], what the loss of each pair is multiplied by; it gets no gradient.
        temperature: Of the cosine similarities, > 0.

    Returns:
        A scalar, mean over the present (picture, class) pairs whose class is present in another picture too (over their
        number, whatever they weigh); 0 with a gradient of zeros where there is none.
    """
    present_BL = labels_BL == 1
    labels = present_BL.shape[1]
    pooled_BMC = direction(pooled_BMC.detach())
    reference_BLC = pooled_BMC[:, :labels] * present_BL[:, :, None]
    total_LC, count_L = total(reference_BLC.sum(0)), total(present_BL.sum(0))

    # The product of two directions is C times their cosine.
    anchor_BLC = direction(anchor_BLC) * (1 / (temperature * anchor_BLC.shape[-1]))
    others_BLC, background_BLC = direction(total_LC - reference_BLC), pooled_BMC[:, -1:].expand_as(anchor_BLC)
    spurious = [pooled_BMC[:, labels:-1]] if pooled_BMC.shape[1] > labels + 1 else []
    # Each is met by the anchor of its class and picture alone.
    own_BLPC = torch.stack([others_BLC, *spurious, background_BLC], 2)
    own_BLP = (anchor_BLC.unsqueeze(2) @ own_BLPC.transpose(2, 3)).squeeze(2)
    itself = torch.eye(labels, dtype=torch.bool, device=count_L.device)
    prototypes_BLL = torch.where(itself | (count_L == 0), -math.inf, anchor_BLC @ direction(total_LC).T)

    log_share_BL = torch.cat([own_BLP, prototypes_BLL], dim=-1).log_softmax(-1)[..., 0]
    return masked_mean(log_share_BL * -weight_BL.detach(), present_BL & (count_L > 1))
