"""JTT: train twice, the second time with more weight on what the first model has wrong."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.terms.asked_models import AskingTerm
from ibca_lightning.terms.base import Step


class JTT(AskingTerm):
    """weight x BCE on the pairs of a picture and a class that a first model has wrong, as a mean over all known pairs.

    With `model.loss: bce` the whole loss is lambda on those pairs and 1 on all others, lambda = weight + 1. The first
    model is a run of few epochs of `ibca fit`, whose errors are hoped to be the pictures that contradict a shortcut.
    One that has learnt all of its pictures has no errors, and the term then does nothing. It is told no marks.

    Source: Liu et al., "Just Train Twice: Improving Group Robustness without Training Group Information", ICML 2021,
    arXiv 2107.09044, equations 2 and 3. They have one label, and errors found once; ours are pairs of a picture and a
    class (p > 0.5 against the label), on the view of the picture that is learnt from. The number of epochs of the first
    run is theirs to choose by groups of the validation pictures, which nobody has here.

    Args:
        first: Checkpoint of the first model.
        weight: lambda - 1; the paper tries lambda 20, 50 and 100 on pictures.

    Raises:
        InputError: The weight is negative, or the first model has no class of the data.
    """

    def __init__(self, first: str, weight: float = 19.0) -> None:
        super().__init__([first], weight)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        [(said, _, has)] = self.ask(step)
        present = step.labels == 1
        wrong = ((said > 0) != present) & has
        values = F.binary_cross_entropy_with_logits(step.output.logits.float(), present.float(), reduction="none")
        return {"jtt": self.weight * masked_mean(torch.where(wrong, values, 0.0), step.labels >= 0)}
