"""The intervention do(A = A_spurious): what would a class see, had it looked at everything but its cause?

Shapes: B images, N = H x W positions, L labels.
"""
# ruff: noqa: N803 - shape suffixes

from torch import Tensor


def spurious_attention(attention_BLN: Tensor, reference_BLN: Tensor, smoothing: float = 1e-3) -> Tensor:
    """The part of the attention that the reference does not back: A_spurious ∝ A (1 - S / max S).

    Args:
        attention_BLN: A, maps that sum to 1.
        reference_BLN: S, maps that sum to 1; no gradient flows into it.
        smoothing: Mass of a uniform map that is added, so that a flat S, where nothing is left, gives a uniform map and
            not 0/0.

    Returns:
        (B, L, N), maps that sum to 1.

    Example:
        >>> import torch
        >>> from ibca_lightning.heads.intervention import spurious_attention
        >>> attention, reference = torch.tensor([[[0.6, 0.3, 0.1]]]), torch.tensor([[[0.8, 0.2, 0.0]]])
        >>> spurious_attention(attention, reference)  # of the first place, where the reference peaks, nothing is left
        tensor([[[0.0010, 0.6912, 0.3078]]])
    """
    reference = reference_BLN.detach()
    kept = attention_BLN * (1 - reference / reference.amax(-1, keepdim=True))
    kept = kept + smoothing / kept.shape[-1]
    return kept / kept.sum(-1, keepdim=True)
