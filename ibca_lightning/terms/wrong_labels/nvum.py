"""NVUM: a memory of logits, without what the frequency of a class adds to them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms.base import Setting, Step, Term
from ibca_lightning.terms.memory import remember


class NVUM(Term):
    """Non-volatile unbiased memory: as `EarlyLearning`, with a memory of logits less the log of the class's frequency.

    t <- decay t + (1 - decay) (z - log prior); the term is the mean over known labels of log(1 - sigmoid(t p)).
    Source: Liu et al., MICCAI 2022, arXiv 2103.04053; the numbers of the authors' code, on known labels alone.

    Args:
        weight: Of the term.
        decay: Of the memory, in [0, 1).

    Raises:
        InputError: A value is out of range.
    """

    needs = ("training_labels",)
    memory: Tensor
    log_prior: Tensor

    def __init__(self, weight: float = 1.0, decay: float = 0.9) -> None:
        super().__init__(weight)
        if not 0 <= decay < 1:
            raise InputError("NVUM's decay in [0, 1)", decay, "try 0.9")
        self.decay = decay

    def begin(self, setting: Setting) -> None:
        """Make the memory, and count how frequent the classes are."""
        assert setting.labels is not None
        known, positives = (setting.labels >= 0).sum(0), (setting.labels == 1).sum(0)
        prior = positives.clamp(min=0.5) / known.clamp(min=1)  # a class without a positive is rare, not impossible
        self.register_buffer("log_prior", prior.log(), persistent=False)
        self.register_buffer("memory", torch.zeros(setting.labels.shape, dtype=torch.float32))

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        logits, index = step.output.logits.float(), step.batch["index"]
        remember(self.memory, index, logits - self.log_prior, lambda t, z: self.decay * t + (1 - self.decay) * z)
        values = F.logsigmoid(-self.memory[index] * logits.sigmoid())
        return {"nvum": self.weight * masked_mean(values, step.labels >= 0)}
