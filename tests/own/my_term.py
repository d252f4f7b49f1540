import torch

from ibca_lightning.terms import Step, Term


class Sure(Term):  # rewards probabilities near 0 or 1
    def __init__(self, weight: float = 0.1) -> None:
        super().__init__(weight)

    def forward(self, step: Step) -> dict[str, torch.Tensor]:
        p = step.output.logits.float().sigmoid()
        known = step.labels >= 0
        return {"unsure": self.weight * (p * (1 - p) * known).sum() / known.sum().clamp(min=1)}
