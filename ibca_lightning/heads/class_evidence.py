"""What each position says about each class, one linear map shared by all heads that keep "what" apart from "where".

Shapes: B images, C channels, N = H x W positions, L labels.
"""

import torch.nn.functional as F
from torch import Tensor


def unit_class_evidence(x_BCN: Tensor, weight_LC: Tensor) -> Tensor:  # noqa: N803
    """Scalar evidence c_ln = w_l . x_n / ||w_l|| (CSRA: Zhu & Wu, ICCV 2021, arXiv 2108.02456).

    The direction of w_l is learnt and its length is not: the scale of a logit is that of the features, and one class
    cannot outweigh another by the length of its weights.

    Args:
        x_BCN: Features (B, C, N).
        weight_LC: One weight vector a class (L, C).

    Returns:
        (B, L, N).
    """
    return F.normalize(weight_LC, dim=-1) @ x_BCN
