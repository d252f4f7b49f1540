"""The student with the average of its weights over the steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ibca_lightning.terms.base import Batch, Step


class MeanTeacher(nn.Module):
    """An exponential moving average of the weights that are trained; the student runs with it for a moment.

    Layers are not copied: what is frozen, and BatchNorm's statistics, are the student's.

    Args:
        decay: In [0, 1); after n steps min(decay, 1 - 1 / (n + 1)), so that it starts as the student.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay, self.steps = decay, 0
        self._weights: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move towards the student."""
        self.steps += 1
        kept = min(self.decay, 1 - 1 / self.steps)
        for name, weight in student.named_parameters():
            if weight.requires_grad:
                before = self._weights.get(name, weight).to(weight.device)
                self._weights[name] = torch.lerp(weight.detach(), before, kept)

    @torch.no_grad()
    def forward(self, step: Step, batch: Batch | None = None) -> Step:
        """See the batch of a step, or another one, in evaluation mode."""
        with self._lent(step.student):
            return step.again(step.batch if batch is None else batch)

    @contextmanager
    def _lent(self, student: nn.Module) -> Iterator[None]:
        """Exchange the weights; the graph of the student's own step finds them back when gradients are taken."""
        training = student.training
        student.eval()
        self._exchange(student)
        try:
            yield
        finally:
            self._exchange(student)
            student.train(training)

    def _exchange(self, student: nn.Module) -> None:
        for name, weight in student.named_parameters():
            if name in self._weights:
                weight.data, self._weights[name] = self._weights[name].to(weight.device), weight.data
        torch.clear_autocast_cache()  # it may hold the weights of before in half precision

    def get_extra_state(self) -> dict[str, Any]:
        """The average, for the checkpoint."""
        return {"steps": self.steps, "weights": self._weights}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with an average."""
        self.steps, self._weights = state["steps"], dict(state["weights"])
