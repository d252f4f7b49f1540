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

from ibca_lightning.metrics.operating_point import (
    SPECIFICITY,
    Counts,
    Floats,
    Labels,
    by_score,
    class_mean,
    count,
    known_rows,
    number,
    overall_figures,
    per_class_figures,
    ratio,
    summed,
)
from ibca_lightning.metrics.reliability import calibration_errors, gaps_of_parts, reliability_curves
from ibca_lightning.system.errors import InputError, doubled

_CURVES = ("AP", "AUROC", "sensitivity_at_95_specificity")
_MOST = 1_000_000  # samples of a set whose figures are torchmetrics': of more it takes minutes


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
        InputError: Shapes do not match, a class name stands twice, a probability lies outside [0, 1] or is not finite,
            or a label is none of {0, 1, -1}.

    Examples:
        >>> import torch
        >>> from ibca_lightning.metrics.multilabel import figures
        >>> probabilities, labels = torch.tensor([[0.9], [0.8], [0.3], [0.1]]), torch.tensor([[1], [0], [1], [0]])
        >>> figures(probabilities, labels, ["drusen"])["metrics"]["AUROC"]  # three of four pairs are in order
        0.75
    """
    scores, target = checked_arrays(torch.as_tensor(probabilities), torch.as_tensor(labels))
    return figures_of_parts(scores, target, class_names, thresholds, np.zeros(len(scores), np.int64), 1)[0]


def figures_of_parts(
    scores: Floats,
    target: Labels,
    class_names: Sequence[str],
    thresholds: Sequence[float] | None,
    parts: NDArray[np.int64],
    number: int,
) -> list[dict[str, Any]]:
    """What `figures` returns of each of G parts of the rows, all at once: numpy is called once for all.

    Args:
        scores: (B, L) float64, as `checked_arrays` gives them, as the target is.
        target: (B, L) in {0, 1, -1}.
        class_names: L names.
        thresholds: (L,) or None.
        parts: (B,) in 0 to G - 1.
        number: G.
    """
    if len(class_names) != scores.shape[1]:
        raise InputError(f"{scores.shape[1]} class names", len(class_names), "name every column of the probabilities")
    if double := doubled(class_names):
        raise InputError(
            "class names that differ", f"'{double[0]}' twice", "name each column of the probabilities once"
        )
    if thresholds is not None and len(thresholds) != scores.shape[1]:
        raise InputError(f"{scores.shape[1]} thresholds", len(thresholds), "give one for each class")
    starts: NDArray[np.int64] | None = None
    if number > 1 and len(parts):
        order = np.argsort(parts, kind="stable")
        scores, target, parts = scores[order], target[order], parts[order]
        starts = np.searchsorted(parts, np.arange(number))
    counts = _counted(scores, target, 0.5, starts)
    whole_set = number == 1 and len(scores) <= _MOST
    curves = _curve_figures(scores, target, counts) if whole_set else _curves_of_parts(scores, target, parts, counts)
    errors = calibration_errors(gaps_of_parts(scores, target, parts, number), counts)
    columns = curves | per_class_figures(counts) | {"ECE": errors["per_class"]}
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
        at_thresholds = _counted(scores, target, thresholds, starts)
        tuned, tuned_columns = overall_figures(at_thresholds), per_class_figures(at_thresholds)
    unknown = np.atleast_2d(summed(target == -1, starts))
    whole = {"positives": counts.positives, "negatives": counts.negatives, "unknown": unknown}
    parted = {name: values.astype(np.int64).tolist() for name, values in whole.items()}
    own, own_tuned = ({name: _listed(values) for name, values in each.items()} for each in (columns, tuned_columns))
    defined, samples = counts.defined.sum(axis=1).tolist(), np.bincount(parts, minlength=number).tolist()
    of_all, of_all_tuned = (
        {name: _listed(values[:, None]) for name, values in each.items()} for each in (overall, tuned)
    )
    return [
        {
            "metrics": {name: values[part][0] for name, values in of_all.items()},
            "per_class": {
                name: {figure: values[part][at] for figure, values in (own | parted).items()}
                for at, name in enumerate(class_names)
            },
            "tuned": {name: values[part][0] for name, values in of_all_tuned.items()},
            "tuned_per_class": {
                name: {figure: values[part][at] for figure, values in own_tuned.items()}
                for at, name in enumerate(class_names)
                if own_tuned
            },
            "defined_classes": defined[part],
            "samples": samples[part],
        }
        for part in range(number)
    ]


def _counted(
    scores: Floats, target: Labels, thresholds: float | Sequence[float], starts: NDArray[np.int64] | None
) -> Counts:
    """(G, L); one part without rows where there are no starts."""
    given = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), scores.shape[1])
    return Counts(*map(np.atleast_2d, count(scores, target, given, starts)))


def _listed(values: Floats) -> list[list[float | None]]:
    """(G, L) as what JSON can hold: None for NaN."""
    return [[None if value != value else value for value in row] for row in values.tolist()]


def chance_precision(per_class: Mapping[str, Mapping[str, Any]]) -> float | None:
    """The mAP that guessing has in the long run: the mean share of positives of the classes of `figures` with an AP."""
    defined = [own for own in per_class.values() if own.get("AP") is not None]
    counted = [(own.get("positives") or 0, own.get("negatives") or 0) for own in defined]  # a file may lack them
    return (
        float(np.mean([one / (one + other) for one, other in counted])) if counted and all(map(sum, counted)) else None
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
        gaps = gaps_of_parts(raw, target, np.zeros(len(raw), np.int64), 1)
        errors = calibration_errors(gaps, _counted(raw, target, 0.5, None))
        result |= {f"{name}_uncalibrated": number(errors[name][0]) for name in ("ECE", "class_ECE")}
    return result


def checked_arrays(probabilities: Tensor, labels: Tensor) -> tuple[Floats, NDArray[np.int8]]:
    """Check what the figures rest on and bring it to numpy: float64 (exact), so that no threshold is rounded, and int8.

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
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        raise InputError("probabilities in [0, 1]", scores[wrong][0], "apply the sigmoid, and drop what is not finite")
    target = labels.detach().cpu().numpy()
    odd = (target != 0) & (target != 1) & (target != -1)
    if odd.any():
        raise InputError("labels in {0, 1, -1}", target[odd][0], "mark unknown labels with -1")
    return scores, target.astype(np.int8, copy=False)


def _curve_figures(scores: Floats, target: Labels, counts: Counts) -> dict[str, Floats]:
    """AP, AUROC and sensitivity at 95 % specificity of each class, (1, L), NaN where it is not defined: torchmetrics'.

    One class at a time on its known entries: torchmetrics raises on a column that is wholly unknown, and counts a
    class without positives as 0. Its exact mode is within 1e-7 of float64 at a million samples. The entries are sorted
    first: each of its figures sorts them again, which takes a fifth of the time where they are.
    """
    # Here, and not above: what reads figures needs none of them, and the import takes a second.
    from torchmetrics.functional.classification import (
        binary_auroc,
        binary_average_precision,
        binary_sensitivity_at_specificity,
    )

    result = {name: np.full(counts.positives.shape, np.nan) for name in _CURVES}
    for i in np.flatnonzero(counts.defined[0]):
        known = known_rows(target[:, i])
        score, present = scores[known, i].copy(), target[known, i].astype(np.int64)
        order = by_score(score)
        own = torch.from_numpy(score[order]), torch.from_numpy(present[order])
        sensitivity, _ = binary_sensitivity_at_specificity(*own, min_specificity=SPECIFICITY, validate_args=False)
        values = (binary_average_precision(*own, validate_args=False), binary_auroc(*own, validate_args=False))
        for name, value in zip(_CURVES, (*values, sensitivity), strict=True):
            result[name][0, i] = value.item()
    return result


def _curves_of_parts(scores: Floats, target: Labels, parts: NDArray[np.int64], counts: Counts) -> dict[str, Floats]:
    """The same of each of many parts, (G, L), or of millions of samples, for which torchmetrics would take minutes.

    One class at a time on its known entries, all parts in one sorting; ties are one threshold, so what is summed are
    the steps from one score to the next within a part, and of these only the ones at which a positive is gained.
    """
    result = {name: np.full(counts.positives.shape, np.nan) for name in _CURVES}
    for label in range(scores.shape[1]):
        known = known_rows(target[:, label])
        part, score, present = parts[known], scores[known, label].copy(), target[known, label].copy()
        order = by_score(score)
        if len(counts.positives) > 1:
            order = order[np.argsort(part[order], kind="stable")]
        part, score, present = part[order], score[order], present[order]
        ends = np.flatnonzero(np.append((part[1:] != part[:-1]) | (score[1:] != score[:-1]), len(part) > 0))
        first = np.searchsorted(part, np.arange(len(counts.positives)))[part[ends]]  # row of its part
        before = np.append(0, np.cumsum(present))
        gained, more = np.diff(before[ends + 1], prepend=0), np.diff(ends, prepend=-1)
        steps = gained > 0
        ends, first, gained, more = (each[steps] for each in (ends, first, gained, more))
        if not len(ends):
            continue
        of = part[ends]
        hits, found = before[ends + 1] - before[first], ends + 1 - first
        begins = np.flatnonzero(np.diff(of, prepend=-1))  # the parts' first steps
        own = of[begins]
        positives, negatives = counts.positives[own, label], counts.negatives[own, label]
        all_negatives = counts.negatives[of, label]
        # Each positive beats the negatives below it, and half of those beside it.
        beaten = gained * (all_negatives - (found - hits)) + gained * (more - gained) / 2
        specific = 1 - ratio((found - hits).astype(np.float64), all_negatives) >= SPECIFICITY
        values = (
            ratio(np.add.reduceat(gained * (hits / found), begins), positives),
            ratio(np.add.reduceat(beaten, begins), positives * negatives),
            ratio(np.maximum.reduceat(np.where(specific, hits, 0), begins).astype(np.float64), positives),
        )
        for name, value in zip(result, values, strict=True):
            result[name][own, label] = np.where(counts.defined[own, label], value, np.nan)
    return result
