"""Early-learning regularisation: what was believed early weighs against labels that are learnt late."""

import torch
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms.base import Setting, Step, Term
from ibca_lightning.terms.memory import remember

_LARGEST = 1 - 1e-4


class EarlyLearning(Term):
    """Holds predictions near their average over the epochs, as networks learn what is right before what is wrong.

    t <- decay t + (1 - decay) p for each picture and class, from t = 0; the term is the mean over known labels of
    log(1 - (t p + (1 - t)(1 - p))), whose gradient counters that of a label which contradicts t.
    Source: Liu et al., NeurIPS 2020, arXiv 2007.00151, who have one softmax; ours is for each label by itself.

    Args:
        weight: Of the term.
        decay: Of the average, in [0, 1).

    Raises:
        InputError: A value is out of range.
    """

    needs = ("training_labels",)
    average: Tensor

    def __init__(self, weight: float = 3.0, decay: float = 0.7) -> None:
        super().__init__(weight)
        if not 0 <= decay < 1:
            raise InputError("EarlyLearning's decay in [0, 1)", decay, "try 0.7")
        self.decay = decay

    def begin(self, setting: Setting) -> None:
        """Make the memory."""
        assert setting.labels is not None
        self.register_buffer("average", torch.zeros(setting.labels.shape, dtype=torch.float32))

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        probability, index = step.output.logits.float().sigmoid(), step.batch["index"]
        remember(self.average, index, probability, lambda t, p: self.decay * t + (1 - self.decay) * p)
        agreed = agreement(self.average[index], probability)
        return {"early_learning": self.weight * masked_mean((1 - agreed).log(), step.labels >= 0)}


def agreement(belief: Tensor, probability: Tensor) -> Tensor:
    """How probable it is that two draws agree, kept below 1."""
    return (belief * probability + (1 - belief) * (1 - probability)).clamp(max=_LARGEST)
