import torch

from ibca_lightning.losses import Loss, masked_mean


class Hinge(Loss):  # nothing for a logit that lies `margin` on the right side of 0
    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        short = (self.margin - (2 * labels - 1) * logits.float()).clamp(min=0)
        return masked_mean(short, labels >= 0)  # -1 is unknown, and costs nothing
