"""What a test and a prediction leave in a run folder: `test_metrics.json`, `test_predictions.csv` and their kin."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ibca_lightning.metrics.columns import decisions, digits, prediction_columns
from ibca_lightning.metrics.evaluation import Evaluation
from ibca_lightning.system.whole_files import csv_lines, whole_text, write_csv, write_json

_ROWS = 4096  # of predictions that are Python numbers at once


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    suffix: str = "",
    stage: str = "test",
    folds: Sequence[int] | None = None,
) -> None:
    """Write what a test leaves, each file whole or not at all.

    `test_metrics<suffix>.json` and `test_predictions<suffix>.csv`; where pictures belong to groups,
    `test_groups<suffix>.csv` (id, group); where there are masks, `test_localisation<suffix>.csv`: id, class and the
    localisation figures of each pair of a picture and a class that has a lesion in it. Another `stage` stands in place
    of `test`; with `folds`, that of each picture is the last column of the predictions.
    """
    write_json(folder / f"{stage}_metrics{suffix}.json", evaluation.figures)
    write_predictions(
        folder / f"{stage}_predictions{suffix}.csv", evaluation.ids, evaluation.probabilities, evaluation.class_names,
        evaluation.labels, folds=folds,
    )  # fmt: skip
    groups, localisation = folder / f"{stage}_groups{suffix}.csv", folder / f"{stage}_localisation{suffix}.csv"
    if evaluation.groups != evaluation.ids:
        write_csv(groups, [("id", "group"), *zip(evaluation.ids, evaluation.groups, strict=True)])
    else:
        groups.unlink(missing_ok=True)  # of an earlier test on other data
    if evaluation.pairs:
        write_csv(localisation, _pairs(evaluation))
    else:
        localisation.unlink(missing_ok=True)


def write_tests(folder: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write what a test leaves of each set under its name, and of the first under the plain names; one has no other."""
    for number, evaluation in enumerate(evaluations):
        if number == 0:
            write_evaluation(folder, evaluation)
        if len(evaluations) > 1:
            write_evaluation(folder, evaluation, f".{evaluation.name}")


def write_predictions(
    path: Path,
    ids: Sequence[str],
    probabilities: Tensor,
    class_names: Sequence[str],
    labels: Tensor | None = None,
    thresholds: Sequence[float] | None = None,
    folds: Sequence[int] | None = None,
    cell: Callable[[str], str] = str,
) -> None:
    """Write one row a picture: `id`, a probability a class, then what else is given.

    That is `label:<class>` with labels, `decision:<class>` and `threshold:<class>` with thresholds, and `fold` with
    folds. Nine significant digits give back every float32 exactly, so figures recomputed from the file are the same.
    `cell` is what becomes of ids and columns, such as `excel_safe`.
    """
    columns = prediction_columns(class_names, labels is not None, bool(thresholds))
    header = [*map(cell, columns), *(["fold"] if folds else [])]
    written = csv_lines((cell(picture),) for picture in ids)  # numbers need no quotes

    def lines() -> Iterator[str]:
        yield from csv_lines([header])
        for start in range(0, len(ids), _ROWS):  # a Python number takes eight times the memory of one in a tensor
            some = slice(start, start + _ROWS)
            rows = probabilities[some].to(torch.float32).tolist()
            known = labels[some].tolist() if labels is not None else [()] * len(rows)
            for at, (name, row, own) in enumerate(zip(islice(written, len(rows)), rows, known, strict=True), start):
                more = [*(decisions(row, thresholds) if thresholds else []), *([str(folds[at])] if folds else [])]
                yield ",".join((name[:-1], *digits(row), *map(str, own), *more)) + "\n"

    with whole_text(path) as file:
        file.writelines(lines())


def _pairs(evaluation: Evaluation) -> Iterator[list[str]]:
    """One row a pair: every figure as `localisation.pair_figures` defines it; attention_gain is energy over uniform."""
    columns = {name: values.double().tolist() for name, values in evaluation.pairs.items()}
    yield ["id", "class", *columns]
    for i, picture in enumerate(evaluation.ids):
        for c, name in enumerate(evaluation.class_names):
            cells = [values[i][c] for values in columns.values()]
            if not all(map(math.isnan, cells)):
                yield [picture, name, *("" if math.isnan(cell) else f"{cell:.9g}" for cell in cells)]
