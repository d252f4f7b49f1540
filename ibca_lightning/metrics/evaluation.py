"""From gathered probabilities to the run's figures and files (`test_metrics.json`, `test_predictions.csv`)."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
import torch.distributed as dist
from torch import Tensor

from ibca_lightning.metrics.calibration import calibrated
from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.intervals import bootstrap_intervals, every_interval
from ibca_lightning.metrics.localisation import summarise
from ibca_lightning.metrics.multilabel import by_subgroup, calibration_figures, figures
from ibca_lightning.metrics.store import Stored
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.whole_files import whole

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


def write_evaluation(folder: Path, evaluation: Evaluation, suffix: str = "") -> None:
    """Write what a test leaves, each file whole or not at all.

    `test_metrics<suffix>.json` and `test_predictions<suffix>.csv`; where pictures belong to groups,
    `test_groups<suffix>.csv` (id, group); where there are masks, `test_localisation<suffix>.csv`: id, class and the
    localisation figures of each pair of a picture and a class that has a lesion in it.

    Args:
        folder: Of the run.
        evaluation: Of one test set.
        suffix: `.NAME` where there are several test sets.
    """
    write_json(folder / f"test_metrics{suffix}.json", evaluation.figures)
    write_predictions(
        folder / f"test_predictions{suffix}.csv",
        evaluation.ids,
        evaluation.probabilities,
        evaluation.class_names,
        evaluation.labels,
    )
    groups, localisation = folder / f"test_groups{suffix}.csv", folder / f"test_localisation{suffix}.csv"
    if evaluation.groups != evaluation.ids:
        with _whole(groups) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("id", "group"), *zip(evaluation.ids, evaluation.groups, strict=True)])
    else:
        groups.unlink(missing_ok=True)  # of an earlier test on other data
    if evaluation.pairs:
        _write_localisation(localisation, evaluation)
    else:
        localisation.unlink(missing_ok=True)


def _write_localisation(path: Path, evaluation: Evaluation) -> None:
    """One row a pair: every figure as `localisation.pair_figures` defines it; attention_gain is energy over uniform."""
    columns = {name: values.double().tolist() for name, values in evaluation.pairs.items()}
    with _whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "class", *columns])
        for i, picture in enumerate(evaluation.ids):
            for c, name in enumerate(evaluation.class_names):
                cells = [values[i][c] for values in columns.values()]
                if not all(map(math.isnan, cells)):
                    writer.writerow([picture, name, *("" if math.isnan(cell) else f"{cell:.9g}" for cell in cells)])


def write_json(path: Path, content: Any) -> None:
    """Write plain data as JSON, whole or not at all; NaN is an error, for JSON has none."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with _whole(path) as file:
        file.write(text + "\n")


def write_predictions(
    path: Path,
    ids: Sequence[str],
    probabilities: Tensor,
    class_names: Sequence[str],
    labels: Tensor | None = None,
    thresholds: Sequence[float] | None = None,
) -> None:
    """Write one row a picture: `id`, a probability a class, then what else is given.

    That is `label:<class>` with labels, and `decision:<class>` and `threshold:<class>` with thresholds. Nine
    significant digits give back every float32 exactly, so figures recomputed from the file are the same.

    Args:
        path: The CSV file.
        ids: N picture ids.
        probabilities: (N, L) in [0, 1].
        class_names: L names.
        labels: (N, L) in {0, 1, -1}; None leaves their columns out.
        thresholds: L of them; None leaves decisions out.
    """
    known = labels.tolist() if labels is not None else [[]] * len(ids)
    with _whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(prediction_columns(class_names, labels is not None, bool(thresholds)))
        for picture, row, label_row in zip(ids, probabilities.to(torch.float32).tolist(), known, strict=True):
            writer.writerow([picture, *digits(row), *label_row, *(decisions(row, thresholds) if thresholds else [])])


def prediction_columns(class_names: Sequence[str], labelled: bool = True, decided: bool = True) -> list[str]:
    """The header of a table of predictions, with the columns of labels and of decisions where asked for.

    Example:
        >>> from ibca_lightning.metrics.evaluation import prediction_columns
        >>> prediction_columns(["drusen"])
        ['id', 'drusen', 'label:drusen', 'decision:drusen', 'threshold:drusen']
    """
    known = [f"label:{name}" for name in class_names] if labelled else []
    return ["id", *class_names, *known, *(decision_columns(class_names) if decided else [])]


def digits(row: Sequence[float]) -> list[str]:
    """Probabilities with the nine significant digits that give back every float32."""
    return [f"{value:.9g}" for value in row]


def decision_columns(class_names: Sequence[str]) -> list[str]:
    """The header of what `decisions` gives."""
    return [f"{what}:{name}" for what in ("decision", "threshold") for name in class_names]


def decisions(row: Sequence[float], thresholds: Sequence[float]) -> list[str]:
    """For each class 1 where its probability is above its threshold, else 0; then the thresholds.

    Example:
        >>> from ibca_lightning.metrics.evaluation import decisions
        >>> decisions([0.7, 0.3], thresholds=[0.5, 0.3])  # found is what lies above the threshold, not at it
        ['1', '0', '0.5', '0.3']
    """
    chosen = [str(int(value > threshold)) for value, threshold in zip(row, thresholds, strict=True)]
    return chosen + [repr(float(threshold)) for threshold in thresholds]


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        yield file
