"""What every head is: a feature map in; logits, attention and the head's own losses out.

Shapes: B images, C channels, H x W positions, L labels.
"""

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ibca_lightning.system.errors import InputError


class HeadOutput(NamedTuple):
    """What a head returns.

    Attributes:
        logits: (B, L), before the sigmoid.
        attention: (B, L, H, W), non-negative, each map sums to 1.
        losses: Scalars, already weighted, that the module adds to the classification loss; empty outside training.
        contribution: (B, L, H, W), what the logit really sums, position by position; may be negative, and over the
            positions of a map sums to the logit without its bias. None where a head's logit is no such sum.
    """

    logits: Tensor
    attention: Tensor
    losses: dict[str, Tensor]
    contribution: Tensor | None = None


def require_output(head: nn.Module, output: object) -> HeadOutput:
    """Return what a head gave; one of the user's own may give something else, which would fail where it is used.

    Raises:
        InputError: It is no `HeadOutput`, or its shapes are not those of a batch.
    """
    name = f"{type(head).__name__}.forward"
    if not isinstance(output, HeadOutput):
        raise InputError(
            f"a HeadOutput of ibca_lightning.heads from {name}", f"a {type(output).__name__}",
            "return HeadOutput(logits, attention, losses): (B, L), (B, L, H, W), a dict of scalars or {}",
        )  # fmt: skip
    labels, logits, attention = getattr(head, "num_labels", None), output.logits.shape, output.attention.shape
    if len(logits) != 2 or logits[1] != (labels or logits[1]) or len(attention) != 4 or attention[1] != logits[1]:
        got = f"logits {tuple(logits)} and attention {tuple(attention)}"
        expected = f"logits (B, L) and attention (B, L, H, W) of {labels} labels from {name}"
        raise InputError(expected, got, "correct what it returns")
    return output


class Head(nn.Module):
    """Base of all heads; a head of your own derives from it and implements `forward`.

    Args:
        channels: C of the feature map.
        num_labels: L.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import Head, HeadOutput
        >>> class Brightest(Head):  # a logit is the largest value of one channel; every place is looked at alike
        ...     def forward(self, features, labels=None):
        ...         return HeadOutput(features.amax((2, 3)), torch.full_like(features, 1 / features[0, 0].numel()), {})
        >>> Brightest(channels=4, num_labels=4)(torch.rand(5, 4, 3, 3)).logits.shape
        torch.Size([5, 4])
    """

    progress: Tensor
    options: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> "Head":
        """Remember the options a head was built with: a checkpoint names them, so that predict needs no YAML."""
        head = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(head, *args, **kwargs)
        bound.apply_defaults()  # so that two heads built alike are described alike
        given = dict(list(bound.arguments.items())[3:])  # behind self, channels and num_labels
        given.update(given.pop("options", {}))  # what a `**options` took up
        object.__setattr__(head, "options", given)
        return head

    def __init__(self, channels: int, num_labels: int) -> None:
        super().__init__()
        self.channels, self.num_labels = channels, num_labels
        # A buffer, so that resume, prediction and export see the schedule where training left it.
        self.register_buffer("progress", torch.zeros(()))
        self._told: set[str] = set()  # of `set_progress` and `see_labels`, those that were called

    def require(self, least: float, below: float = math.inf, **options: float) -> None:
        """Refuse options that are less than `least`, or not below `below`.

        Raises:
            InputError: With the name of the first.
        """
        for name, value in options.items():
            if not least <= value < below:
                allowed = f"in [{least}, {below})" if below < math.inf else f">= {least}"
                advice = "correct it" if least else "0 turns it off"
                raise InputError(f"{type(self).__name__}'s {name} {allowed}", value, advice)

    @property
    def needs_labels(self) -> bool:
        """Whether the head wants `see_labels` before it is trained."""
        return False

    def see_labels(self, labels: Tensor) -> None:
        """Take what the head wants to know of the training split's labels (N, L) in {0, 1, -1}; here, nothing."""

    def set_progress(self, progress: float) -> None:
        """Tell the head how far training is, from 0 (start) to 1 (end); schedules read `self.progress`."""
        self.progress.fill_(min(max(progress, 0.0), 1.0))
        self._told.add("set_progress")

    def expect(self, call: str, lacking: Callable[[], bool | Tensor], effect: str) -> None:
        """Warn once that a head learns of which nobody called a method that our module calls: a loop of one's own.

        Args:
            call: `set_progress` or `see_labels`.
            lacking: Asked once: whether a checkpoint has not brought what the call would.
            effect: What the head is without.
        """
        if torch.compiler.is_compiling() or call in self._told:
            return
        self._told.add(call)
        if lacking():
            when = "before each step, from 0 at the first to 1 at the last" if call == "set_progress" else "once, first"
            warnings.warn(f"{type(self).__name__}: {effect}, as nobody called {call}; call it {when}", stacklevel=3)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """Classify a batch of feature maps.

        Args:
            features: (B, C, H, W) float.
            labels: (B, L) in {0, 1, -1}, -1 = unknown; given in training only.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement forward(features, labels) -> HeadOutput")
