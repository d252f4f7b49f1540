"""Weigh examples without telling the loss: the logits' values stay, their gradients are scaled.

Shapes: B images, L labels.
"""

from torch import Tensor


def weigh_gradient(logits: Tensor, weight: Tensor) -> Tensor:
    """Return the logits, and multiply the gradient that flows back into them by a weight.

    For any loss that is a mean or a sum of one term a logit, this is exact example weighting: the gradient is that of
    the loss whose terms are multiplied by the weight, while the loss that is logged stays the unweighted one. So a head
    can weigh pictures and classes, whatever loss it is trained with.

    Args:
        logits: (B, L), finite.
        weight: (B, L) or a shape that broadcasts to it, >= 0; a constant, no gradient flows into it.

    Returns:
        (B, L), bit for bit the logits.

    Example:
        >>> import torch
        >>> from ibca_lightning.heads.peers.gradient_weight import weigh_gradient
        >>> logits = torch.tensor([[1.0, 2.0]], requires_grad=True)
        >>> weighed = weigh_gradient(logits, torch.tensor([[1.0, 0.5]]))
        >>> weighed.sum().backward()
        >>> weighed.tolist(), logits.grad.tolist()
        ([[1.0, 2.0]], [[1.0, 0.5]])
    """
    constant = logits.detach()
    return constant + weight.detach().to(logits.dtype) * (logits - constant)
