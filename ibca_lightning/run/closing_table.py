"""The closing tables: figures a person can read."""

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from ibca_lightning.metrics.decision import FEW
from ibca_lightning.metrics.evaluation import Evaluation
from ibca_lightning.system.output import plain, write_out
from ibca_lightning.system.terminal_table import terminal_table

_HEADLINE = ("mAP", "AUROC", "CP", "CR", "CF1", "OP", "OR", "OF1", "ECE", "class_ECE")
_LOCALISATION = ("attention_energy", "attention_gain", "pointing_game", "pixel_AP", "spurious_energy", "noise_energy")


def evaluation_table(evaluations: Mapping[str, Evaluation], run_dir: str | None) -> None:
    """Print the figures of every evaluated set, every class of the first, and where the files lie, if any."""
    console = Console(highlight=False, markup=False)
    shown = list(evaluations.values())
    console.print("Figures at threshold 0.5, and at the thresholds chosen on the validation set (tuned)")
    names = [n for n in (*_HEADLINE, *_LOCALISATION) if any(n in e.figures["metrics"] for e in shown)]
    columns = [c for e in shown for c in (e.name, "tuned" if len(shown) == 1 else f"{e.name}, tuned")]
    kinds = [e.figures[kind] for e in shown for kind in ("metrics", "tuned")]
    rows = [["figure", *columns], *([name, *(_text(figures.get(name, "")) for figures in kinds)] for name in names)]
    write_out(terminal_table(rows, "test_metrics.*.json"))
    first = shown[0]
    console.print(f"Classes of {first.name}")
    write_out(terminal_table(_class_rows(first), "test_metrics.json"))
    rare = [name for name, own in first.figures["thresholds"].items() if own["few"]]
    if rare:
        said = f"thresholds that rest on fewer than {FEW} positives of the validation set: {', '.join(rare)}"
        console.print(plain(said))
    if run_dir is not None:
        console.print(f"{first.figures['samples']} pictures; wrote {os.path.join(run_dir, 'test_metrics.json')}")


def fit_table(evaluation: Evaluation | None, checkpoints: Sequence[Any], run_dir: str) -> None:
    """Print the last validation, the best one's score and how to test it."""
    console = Console(highlight=False, markup=False)
    if evaluation is not None:
        console.print(f"Last validation: mAP {_text(evaluation.figures['metrics']['mAP'])}")
        write_out(terminal_table(_class_rows(evaluation), "metrics.csv"))
    for checkpoint in checkpoints:
        if getattr(checkpoint, "monitor", None) and checkpoint.best_model_score is not None:
            score = float(checkpoint.best_model_score)
            console.print(f"best validation score {score:.4f}: {checkpoint.best_model_path}")
    config = os.path.join(run_dir, "config.yaml")
    best, last = (os.path.join(run_dir, "checkpoints", f"{name}.ckpt") for name in ("best", "last"))
    if not os.path.isfile(best) and os.path.isfile(last):
        why = "nothing was validated" if evaluation is None else "no validation had a mAP"
        console.print(f"no best.ckpt, because {why}; the weights of the end: {last}", soft_wrap=True)
        best = last
    if os.path.isfile(config) and os.path.isfile(best):  # not after a trial run
        command = f"ibca test --config {shlex.quote(config)} --ckpt_path {shlex.quote(best)}"
        console.print(f"test it: {command}", soft_wrap=True, highlight=False)


def _class_rows(evaluation: Evaluation) -> list[list[str]]:
    columns = ("positives", "AP", "AUROC", "precision", "recall", "F1")
    tuned = evaluation.figures["tuned_per_class"]
    rows = [["class", *columns, *(("threshold", "tuned F1") if tuned else ())]]
    for name, figures in evaluation.figures["per_class"].items():
        cells = [figures.get(column) for column in columns]
        if tuned:
            cells += [evaluation.figures["thresholds"][name]["threshold"], tuned[name].get("F1")]
        rows.append([name, *map(_text, cells)])
    return rows


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
