"""From gathered probabilities to the figures of a run (the content of `test_metrics.json`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist
from torch import Tensor

from ibca_lightning.metrics.calibration import calibrated
from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.intervals import bootstrap_intervals, every_interval
from ibca_lightning.metrics.localisation import summarise
from ibca_lightning.metrics.multilabel import by_subgroup, calibration_figures, figures
from ibca_lightning.metrics.store import Stored
from ibca_lightning.system.errors import InputError

_LEAST = 10  # pictures of a subgroup that has intervals: those of fewer are nearly [0, 1]


@dataclass
class SampleFacts:
    """What is text about the samples of one evaluation set: id, group, subgroup values, by sample index."""

    rows: dict[int, tuple[str, str, dict[str, str]]] = field(default_factory=dict)

    def update(self, batch: Mapping[str, Any]) -> None:
        """Add one batch (keys `index`, `id`, and where given `group`, `subgroup`).

        Raises:
            InputError: When two samples have one index, so that one of them would be taken for a repetition.
        """
        groups = batch.get("group", batch["id"])
        subgroups: Mapping[str, Sequence[str]] = batch.get("subgroup", {})
        for i, index in enumerate(batch["index"].tolist()):
            values = {column: str(column_values[i]) for column, column_values in subgroups.items()}
            self._add(index, (str(batch["id"][i]), str(groups[i]), values))

    def gathered(self, world_size: int) -> "SampleFacts":
        """The facts of all processes together."""
        if world_size == 1:
            return self
        parts: list[Any] = [None] * world_size
        dist.all_gather_object(parts, self.rows)
        together = SampleFacts()
        for part in parts:
            for index, row in part.items():
                together._add(index, row)
        return together

    def _add(self, index: int, row: tuple[str, str, dict[str, str]]) -> None:
        if self.rows.setdefault(index, row)[0] != row[0]:
            raise InputError(
                "an index of its own for every sample of a data set",
                f"{index} for {self.rows[index][0]} and for {row[0]}",
                "give each its place in the whole set under `index`",
            )


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
    rows = [facts.rows[index] for index in stored.index.tolist()]
    groups = [group for _, group, _ in rows]
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
    if rows and rows[0][2]:
        columns = {column: [row[2][column] for row in rows] for column in rows[0][2]}
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
    ids = [row[0] for row in rows]
    return Evaluation(name, result, ids, probabilities, labels, list(class_names), groups, stored.pairs)
