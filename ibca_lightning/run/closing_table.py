"""The closing tables: figures a person can read."""

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ibca_lightning.metrics.decision import FEW
from ibca_lightning.metrics.evaluation import Evaluation

_HEADLINE = ("mAP", "AUROC", "CP", "CR", "CF1", "OP", "OR", "OF1", "ECE", "class_ECE")
_LOCALISATION = ("attention_energy", "attention_gain", "pointing_game", "pixel_AP", "spurious_energy", "noise_energy")


def evaluation_table(evaluations: Mapping[str, Evaluation], run_dir: str | None) -> None:
    """Print the figures of every evaluated set, and of every class of the first.

    Args:
        evaluations: By name.
        run_dir: Where the files lie, for the last line; None where none were written.
    """
    console = Console(highlight=False)
    shown = list(evaluations.values())
    console.print("Figures at threshold 0.5, and at the thresholds chosen on the validation set (tuned)")
    table = Table()
    table.add_column("figure")
    for evaluation in shown:
        table.add_column(evaluation.name, justify="right")
        table.add_column("tuned", justify="right")
    names = [n for n in (*_HEADLINE, *_LOCALISATION) if any(n in e.figures["metrics"] for e in shown)]
    for name in names:
        cells = [e.figures[kind].get(name, "") for e in shown for kind in ("metrics", "tuned")]
        table.add_row(name, *map(_text, cells))
    console.print(table)
    first = shown[0]
    console.print(f"Classes of {first.name}")
    console.print(_class_table(first))
    rare = [name for name, own in first.figures["thresholds"].items() if own["few"]]
    if rare:
        console.print(f"thresholds that rest on fewer than {FEW} positives of the validation set: {', '.join(rare)}")
    if run_dir is not None:
        console.print(f"{first.figures['samples']} pictures; wrote {os.path.join(run_dir, 'test_metrics.json')}")


def fit_table(evaluation: Evaluation | None, checkpoints: Sequence[Any], run_dir: str) -> None:
    """Print the last validation, the best one's score and how to test it."""
    console = Console(highlight=False)
    if evaluation is not None:
        console.print(f"Last validation: mAP {_text(evaluation.figures['metrics']['mAP'])}")
        console.print(_class_table(evaluation))
    for checkpoint in checkpoints:
        if getattr(checkpoint, "monitor", None) and checkpoint.best_model_score is not None:
            console.print(
                f"best validation score {float(checkpoint.best_model_score):.4f}: {checkpoint.best_model_path}"
            )
    config, best = os.path.join(run_dir, "config.yaml"), os.path.join(run_dir, "checkpoints", "best.ckpt")
    if os.path.isfile(config) and os.path.isfile(best):  # not after a trial run, or one without validation
        command = f"ibca test --config {shlex.quote(config)} --ckpt_path {shlex.quote(best)}"
        console.print(f"test it: {command}", soft_wrap=True, highlight=False)


def _class_table(evaluation: Evaluation) -> Table:
    # Narrow enough for 80 columns: names and figures whole, headers folded if need be. The files hold the rest.
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)  # the box has a space between columns
    table.add_column("class", no_wrap=True, min_width=8)
    columns = ("positives", "AP", "AUROC", "precision", "recall", "F1")
    tuned = evaluation.figures["tuned_per_class"]
    for column in (*columns, *(("threshold", "tuned F1") if tuned else ())):
        table.add_column(column, justify="right", min_width=6, overflow="fold")
    for name, figures in evaluation.figures["per_class"].items():
        cells = [figures.get(column) for column in columns]
        if tuned:
            cells += [evaluation.figures["thresholds"][name]["threshold"], tuned[name].get("F1")]
        table.add_row(name, *map(_text, cells))
    return table


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
