"""The folds of a cross-validation as one tested run: the parts they held out, and their models together.

The files are those of `ibca test`, so that whatever reads a tested run (`ibca compare`, `ibca report`) reads these.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ibca_lightning.metrics.evaluation import Evaluation
from ibca_lightning.metrics.intervals import every_interval
from ibca_lightning.metrics.localisation import summarise
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.run.result_files import write_evaluation
from ibca_lightning.run.tested_figures import OUT_OF_FOLD, class_precisions, figure_files, read_figures
from ibca_lightning.run.tested_samples import Tested, read_samples, read_tested
from ibca_lightning.system.errors import InputError

_AGAIN = "run the sweep with --again"


def write_pooled(folder: Path, runs: Sequence[Path], tested: bool) -> list[Evaluation]:
    """Write what the folds give together.

    Set `out_of_fold`: every picture of training and validation, by the model that did not learn from it, with the fold
    as the last column of its predictions. Each test set under its own name: the mean of the models' probabilities, as
    `use.ensemble` gives it, and the mean of their thresholds. The figures of each set have intervals over groups, and
    under `folds` for each figure mean, deviation (n - 1) and values of the single folds.

    Args:
        folder: Where to.
        runs: The run folders of the folds in their order, behind `ibca validate` with `best.ckpt`.
        tested: Whether they are behind `ibca test`, too.

    Returns:
        What was written, `out_of_fold` first.

    Raises:
        InputError: The folds have not the classes or test pictures of one another, or two held out one picture.
    """
    held = [read_samples(run, "val") for run in runs]
    fold_of = [fold for fold, part in enumerate(held) for _ in part.ids]
    pooled = _joined(held, runs)
    written = [_evaluation(OUT_OF_FOLD, pooled, [run / "val_metrics.json" for run in runs])]
    write_evaluation(folder, written[0], f".{OUT_OF_FOLD}", folds=fold_of)
    for name in figure_files(runs[0]) if tested else ():
        files = [figure_files(run)[name] for run in runs]
        mean = _mean([read_tested(run, name) for run in runs], runs)
        written.append(_evaluation(name, mean, files, _thresholds(files, mean.class_names)))
        write_evaluation(folder, written[-1], f".{name}")
    return written


def _joined(parts: Sequence[Tested], runs: Sequence[Path]) -> Tested:
    """The held-out parts one behind the other."""
    first, seen = parts[0], dict[str, Path]()
    for part, run in zip(parts, runs, strict=True):
        if part.class_names != first.class_names:
            raise InputError(f"the classes of {runs[0]} in {run}", part.class_names, _AGAIN)
        for picture in part.ids:
            if seen.setdefault(picture, run) is not run:
                what = f"each picture held out by one fold of {run.parent}"
                raise InputError(what, f"{picture} by {seen[picture].name} and {run.name}", _AGAIN)
    shared = [name for name in first.pairs if all(name in part.pairs for part in parts)]
    return Tested(
        [picture for part in parts for picture in part.ids],
        first.class_names,
        torch.cat([part.probabilities for part in parts]),
        torch.cat([part.labels for part in parts]),
        [group for part in parts for group in part.groups],
        {name: torch.cat([part.pairs[name] for part in parts]) for name in shared},
    )


def _mean(parts: Sequence[Tested], runs: Sequence[Path]) -> Tested:
    """One test set, seen by all models; what lies in single maps of attention is not theirs together."""
    first = parts[0]
    for part, run in zip(parts, runs, strict=True):
        same = (part.class_names, part.ids, part.groups) == (first.class_names, first.ids, first.groups)
        if not same or not torch.equal(part.labels, first.labels):
            raise InputError(f"the same test pictures in {runs[0]} and {run}", "others", _AGAIN)
    mean = torch.stack([part.probabilities.double() for part in parts]).mean(dim=0).float()
    return Tested(first.ids, first.class_names, mean, first.labels, first.groups, {})


def _thresholds(files: Sequence[Path], names: Sequence[str]) -> list[float]:
    """For each class the mean of those that the models chose."""
    stored = [read_figures(file, "test").get("thresholds", {}) for file in files]
    for file, own in zip(files, stored, strict=True):
        if lacking := [name for name in names if "threshold" not in own.get(name, {})]:
            raise InputError(f"a threshold of each class in {file}", f"none of {lacking[0]}", _AGAIN)
    return [statistics.fmean(own[name]["threshold"] for own in stored) for name in names]


def _evaluation(name: str, of: Tested, files: Sequence[Path], thresholds: list[float] | None = None) -> Evaluation:
    content = figures(of.probabilities, of.labels, of.class_names, thresholds)
    pairs = of.pairs or None
    content |= every_interval(of.probabilities, of.labels, of.class_names, of.groups, thresholds, pairs=pairs)
    if pairs:
        localisation = summarise(pairs, of.class_names)
        content["metrics"] |= localisation["metrics"]
        for label, values in localisation["per_class"].items():
            content["per_class"][label] |= values
    if thresholds:
        content["thresholds"] = {
            label: {"threshold": value} for label, value in zip(of.class_names, thresholds, strict=True)
        }
    content["folds"] = _single(files)
    return Evaluation(
        name, content, of.ids, of.probabilities, of.labels.to(torch.int8), of.class_names, of.groups, of.pairs
    )


def _single(files: Sequence[Path]) -> dict[str, Mapping[str, Any]]:
    """For each figure its values in the folds, and what is known of them."""
    contents = [read_figures(file, "validate" if file.name.startswith("val") else "test") for file in files]
    rows = [own["metrics"] | class_precisions(own, file)[0] for own, file in zip(contents, files, strict=True)]
    result: dict[str, Mapping[str, Any]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        known = [value for value in values if value is not None]
        mean = statistics.fmean(known) if known else None
        result[name] = {"mean": mean, "sd": statistics.stdev(known) if len(known) > 1 else None, "values": values}
    return result
