"""The charts of a report: precision-recall and ROC curves, reliability, training."""

import numpy as np
from markupsafe import Markup

from ibca_lightning.metrics.curves import Curves, curves
from ibca_lightning.metrics.operating_point import Floats
from ibca_lightning.metrics.reliability import reliability_curves
from ibca_lightning.report.run import Run, TestSet
from ibca_lightning.report.svg_chart import COLOURS, Line, chart

_POINTS = 40  # epochs up to which each is marked
_HELD = ("mAP", "AUROC", "CF1", "OF1")  # validation figures in one chart


def ranking_charts(test_set: TestSet) -> list[Markup]:
    """Precision-recall and ROC curves of every class that has both a positive and a negative, eight in a chart."""
    names, figures = test_set.tested.class_names, test_set.figures.get("per_class", {})
    found = [
        (at, name, own)
        for at, name in enumerate(names)
        if (own := curves(test_set.scores[:, at], test_set.labels[:, at])) is not None
    ]
    parts = []
    note = "Ring: threshold 0.5; dot: tuned threshold. In the legend the area below"
    for first in range(0, len(found), COLOURS):
        precision_recall, roc = [], []
        for at, name, own in found[first : first + COLOURS]:
            ap, area = (figures.get(name, {}).get(figure) for figure in ("AP", "AUROC"))
            threshold = float(test_set.thresholds[at])
            # Steps at which a positive is found; the precision there holds back to the step before, so that the area
            # below is the average precision.
            gains = np.flatnonzero(np.diff(own.recall, prepend=0))
            recall = np.repeat(np.concatenate([[0.0], own.recall[gains]]), 2)[1:-1]
            marks = _marks(own, own.recall, own.precision, threshold)
            precision_recall.append(Line(_named(name, ap), recall, np.repeat(own.precision[gains], 2), marks))
            x, y = (np.concatenate([[0.0], values]) for values in (own.alarms, own.recall))
            roc.append(Line(_named(name, area), x, y, _marks(own, own.alarms, own.recall, threshold)))
        parts.append(chart(precision_recall, "recall", "precision", "Precision and recall", caption=f"{note} (AP)."))
        parts.append(
            chart(roc, "1 - specificity", "sensitivity", "ROC", guide=(0, 0, 1, 1), caption=f"{note} (AUROC).")
        )
    return parts


def _named(name: str, figure: float | None) -> str:
    return name if figure is None else f"{name} {figure:.3f}"


def _marks(own: Curves, x: Floats, y: Floats, threshold: float) -> list[tuple[float, float, float, bool]]:
    """Where on a curve the threshold 0.5 and the tuned one are, unless nothing is above them."""
    marks = []
    for value, radius, hollow in ((0.5, 4.5, True), (threshold, 3.5, False)):
        above = int((own.thresholds > value).sum())
        if above:
            marks.append((float(x[above - 1]), float(y[above - 1]), radius, hollow))
    return marks


def reliability_charts(test_set: TestSet) -> list[Markup]:
    """The reliability diagram of all classes together, and those of the single classes."""
    names = test_set.tested.class_names
    found = reliability_curves(test_set.scores, test_set.labels, names)
    counts = np.array(found["curve"]["count"], dtype=np.float64)
    share = counts / max(counts.sum(), 1)
    x, y = _curve(found["curve"])
    marks = [(a, b, 2.5 + 6 * np.sqrt(part), False) for a, b, part in zip(x, y, share, strict=True) if not np.isnan(a)]
    known = np.isfinite(x)
    parts = [
        chart(
            [Line("", x[known], y[known], marks)], "mean probability", "share of positives", "All classes together",
            guide=(0, 0, 1, 1), bars=(share / max(share.max(), 1e-9) * 0.25).tolist(),
            caption="Dotted: probabilities that are right. Bars and dots: how many labels lie in a bin.",
        )
    ]  # fmt: skip
    for first in range(0, len(names), COLOURS):
        lines = []
        for name in names[first : first + COLOURS]:
            a, b = _curve(found["per_class"][name])
            inside = np.isfinite(a)
            own = [(u, v, 2.5, False) for u, v in zip(a[inside], b[inside], strict=True)]
            ece = test_set.figures.get("per_class", {}).get(name, {}).get("ECE")
            lines.append(Line(_named(name, ece), a[inside], b[inside], own))
        parts.append(
            chart(
                lines, "mean probability", "share of positives", "Each class", guide=(0, 0, 1, 1),
                caption="In the legend the calibration error (ECE).",
            )
        )  # fmt: skip
    return parts


def _curve(curve: dict[str, list[float | None]]) -> tuple[Floats, Floats]:
    x, y = (np.array(curve[name], dtype=np.float64) for name in ("probability", "frequency"))
    return x, y


def training_charts(run: Run) -> list[Markup]:
    """Losses and validation figures by epoch; none where there is no `metrics.csv`."""
    history = run.history
    if not history:
        return []
    keys = {"training": "train/loss_epoch", "validation": "val/loss"}
    losses = {name: history[key] for name, key in keys.items() if key in history}
    held = {name: history[f"val/{name}"] for name in _HELD if f"val/{name}" in history}
    classes = {name.removeprefix("val_AP/"): curve for name, curve in history.items() if name.startswith("val_AP/")}
    parts = [
        *_by_epoch(losses, "loss", "Loss", None),
        *_by_epoch(held, "figure", "Validation", (0, 1)),
    ]
    for first in range(0, len(classes), COLOURS):
        own = dict(list(classes.items())[first : first + COLOURS])
        parts += _by_epoch(own, "AP", "Validation, average precision of each class", (0, 1))
    terms = {
        name.removeprefix("train/"): curve
        for name, curve in history.items()
        if name.startswith("train/") and not name.startswith("train/loss")
    }
    parts += _by_epoch(dict(list(terms.items())[:COLOURS]), "weighted loss", "Terms of the training loss", None)
    return parts


def _by_epoch(
    named: dict[str, tuple[Floats, Floats]], label: str, title: str, y_range: tuple[float, float] | None
) -> list[Markup]:
    if not named:
        return []
    finite = [values[np.isfinite(values)] for _, values in named.values()]
    every = np.concatenate(finite) if any(len(part) for part in finite) else np.zeros(1)
    y_range = y_range or (min(0.0, float(every.min())), float(every.max()) * 1.05 or 1.0)
    epochs = np.concatenate([epochs for epochs, _ in named.values()])
    first, last = float(epochs.min()), float(epochs.max())
    lines = []
    for name, (x, y) in named.items():
        marks = [(a, b, 2.5, False) for a, b in zip(x, y, strict=True) if np.isfinite(b)] if len(x) <= _POINTS else []
        lines.append(Line(name, x, y, marks))
    spread = (first, last) if last > first else (first - 0.5, last + 0.5)
    return [chart(lines, "epoch, from 0", label, title, x_range=spread, y_range=y_range, height=260, whole=True)]
