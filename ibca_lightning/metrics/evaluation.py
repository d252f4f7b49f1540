"""From gathered probabilities to the figures of a run (the content of `test_metrics.json`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.metrics.calibration import calibrated
from ibca_lightning.metrics.confusions import exclusive_together
from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.intervals import every_interval
from ibca_lightning.metrics.localisation import summarise
from ibca_lightning.metrics.multilabel import calibration_figures, figures
from ibca_lightning.metrics.operating_point import number
from ibca_lightning.metrics.resampling.subgroups import by_subgroup
from ibca_lightning.metrics.resampling.thirds import MEANS, frequency_thirds, means_of_parts
from ibca_lightning.metrics.store import SampleFacts, Stored


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
    seen: NDArray[np.int8] | None = None,
    exclusive: Sequence[Sequence[str]] = (),
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
        seen: (M, L), the labels of the training set, which tell with those of this set what excludes what, and which
            classes are frequent.
        exclusive: Groups of names of classes of which a picture has one at most.

    Returns:
        Figures in the shape of `test_metrics.json`, with what they were computed from.
    """
    ids, groups, subgroups = facts.of(stored.index)
    calibration, thresholds = (points.calibration, points.thresholds) if points is not None else (None, None)
    probabilities, labels = calibrated(stored.logits, calibration), stored.labels
    raw = None if calibration is None else stored.logits.sigmoid()
    result = figures(probabilities, labels, class_names, thresholds)
    result["thresholds"] = points.record(class_names) if points is not None else {}
    result["calibration"] = {"kind": calibration["kind"] if calibration is not None else "none"}
    result["calibration"] |= calibration_figures(probabilities, labels, class_names, raw)
    if thresholds is not None:
        decided = probabilities.double().numpy() > np.array(thresholds)
        result["exclusive"] = exclusive_together(decided, labels.numpy(), class_names, seen, exclusive)
    result["intervals"] = {}
    thirds = {} if seen is None else frequency_thirds(seen)
    if thirds:
        result["thirds"] = {name: [class_names[at] for at in own] for name, own in thirds.items()}
        columns = {of: np.array([[own[of] for own in result["per_class"].values()]], float) for of in MEANS.values()}
        result["metrics"] |= {name: number(own[0]) for name, own in means_of_parts(columns, thirds).items()}
    if intervals:
        result |= every_interval(
            probabilities, labels, class_names, groups, thresholds, pairs=stored.pairs or None, parts=thirds
        )
        if raw is not None:
            drawn = every_interval(raw, labels, class_names, groups, ranking=False)["intervals"]
            result["calibration"]["intervals"] = {
                f"{own}_uncalibrated": drawn[own] for own in ("ECE", "class_ECE")
            }  # fmt: skip
    if stored.pairs:
        localisation = summarise(stored.pairs, class_names)
        result["metrics"].update(localisation["metrics"])
        for class_name, values in localisation["per_class"].items():
            result["per_class"][class_name].update(values)
    if subgroups:
        drawn_from = groups if intervals else None
        result["subgroups"] = by_subgroup(probabilities, labels, class_names, subgroups, thresholds, drawn_from)
    return Evaluation(name, result, ids, probabilities, labels, list(class_names), groups, stored.pairs)
