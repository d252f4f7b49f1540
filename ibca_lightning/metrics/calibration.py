"""Probabilities that mean what they say: a scale and an offset for the logits, fitted on validation data.

`temperature`: one scale for all classes (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv
1706.04599). `platt`: a scale and an offset for each class (Platt, "Probabilistic Outputs for Support Vector Machines",
1999). Both minimise the cross-entropy on the known labels, each class weighing alike under one scale.

Different from plain maximum likelihood: as Platt has it, a class with P positives and N negatives is fitted to the
targets (P + 1) / (P + 2) and 1 / (N + 2) in place of 1 and 0. Classes that validation separates without error would
otherwise get an infinite scale; the fewer samples there are, the further from certainty the fit stays.

Scales are at least `LOWEST` standard deviations of the logits, so the order of the pictures, and with it AP and AUROC,
stays as it is (up to float32, whose probabilities saturate).

Shapes: B samples, L classes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.system.errors import InputError

Calibration = Literal["none", "temperature", "platt"]
_LARGEST = 1e20  # of a scale or an offset: float32 ends at 3e38
LOWEST = 0.01  # of the scale of standardised logits: a class whose logits say nothing, or the opposite of the labels


def calibrated(logits: Tensor, calibration: Mapping[str, Any] | None) -> Tensor:
    """Turn logits into probabilities.

    Args:
        logits: (..., L), of any floating type.
        calibration: `{"kind": ..., "scale": [L floats], "offset": [L floats]}` from `fit_calibration`; None is the
            plain sigmoid.

    Returns:
        sigmoid(scale * logits + offset), (..., L) float32.
    """
    logits = logits.float()
    if calibration is None:
        return logits.sigmoid()
    scale, offset = (logits.new_tensor(calibration[name]) for name in ("scale", "offset"))
    return (scale * logits + offset).sigmoid()


def fit_calibration(logits: Tensor, labels: Tensor, kind: Calibration) -> dict[str, Any] | None:
    """Fit scale and offset to validation data.

    The cross-entropy is convex in scale and offset. The scale's logarithm is what is searched (L-BFGS, in float64, on
    standardised logits): that keeps it positive and adds no other minimum.

    Args:
        logits: (B, L), not NaN.
        labels: (B, L) in {0, 1, -1}, -1 = unknown.
        kind: What to fit.

    Returns:
        Plain data for the checkpoint, as `calibrated` takes it; None for `none`. A class without a positive or without
        a negative has no say, and under `platt` keeps scale 1 and offset 0; where this is every class, so do all.
    """
    if kind == "none":
        return None
    # Lightning validates in inference mode, whose tensors no gradient may meet: so those are copied outside it.
    with torch.inference_mode(False), torch.enable_grad():
        # Infinite logits of half precision would make the loss infinite.
        scores, target = logits.detach().cpu().double().clamp(-1e4, 1e4).clone(), labels.detach().cpu().clone()
        classes = [_Known(scores[known, i], target[known, i]) for i, known in enumerate((target >= 0).T)]
        fitted = {i: known for i, known in enumerate(classes) if known.positives and known.negatives}
        scale, offset = [1.0] * len(classes), [0.0] * len(classes)
        if kind == "temperature" and fitted:
            scale = [_temperature(list(fitted.values()))] * len(classes)
        elif kind == "platt":
            for i, known in fitted.items():
                scale[i], offset[i] = _platt(known)
    return {"kind": kind, "scale": scale, "offset": offset}


def require_calibration(calibration: object, classes: int, path: object) -> None:
    """Check what a checkpoint gives.

    Raises:
        InputError: It is neither None nor a calibration of so many classes; `path` is the checkpoint's.
    """
    if calibration is None:
        return
    record = calibration if isinstance(calibration, dict) else {}
    values = [record.get(name) for name in ("scale", "offset")]
    numbers = all(isinstance(own, list) and len(own) == classes and all(map(_usable, own)) for own in values)
    numbers = numbers and all(scale > 0 for scale in record["scale"])
    if record.get("kind") not in ("temperature", "platt") or not numbers:
        raise InputError(
            f"{path} with a calibration of {classes} classes (kind, scale, offset)", str(calibration)[:80],
            "use the file as it was written",
        )  # fmt: skip


def _usable(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST  # type: ignore[arg-type]


class _Known:
    """The known entries of one class, (K,) logits in float64 and targets in {0, 1}, with Platt's targets."""

    def __init__(self, scores: Tensor, target: Tensor) -> None:
        self.scores, self.positives = scores, int((target == 1).sum())
        self.negatives = len(scores) - self.positives
        self.aims = torch.where(target == 1, (self.positives + 1) / (self.positives + 2), 1 / (self.negatives + 2))

    @property
    def deviation(self) -> float:
        """Of the logits; 1 where they are all alike."""
        deviation = float(self.scores.std(correction=0))
        return deviation if deviation > 1e-12 else 1.0

    def loss(self, logits: Tensor) -> Tensor:
        """The mean cross-entropy against the targets."""
        return F.binary_cross_entropy_with_logits(logits, self.aims.to(logits))


def _platt(known: _Known) -> tuple[float, float]:
    mean, deviation = float(known.scores.mean()), known.deviation
    standard = (known.scores - mean) / deviation
    start = [0.0, math.log((known.positives + 1) / (known.negatives + 1))]
    logarithm, shift = _minimised(start, lambda a, b: known.loss(a.exp() * standard + b))
    scale = max(math.exp(logarithm), LOWEST) / deviation
    return scale, shift - scale * mean


def _temperature(classes: Sequence[_Known]) -> float:
    unit = sum(known.deviation for known in classes) / len(classes)

    def loss(logarithm: Tensor) -> Tensor:
        return torch.stack([known.loss(logarithm.exp() / unit * known.scores) for known in classes]).mean()

    (logarithm,) = _minimised([0.0], loss)
    return max(math.exp(logarithm), LOWEST) / unit


def _minimised(start: Sequence[float], loss: Callable[..., Tensor]) -> list[float]:
    values = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in start]
    optimiser = torch.optim.LBFGS(
        values, max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimiser.zero_grad()
        result = loss(*values)
        result.backward()  # type: ignore[no-untyped-call]
        return result.item()

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return [value.item() for value in values]
