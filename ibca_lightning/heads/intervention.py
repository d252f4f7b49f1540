"""The intervention do(A = A_spurious): what would the logit be, had the class looked at everything but its cause?

Shapes: B images, N = H x W positions, L labels.
"""
# ruff: noqa: N803 - shape suffixes

from torch import Tensor

from ibca_lightning.losses import masked_bce


def spurious_attention(attention_BLN: Tensor, reference_BLN: Tensor, smoothing: float = 1e-3) -> Tensor:
    """The part of the attention that the reference does not back: A_spurious ∝ A (1 - S / max S).

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


def effect_loss(attention_BLN: Tensor, spurious_BLN: Tensor, evidence_BLN: Tensor, labels_BL: Tensor) -> Tensor:
    """Masked BCE of the effect, logit(A) - logit(A_spurious) = sum_n (A - A_spurious)_ln c_ln, on the known labels.

    The evidence is not moved by it: with its gradient the loss teaches c_ln to be small wherever S is not at its peak,
    which starves lesions that are larger than the peak. So it teaches only where to look.

    Args:
        attention_BLN: A.
        spurious_BLN: A_spurious.
        evidence_BLN: c, detached here.
        labels_BL: (B, L) in {0, 1, -1}.

    Returns:
        A scalar.
    """
    effect = ((attention_BLN - spurious_BLN) * evidence_BLN.detach()).sum(-1)
    return masked_bce(effect, labels_BL)
