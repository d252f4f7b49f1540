"""The closing tables: figures a person can read."""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from ibca_lightning.metrics.calibration import calibrated
from ibca_lightning.metrics.decision import FEW, OperatingPoints
from ibca_lightning.metrics.evaluation import Evaluation
from ibca_lightning.metrics.intervals import bootstrap_intervals
from ibca_lightning.metrics.multilabel import chance_precision, figures
from ibca_lightning.system.output import bounds, plain, write_out
from ibca_lightning.system.terminal.table import terminal_table

_HEADLINE = ("AUROC", "CP", "CR", "CF1", "OP", "OR", "OF1", "ECE", "class_ECE")  # behind mAP, which has its own line
_LOCALISATION = ("attention_energy", "attention_gain", "pointing_game", "pixel_AP", "spurious_energy", "noise_energy")
_WANTED = ("positives", "AP", "F1", "precision", "recall")  # of a class, where a screen is narrow
_PAIRS = 10  # of exclusive classes that are named
_LEGEND = (
    "CP, CR: precision and recall, means over classes, and CF1: F1 of these two; OP, OR, OF1: over all decisions; "
    "ECE: error of the probabilities"
)


def evaluation_table(evaluations: Mapping[str, Evaluation], run_dir: str | None) -> None:
    """Print the figures of every set, mAP first, every class of the first, and where the files lie, if any."""
    console = Console(highlight=False, markup=False)
    shown = list(evaluations.values())
    for own in shown:
        console.print(plain(f"{own.name}: {_mean_precision(own.figures)}; {own.figures['samples']} pictures"))
    fixed = _fixed(own["threshold"] for own in shown[0].figures["thresholds"].values())
    whose = "fixed" if fixed else "chosen on the validation set"
    console.print(f"Figures at the model's own thresholds ({whose}), and at 0.5")
    names = [n for n in (*_HEADLINE, *_LOCALISATION) if any(n in e.figures["metrics"] for e in shown)]
    columns = [c for e in shown for c in (e.name, f"{e.name}, at 0.5")]
    columns = ["own thresholds [95 %]", "at 0.5"] if len(shown) == 1 else columns
    rows = [["figure", *columns]]
    for name in names:
        cells = [cell for own in shown for cell in _beside(own.figures, name, intervals=len(shown) == 1)]
        rows.append([name, *cells])
    write_out(terminal_table(rows, "test_metrics.*.json"))
    console.print(_LEGEND)
    for own in shown:
        if thirds := own.figures.get("thirds"):
            means = (f"{name} {_text(own.figures['metrics'][f'mAP_{name}'])}" for name in thirds)
            said = f"mAP of the classes that training has most often, less often and least often: {', '.join(means)}"
            console.print(plain(f"{own.name}: {said}"))
    first = shown[0]
    console.print(f"Classes of {first.name}, at their thresholds")
    write_out(terminal_table(_class_rows(first.figures), "test_metrics.json", wanted=_WANTED))
    rare = [name for name, own in first.figures["thresholds"].items() if own["few"]]
    if rare:
        said = f"thresholds that rest on fewer than {FEW} positives of the validation set: {', '.join(rare)}"
        console.print(plain(said))
    for own in shown:
        for said in _together(own.figures.get("exclusive", {}), own.figures["samples"]):
            console.print(plain(f"{own.name}: {said}"), soft_wrap=True)
    if run_dir is not None:
        console.print(f"wrote {os.path.join(run_dir, 'test_metrics.json')}")


def _fixed(thresholds: Iterable[float]) -> bool:
    """Whether nothing was chosen: the rule `fixed` has 0.5 for every class."""
    return set(thresholds) == {0.5}


def fit_table(
    evaluation: Evaluation | None,
    points: OperatingPoints,
    checkpoints: Sequence[Any],
    run_dir: str,
    is_best: bool = False,
    epochs: tuple[int, int] | None = None,
) -> None:
    """Print a validation at the thresholds that were chosen on it, the best one's score and how to test it.

    Args:
        evaluation: The best validation, whose weights `best.ckpt` holds, or the last one where that is not at hand.
        points: What was chosen on it.
        checkpoints: The callbacks that wrote them.
        run_dir: Where the run lies.
        is_best: Whether it is the best one.
        epochs: That of the best validation, from 1, and how many there were.
    """
    told = "" if epochs is None else f", epoch {epochs[0]} of {epochs[1]}"
    console = Console(highlight=False, markup=False)
    if evaluation is not None:
        given = evaluation.probabilities, evaluation.labels
        intervals = bootstrap_intervals(*given, evaluation.groups)
        if points.calibration is not None:  # the thresholds are those of calibrated probabilities
            given = calibrated(evaluation.probabilities.logit(), points.calibration), evaluation.labels
        own = figures(*given, evaluation.class_names, points.thresholds) | {"intervals": intervals}
        own |= {"thresholds": points.record(evaluation.class_names)}
        tuned, half = _beside(own, "CF1", intervals=False)
        which = f"Best validation{told}" if is_best else "Last validation"
        console.print(f"{which}: {_mean_precision(own)}", soft_wrap=True)
        where = "At the fixed thresholds" if _fixed(points.thresholds) else "At thresholds chosen on it"
        console.print(f"{where}: F1 of the class means (CF1) {tuned}, {half} at 0.5")
        write_out(terminal_table(_class_rows(own), "metrics.csv", wanted=_WANTED))
        pictures, groups = len(evaluation.ids), len(set(evaluation.groups))
        console.print(f"validated on {pictures} pictures" + f" of {groups} groups" * (groups < pictures))
    for checkpoint in checkpoints:
        if getattr(checkpoint, "monitor", None) and checkpoint.best_model_score is not None:
            score = float(checkpoint.best_model_score)
            console.print(f"best validation score {score:.4f}{told}: {checkpoint.best_model_path}", soft_wrap=True)
            if epochs is not None and epochs[0] == 1 < epochs[1]:
                said = "the first epoch was the best: no later one learnt more, or too few are held out to see it"
                console.print(f"note: {said}; look at metrics.csv, and try a lower --model.learning_rate")
    config = os.path.join(run_dir, "config.yaml")
    best, last = (os.path.join(run_dir, "checkpoints", f"{name}.ckpt") for name in ("best", "last"))
    if not os.path.isfile(best) and os.path.isfile(last):
        why = "nothing was validated" if evaluation is None else "no validation had a mAP"
        console.print(f"no best.ckpt, because {why}; the weights of the end: {last}", soft_wrap=True)
        best = last
    if os.path.isfile(config) and os.path.isfile(best):  # not after a trial run
        command = f"ibca test --config {shlex.quote(config)} --ckpt_path {shlex.quote(best)}"
        console.print(f"test it: {command}", soft_wrap=True, highlight=False)


def _mean_precision(found: Mapping[str, Any]) -> str:
    """The mAP with its interval, beside what guessing gives."""
    ends, chance = found["intervals"].get("mAP"), chance_precision(found["per_class"])
    said = f"mAP {_text(found['metrics']['mAP'])}{bounds(ends)}"
    return said if chance is None else f"{said}, {chance:.4f} by chance, over {found['defined_classes']} classes"


def _beside(found: Mapping[str, Any], name: str, intervals: bool) -> tuple[str, str]:
    """A figure at the model's own thresholds and at 0.5; what rests on no decision has one value, in front."""
    values = [(found[kind], f"{prefix}intervals") for kind, prefix in (("tuned", "tuned_"), ("metrics", ""))]
    (first, section), *half = [own for own in values if name in own[0]] or [({name: ""}, "")]
    ends = found.get(section, {}).get(name) if intervals else None
    return _text(first[name]) + bounds(ends), _text(half[0][0][name]) if half else ""


def _together(exclusive: Mapping[str, Any], pictures: int) -> list[str]:
    """Classes that were predicted together and never are, or never were, in a line for either."""
    lines = []
    for certain in (True, False):
        found = [own for own in exclusive.get("found", ()) if own["certain"] == certain]
        pairs = [f"{' and '.join(own['classes'])} in {own['pictures']}" for own in found[:_PAIRS]]
        pairs += [f"{len(found) - _PAIRS} more pairs"] if len(found) > _PAIRS else []
        if found and certain:
            what = f"predicted together in {exclusive['certain']} of {pictures} pictures"
            lines.append(f"{what}, where at least one is wrong, as a picture has one at most: {', '.join(pairs)}")
        elif found:
            what = "predicted together, though no picture of training and test set is labelled so"
            lines.append(f"{what}: {', '.join(pairs)} of {pictures} pictures")
    return lines


def _class_rows(found: Mapping[str, Any]) -> list[list[str]]:
    tuned = found["tuned_per_class"]
    rows = [["class", "positives", "AP", "AUROC", "threshold", "precision", "recall", "F1", "F1 at 0.5"]]
    for name, own in found["per_class"].items():
        at, decided = found["thresholds"][name]["threshold"], tuned[name]
        cells = [own.get(column) for column in ("positives", "AP", "AUROC")]
        cells += [at, *(decided[column] for column in ("precision", "recall", "F1")), own["F1"]]
        rows.append([name, *map(_text, cells)])
    return rows


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
