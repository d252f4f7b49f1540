"""The charts of a report: precision-recall and ROC curves, reliability, training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ibca_lightning.metrics.curves import Curves, curves
from ibca_lightning.metrics.operating_point import Floats
from ibca_lightning.metrics.reliability import reliability_curves
from ibca_lightning.report.run import Curve, TestSet
from ibca_lightning.report.svg_chart import COLOURS, Line, Mark, chart

_POINTS = 40  # epochs up to which each is marked
_HELD = {"mAP": "val/mAP", "AUROC": "val/AUROC", "CF1 at 0.5": "val/CF1"}  # validation figures in one chart
_DIAGONAL = (0, 0, 1, 1)


def ranking_charts(test_set: TestSet) -> list[Markup]:
    """Precision-recall and ROC curves of every class that has both a positive and a negative, eight in a chart."""
    pairs = []
    for at, name in enumerate(test_set.tested.class_names):
        own = curves(test_set.scores[:, at], test_set.labels[:, at])
        if own is None:
            continue
        threshold = float(test_set.thresholds[at])
        # Steps at which a positive is found; the precision there holds back to the step before, so that the area
        # below is the average precision.
        gains = np.flatnonzero(np.diff(own.recall, prepend=0))
        recall = np.repeat(np.concatenate([[0.0], own.recall[gains]]), 2)[1:-1]
        marks = _marks(own, own.recall, own.precision, threshold)
        share = float((test_set.labels[:, at] == 1).sum() / (test_set.labels[:, at] >= 0).sum())
        heights = np.repeat(own.precision[gains], 2)
        ranked = Line(_named(test_set, name, "AP"), recall, heights, marks, at, share)
        x, y = (np.concatenate([[0.0], values]) for values in (own.alarms, own.recall))
        marks = _marks(own, own.alarms, own.recall, threshold)
        pairs.append((ranked, Line(_named(test_set, name, "AUROC"), x, y, marks, at)))
    parts = []
    note = "Ring: threshold 0.5; dot: the model's own. Dotted: chance"
    for some in _eights(pairs):
        precision_recall, roc = zip(*some, strict=True)
        caption = f"{note} (share of positives). Beside the name: AP."
        parts.append(chart(precision_recall, "recall", "precision", "Precision and recall", caption=caption))
        caption = f"{note}. Beside the name: AUROC."
        parts.append(chart(roc, "1 - specificity", "sensitivity", "ROC", guide=_DIAGONAL, caption=caption))
    return parts


def _named(test_set: TestSet, name: str, figure: str) -> str:
    """A class and its figure, for the legend."""
    value = test_set.figures.get("per_class", {}).get(name, {}).get(figure)
    return name if value is None else f"{name} {value:.3f}"


def _marks(own: Curves, x: Floats, y: Floats, threshold: float) -> list[Mark]:
    """Where on a curve the threshold 0.5 and the tuned one are, unless nothing is above them."""
    marks = []
    for value, radius, hollow in ((0.5, 4.5, True), (threshold, 3.5, False)):
        above = int((own.thresholds > value).sum())
        if above:
            marks.append((float(x[above - 1]), float(y[above - 1]), radius, hollow))
    return marks


def reliability_charts(test_set: TestSet) -> list[Markup]:
    """The reliability diagram of all classes together, and those of the single classes."""
    found = reliability_curves(test_set.scores, test_set.labels, test_set.tested.class_names)
    counts = np.array(found["curve"]["count"])
    axes = "mean probability", "share of positives"
    parts = [
        chart(
            [_reliability("", found["curve"], 6)], *axes, "All classes together", guide=_DIAGONAL,
            bars=(0.25 * counts / max(counts.max(), 1)).tolist(),
            caption="Dotted: probabilities that are right. Bars and dots: how many labels lie in a bin.",
        )
    ]  # fmt: skip
    numbers = {name: at for at, name in enumerate(test_set.tested.class_names)}
    lines = [
        _reliability(_named(test_set, name, "ECE"), curve)._replace(colour=numbers[name])
        for name, curve in found["per_class"].items()
    ]
    for some in _eights(lines):
        caption = "Dotted: probabilities that are right. Beside the name the calibration error (ECE)."
        parts.append(chart(some, *axes, "Each class", guide=_DIAGONAL, caption=caption))
    return parts


def _reliability(name: str, curve: Mapping[str, Any], growth: float = 0) -> Line:
    """A reliability curve; its dots grow with the number of labels in their bin."""
    x, y, counts = (np.array(curve[key], dtype=np.float64) for key in ("probability", "frequency", "count"))
    known = np.isfinite(x)
    x, y, sizes = x[known], y[known], 2.5 + growth * np.sqrt(counts[known] / max(counts.sum(), 1))
    return Line(name, x, y, [(*point, False) for point in zip(x, y, sizes, strict=True)])


def training_charts(history: Mapping[str, Curve], class_names: Sequence[str]) -> list[Markup]:
    """Losses and validation figures by epoch; none where there is no `metrics.csv`."""
    own = "train/classification" if "train/classification" in history else "train/loss_epoch"
    losses = {"training": own, "validation": "val/loss"}  # of the classification both; what the head adds stands below
    terms = {name.removeprefix("train/"): name for name in history if name.startswith("train/")}
    groups: tuple[tuple[str, str, dict[str, str], bool], ...] = (
        ("Classification loss", "loss", losses, False),
        ("Validation", "figure", _HELD, True),
        ("Validation, average precision of each class", "AP",
         {name: f"val_AP/{name}" for name in class_names}, True),
        ("What the head adds to the training loss", "weighted loss",
         {name: key for name, key in terms.items() if not name.startswith("loss") and key != own}, False),
    )  # fmt: skip
    numbers = {f"val_AP/{name}": at for at, name in enumerate(class_names)}
    return [
        _by_epoch(some, label, title, fraction)
        for title, label, keys, fraction in groups
        for some in _eights([_of(name, history[key], numbers.get(key)) for name, key in keys.items() if key in history])
    ]


def _of(name: str, curve: Curve, colour: int | None) -> Line:
    """A line by epoch, counted from 1 as on the screen."""
    return Line(name, curve[0] + 1, curve[1], (), colour)


def _by_epoch(lines: Sequence[Line], label: str, title: str, fraction: bool) -> Markup:
    epochs, values = (np.concatenate(part) for part in list(zip(*lines, strict=True))[1:3])
    values = values[np.isfinite(values)]
    top, first, last = values.max(initial=0), float(epochs.min()), float(epochs.max())
    marked = [
        line._replace(marks=[(x, y, 2.5, False) for x, y in zip(line.x, line.y, strict=True) if np.isfinite(y)])
        if len(line.x) <= _POINTS
        else line
        for line in lines
    ]
    return chart(
        marked, "epoch", label, title, height=260, whole=True,
        x_range=(first, last) if last > first else (first - 0.5, last + 0.5),
        y_range=(0, 1) if fraction else (float(values.min(initial=0)), float(top) * 1.05 or 1.0),
    )  # fmt: skip


def _eights(lines: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """As many at a time as there are colours."""
    for first in range(0, len(lines), COLOURS):
        yield lines[first : first + COLOURS]
