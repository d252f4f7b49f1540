"""What makes decisions of a model's logits, and how well founded it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FEW = 10  # a threshold that rests on fewer positives says little


@dataclass(frozen=True)
class OperatingPoints:
    """Where a model's logits become decisions; all of it chosen on validation data.

    Attributes:
        thresholds: One a class, for calibrated probabilities.
        calibration: As `calibration.calibrated` takes it.
        positives: Of each class in the validation data; empty where that is not known.
    """

    thresholds: list[float]
    calibration: dict[str, Any] | None = None
    positives: list[int] = field(default_factory=list)

    def record(self, class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """For each name its threshold, the positives it rests on, and whether those are few; None where not known."""
        positives: Sequence[int | None] = self.positives or [None] * len(class_names)
        return {
            name: {"threshold": threshold, "positives": number, "few": None if number is None else number < FEW}
            for name, threshold, number in zip(class_names, self.thresholds, positives, strict=True)
        }


def few_positives(class_names: Sequence[str], positives: Sequence[int]) -> str | None:
    """Say which thresholds rest on few positives, in one line; None where none does, or nothing is known."""
    known = zip(class_names, positives, strict=True) if positives else ()  # no old checkpoint says them
    few = [f"{name} ({number})" for name, number in known if number < FEW]
    if not few:
        return None
    return f"thresholds that rest on fewer than {FEW} positives of the validation set: {', '.join(few)}"


def is_rule(rule: object) -> bool:
    """Whether thresholds can be chosen by it, see `thresholds.choose_thresholds`."""
    if isinstance(rule, dict) and len(rule) == 1:
        name, target = next(iter(rule.items()))
        return name in ("sensitivity", "precision") and type(target) in (int, float) and 0 < target <= 1
    return rule in ("f1", "fixed")
