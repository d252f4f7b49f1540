"""From gathered probabilities to the figures of a run (the content of `test_metrics.json`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ibca_lightning.metrics.calibration import calibrated
from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.intervals import bootstrap_intervals, every_interval
from ibca_lightning.metrics.localisation import summarise
from ibca_lightning.metrics.multilabel import by_subgroup, calibration_figures, figures
from ibca_lightning.metrics.store import SampleFacts, Stored

_LEAST = 10  # pictures of a subgroup that has intervals: those of fewer are nearly [0, 1]


@dataclass(frozen=True)
class Evaluation:
    """One evaluated set.

    Attributes:
        name: `val`, `test`, or the name of one of several test sets.
        figures: The content of `test_metrics.json`.
        ids: N picture ids.
        probabilities: (N, L) float32 in [0, 1], calibrated where the model is.
        labels: (N, L) int8 in {0, 1, -1}.
        class_names: L names.
        groups: N names of groups, such as patients; a picture without one is its own.
        pairs: Localisation figures of (picture, class) pairs, each (N, L), NaN where there is no pair.
    """

    name: str
    figures: dict[str, Any]
    ids: list[str]
    probabilities: Tensor
    labels: Tensor
    class_names: list[str]
    groups: list[str]
    pairs: dict[str, Tensor]


def evaluate(
    name: str,
    stored: Stored,
    facts: SampleFacts,
    class_names: Sequence[str],
    points: OperatingPoints | None = None,
    intervals: bool = False,
) -> Evaluation:
    """All figures of one set.

    Args:
        name: Of the set.
        stored: Logits, labels and localisation of every sample, each once.
        facts: Ids, groups and subgroups of the same samples.
        class_names: L names.
        points: The calibration that makes probabilities of the logits, and the thresholds of the figures under `tuned`;
            with None the probabilities are the plain sigmoid, and `tuned` is empty.
        intervals: Whether to add bootstrap intervals over groups.

    Returns:
        Figures in the shape of `test_metrics.json`, with what they were computed from.
    """
    ids, groups, columns = facts.of(stored.index)
    calibration, thresholds = (points.calibration, points.thresholds) if points is not None else (None, None)
    probabilities, labels = calibrated(stored.logits, calibration), stored.labels
    raw = None if calibration is None else stored.logits.sigmoid()
    result = figures(probabilities, labels, class_names, thresholds)
    result["thresholds"] = points.record(class_names) if points is not None else {}
    result["calibration"] = {"kind": calibration["kind"] if calibration is not None else "none"}
    result["calibration"] |= calibration_figures(probabilities, labels, class_names, raw)
    result["intervals"] = {}
    if intervals:
        result |= every_interval(probabilities, labels, class_names, groups, thresholds, pairs=stored.pairs or None)
        if raw is not None:
            drawn = bootstrap_intervals(raw, labels, groups)
            result["calibration"]["intervals"] = {
                f"{own}_uncalibrated": drawn[own] for own in ("ECE", "class_ECE")
            }  # fmt: skip
    if stored.pairs:
        localisation = summarise(stored.pairs, class_names)
        result["metrics"].update(localisation["metrics"])
        for class_name, values in localisation["per_class"].items():
            result["per_class"][class_name].update(values)
    if columns:
        result["subgroups"] = by_subgroup(probabilities, labels, class_names, columns, thresholds)
        if intervals:
            for column, values in columns.items():
                inside_of: dict[str, list[int]] = {}
                for at, given in enumerate(values):
                    inside_of.setdefault(given, []).append(at)
                for value, own in result["subgroups"][column].items():
                    inside = inside_of[value]
                    if len(inside) < _LEAST:
                        continue
                    own |= every_interval(
                        probabilities[inside], labels[inside], class_names, [groups[at] for at in inside], thresholds
                    )
    return Evaluation(name, result, ids, probabilities, labels, list(class_names), groups, stored.pairs)
