"""Thresholds for decisions, one a class; to be chosen on validation data, never on the test set."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.metrics.calibration import Calibration, calibrated, fit_calibration
from ibca_lightning.metrics.curves import cumulated
from ibca_lightning.metrics.decision import OperatingPoints, is_rule
from ibca_lightning.metrics.multilabel import checked_arrays
from ibca_lightning.metrics.operating_point import Floats, Labels
from ibca_lightning.system.errors import InputError

ThresholdRule = Literal["f1", "fixed"] | dict[str, float]


def require_rule(rule: object) -> None:
    """Check how thresholds are to be chosen.

    Raises:
        InputError: It is none of the rules of `choose_thresholds`.
    """
    if not is_rule(rule):
        raise InputError(
            "model.thresholds f1, fixed, {sensitivity: X} or {precision: X} with X in (0, 1]", rule,
            "write for instance {sensitivity: 0.9}",
        )  # fmt: skip


def choose_thresholds(probabilities: Tensor, labels: Tensor, rule: ThresholdRule) -> list[float]:
    """Choose a threshold for each class, for the decision probability > threshold.

    Candidates lie midway between neighbouring distinct scores, the lowest one midway between 0 and the lowest score.
    A float32 value is given wherever one separates the two scores, so that a threshold means the same in float32 and
    float64.

    Args:
        probabilities: (B, L) float in [0, 1].
        labels: (B, L) in {0, 1, -1}, -1 = unknown.
        rule: `fixed` is 0.5. `f1` is the best F1; of candidates with equal F1 the one nearest 0.5, of two equally near
            the higher. `{"sensitivity": X}` is the highest threshold that finds at least the share X of the positives
            (the lowest of all where none does). `{"precision": X}` is the one that finds most positives among those
            with a precision of at least X; where there is none, the one of the highest precision.

    Returns:
        L thresholds in [0, 1); 0.5 for a class without a positive or without a negative, and where no threshold finds
        a positive.

    Raises:
        InputError: As in `figures`, or there is no such rule.

    Examples:
        >>> import torch
        >>> from ibca_lightning.metrics.thresholds import choose_thresholds
        >>> probabilities, labels = torch.tensor([[0.9], [0.8], [0.25], [0.0]]), torch.tensor([[1], [0], [1], [0]])
        >>> choose_thresholds(probabilities, labels, "f1")  # both positives and one other
        [0.125]
    """
    require_rule(rule)
    scores, target = checked_arrays(probabilities, labels)
    if rule == "fixed":
        return [0.5] * scores.shape[1]
    choice: Callable[[_Candidates], float] = _best_f1
    if isinstance(rule, dict):
        name, wanted = next(iter(rule.items()))
        choice = {"sensitivity": _at_sensitivity, "precision": _at_precision}[name](wanted)
    thresholds = []
    for column, known in zip(scores.T, target.T, strict=True):
        candidates = _candidates(column, known)
        thresholds.append(0.5 if candidates is None else choice(candidates))
    return thresholds


class _Candidates(NamedTuple):
    """Thresholds of one class from high to low, each between two scores, (K,) each, and its number of positives."""

    lower: Floats
    upper: Floats
    hits: NDArray[np.int64]
    predicted: NDArray[np.int64]
    positives: int

    def threshold(self, at: int) -> float:
        """The candidate itself."""
        return _between(float(self.lower[at]), float(self.upper[at]))


def _candidates(scores: Floats, labels: Labels) -> _Candidates | None:
    steps = cumulated(scores, labels)
    if steps is None:
        return None
    scores, hits, predicted = steps
    kept = int((scores > 0).sum())  # nothing lies below a score of 0
    if not kept or hits[kept - 1] == 0:
        return None
    lower = np.append(scores[1:kept], 0.0)
    return _Candidates(lower, scores[:kept], hits[:kept], predicted[:kept], int(hits[-1]))


def _best_f1(candidates: _Candidates) -> float:
    f1 = 2 * candidates.hits / (candidates.predicted + candidates.positives)
    best = [candidates.threshold(at) for at in np.flatnonzero(f1 == f1.max()).tolist()]
    return min(best, key=lambda threshold: abs(threshold - 0.5))


def _at_sensitivity(wanted: float) -> Callable[[_Candidates], float]:
    def choice(candidates: _Candidates) -> float:
        enough = candidates.hits >= wanted * candidates.positives - 1e-9
        return candidates.threshold(int(np.argmax(enough)) if enough.any() else len(enough) - 1)

    return choice


def _at_precision(wanted: float) -> Callable[[_Candidates], float]:
    def choice(candidates: _Candidates) -> float:
        precision = candidates.hits / candidates.predicted
        among = np.flatnonzero(precision >= min(wanted - 1e-9, precision.max()))
        # The first of equals, which predicts fewest.
        return candidates.threshold(int(among[np.argmax(candidates.hits[among])]))

    return choice


def _between(low: float, high: float) -> float:
    """Return a threshold t, low <= t < high, midway as far as the precision goes."""
    middle = low + (high - low) / 2
    for threshold in (float(np.float32(middle)), float(np.float32(low)), middle):
        if low <= threshold < high:
            return threshold
    return low


def choose_points(logits: Tensor, labels: Tensor, calibration: Calibration, rule: ThresholdRule) -> OperatingPoints:
    """Choose calibration and thresholds from the whole validation set, so that every process chooses the same."""
    fitted = fit_calibration(logits, labels, calibration)
    thresholds = choose_thresholds(calibrated(logits, fitted), labels, rule)
    positives = [] if rule == "fixed" else (labels == 1).sum(0).tolist()
    return OperatingPoints(thresholds, fitted, positives)
