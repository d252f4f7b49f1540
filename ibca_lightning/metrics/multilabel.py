"""The figures of a multi-label classifier, as test_metrics.json defines them.

Known labels only. mAP and AUROC are means over the classes with both a positive and a negative ("defined"); AP is
exact, without interpolation, ties are one threshold. CP, CR and CF1 follow Zhu et al. (CVPR 2017, arXiv 1702.05891)
with precision 0 where nothing is predicted. What is undefined is None, never 0 and never NaN.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_sensitivity_at_specificity,
)

from ibca_lightning.metrics.operating_point import (
    Counts,
    Floats,
    class_mean,
    count,
    number,
    overall_figures,
    per_class_figures,
)
from ibca_lightning.metrics.reliability import Binned, calibration_errors, reliability_curves
from ibca_lightning.system.errors import InputError

SPECIFICITY = 0.95  # where the sensitivity of `sensitivity_at_95_specificity` is read


def figures(
    probabilities: Tensor | NDArray[Any],
    labels: Tensor | NDArray[Any],
    class_names: Sequence[str],
    thresholds: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Compute every multi-label figure.

    Args:
        probabilities: (B, L) float in [0, 1], finite; not logits. Tensors or arrays.
        labels: (B, L) in {0, 1, -1}, -1 = unknown.
        class_names: L names.
        thresholds: (L,) stored thresholds for the figures under `tuned`; a label is predicted if p > threshold.

    Returns:
        `metrics`: mAP, AUROC, CP, CR, CF1, OP, OR, OF1, sensitivity, specificity (all at 0.5),
        sensitivity_at_95_specificity (the highest sensitivity of each class at a threshold whose specificity is at
        least 0.95, averaged over classes), ECE (of all known labels together) and class_ECE (averaged over classes);
        each a float or None.
        `per_class`: for each name AP, AUROC, precision, recall, F1, specificity, sensitivity_at_95_specificity, ECE
        (None for a class without a positive or without a negative) and the counts positives, negatives, unknown.
        `tuned`: CP to specificity at `thresholds`, {} without them; `tuned_per_class`: precision, recall, F1 and
        specificity there. `defined_classes`, `samples`: int.

    Raises:
        InputError: Shapes do not match, a probability lies outside [0, 1] or is not finite, or a label is none of
            {0, 1, -1}.

    Examples:
        >>> import torch
        >>> from ibca_lightning.metrics.multilabel import figures
        >>> probabilities, labels = torch.tensor([[0.9], [0.8], [0.3], [0.1]]), torch.tensor([[1], [0], [1], [0]])
        >>> figures(probabilities, labels, ["drusen"])["metrics"]["AUROC"]  # three of four pairs are in order
        0.75
    """
    scores, target = checked_arrays(torch.as_tensor(probabilities), torch.as_tensor(labels))
    if len(class_names) != scores.shape[1]:
        raise InputError(f"{scores.shape[1]} class names", len(class_names), "name every column of the probabilities")
    counts = count(scores, target, np.full(scores.shape[1], 0.5))
    curves = _curve_figures(scores, target, counts.defined)
    errors = _calibration_errors(scores, target, counts)
    columns = curves | per_class_figures(counts) | {"ECE": errors["per_class"]}
    per_class = {
        name: {figure: number(values[i]) for figure, values in columns.items()}
        | {
            "positives": int(counts.positives[i]),
            "negatives": int(counts.negatives[i]),
            "unknown": int((target[:, i] == -1).sum()),
        }
        for i, name in enumerate(class_names)
    }
    overall = {
        "mAP": class_mean(curves["AP"], counts.defined),
        "AUROC": class_mean(curves["AUROC"], counts.defined),
        **overall_figures(counts),
        "sensitivity_at_95_specificity": class_mean(curves["sensitivity_at_95_specificity"], counts.defined),
        "ECE": errors["ECE"],
        "class_ECE": errors["class_ECE"],
    }
    tuned: dict[str, Floats] = {}
    tuned_columns: dict[str, Floats] = {}
    if thresholds is not None:
        if len(thresholds) != scores.shape[1]:
            raise InputError(f"{scores.shape[1]} thresholds", len(thresholds), "give one for each class")
        at_thresholds = count(scores, target, np.asarray(thresholds, dtype=np.float64))
        tuned, tuned_columns = overall_figures(at_thresholds), per_class_figures(at_thresholds)
    return {
        "metrics": {name: number(value) for name, value in overall.items()},
        "per_class": per_class,
        "tuned": {name: number(value) for name, value in tuned.items()},
        "tuned_per_class": {
            name: {figure: number(values[i]) for figure, values in tuned_columns.items()}
            for i, name in enumerate(class_names)
            if tuned_columns
        },
        "defined_classes": int(counts.defined.sum()),
        "samples": int(scores.shape[0]),
    }


def chance_precision(per_class: Mapping[str, Mapping[str, Any]]) -> float | None:
    """The mAP that guessing has in the long run: the mean share of positives of the classes of `figures` with an AP."""
    counted = [(own["positives"], own["negatives"]) for own in per_class.values() if own.get("AP") is not None]
    return (
        float(np.mean([positives / (positives + negatives) for positives, negatives in counted])) if counted else None
    )


def calibration_figures(
    probabilities: Tensor, labels: Tensor, class_names: Sequence[str], uncalibrated: Tensor | None = None
) -> dict[str, Any]:
    """Give what a reliability diagram shows.

    Args:
        probabilities: (B, L) float in [0, 1].
        labels: (B, L) in {0, 1, -1}.
        class_names: L names.
        uncalibrated: (B, L), the plain sigmoid, where the probabilities are calibrated.

    Returns:
        What `reliability_curves` returns; with `uncalibrated` also `ECE_uncalibrated` and `class_ECE_uncalibrated`.

    Raises:
        InputError: As in `figures`.
    """
    scores, target = checked_arrays(probabilities, labels)
    result = reliability_curves(scores, target, class_names)
    if uncalibrated is not None:
        raw, _ = checked_arrays(uncalibrated, labels)
        errors = _calibration_errors(raw, target, count(raw, target, np.full(raw.shape[1], 0.5)))
        result |= {f"{name}_uncalibrated": number(errors[name]) for name in ("ECE", "class_ECE")}
    return result


def checked_arrays(probabilities: Tensor, labels: Tensor) -> tuple[Floats, NDArray[np.int64]]:
    """Check what the figures rest on and bring it to numpy: float64 (exact), so that no threshold is rounded.

    Raises:
        InputError: As in `figures`.
    """
    if probabilities.ndim != 2 or probabilities.shape != labels.shape:
        raise InputError(
            "probabilities and labels of one shape (samples, classes)",
            f"{tuple(probabilities.shape)} and {tuple(labels.shape)}",
            "give one label for each probability, -1 where it is unknown",
        )
    scores = probabilities.detach().cpu().double().numpy()
    # torchmetrics would silently apply a sigmoid to values outside [0, 1], and gives AP 1.0 on NaN.
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        raise InputError("probabilities in [0, 1]", scores[wrong][0], "apply the sigmoid, and drop what is not finite")
    target = labels.detach().cpu().numpy()
    odd = ~np.isin(target, (-1, 0, 1))
    if odd.any():
        raise InputError("labels in {0, 1, -1}", target[odd][0], "mark unknown labels with -1")
    return scores, target.astype(np.int64)


def _calibration_errors(scores: Floats, target: NDArray[np.int64], counts: Counts) -> dict[str, Floats]:
    """Those of `calibration_errors` with each sample counting once, without the axis of resamples."""
    classes = [Binned(column, known) for column, known in zip(scores.T, target.T, strict=True)]
    once = np.ones((len(scores), 1), np.float32)
    gaps = np.stack([own.gaps(once).T for own in classes], axis=1)
    errors = calibration_errors(gaps, Counts(*(total[None] for total in counts)))
    return {name: values[0] for name, values in errors.items()}


def _curve_figures(scores: Floats, target: NDArray[np.int64], defined: NDArray[np.bool_]) -> dict[str, Floats]:
    """AP, AUROC and sensitivity at 95 % specificity of each class, (L,), NaN where it is not defined.

    One class at a time on its known entries: torchmetrics raises on a column that is wholly unknown, and counts a
    class without positives as 0. Its exact mode is within 1e-7 of float64 at a million samples.
    """
    result = {name: np.full(len(defined), np.nan) for name in ("AP", "AUROC", "sensitivity_at_95_specificity")}
    for i in np.flatnonzero(defined):
        known = target[:, i] >= 0
        own = torch.from_numpy(scores[known, i]), torch.from_numpy(target[known, i])
        sensitivity, _ = binary_sensitivity_at_specificity(*own, min_specificity=SPECIFICITY, validate_args=False)
        result["AP"][i] = binary_average_precision(*own, validate_args=False).item()
        result["AUROC"][i] = binary_auroc(*own, validate_args=False).item()
        result["sensitivity_at_95_specificity"][i] = sensitivity.item()
    return result
