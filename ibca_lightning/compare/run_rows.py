"""One row a run and test set: reading what `ibca test` wrote, the tables and the CSV of it."""

import csv
import json
import reprlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from ibca_lightning.run.run_settings import read_settings
from ibca_lightning.run.tested_figures import CLASS_AP, class_precisions, figure_files, first_training, read_figures
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.output import bounds, write_err
from ibca_lightning.system.strangers import csv_rows

_DECIDED = ("CP", "CR", "CF1", "OP", "OR", "OF1", "sensitivity", "specificity")  # at 0.5; `tuned_CF1` is not
_FAITHFULNESS = ("deletion", "insertion", "deletion_gain", "insertion_gain")  # of faithfulness.json, where it is there


class Row(NamedTuple):
    """One test set of one run: its figures and their intervals by name, `AP/<class>` where it was asked for, too.

    `method` is what the run's configuration says without its seeds: equal for runs that differ in these alone. `seed`
    is `seed_everything`, None where it is not known, `repetition` that and `split_seed`. `pictures` tells sets of test
    pictures apart; it is blank where the predictions are gone. `folds` has the mean of the single folds of a
    cross-validation, and their deviation.
    """

    run: Path
    test_set: str
    method: str
    repetition: tuple[int | None, str | None]
    pictures: str
    figures: dict[str, float | None]
    intervals: dict[str, list[float] | None]
    folds: Mapping[str, tuple[float, float | None]]

    @property
    def seed(self) -> int | None:
        """The first of `repetition`."""
        return self.repetition[0]


def read_run(run: Path, per_class: bool) -> list[Row]:
    """The test sets of one run.

    Raises:
        InputError: When it was not tested, or a file cannot be read.
    """
    rows, (method, repetition) = [], method_and_repetition(run)
    faithful = read_figures(run / "faithfulness.json", "faithfulness") if (run / "faithfulness.json").is_file() else {}
    for test_set, file in figure_files(run).items():
        content = read_figures(file, "test")
        figures, intervals = dict(content["metrics"]), dict(content.get("intervals", {}))
        if per_class:
            precisions, their_intervals = class_precisions(content, file)
            figures, intervals = figures | precisions, intervals | their_intervals
        figures |= {f"tuned_{name}": value for name, value in content.get("tuned", {}).items()}
        intervals |= {f"tuned_{name}": ends for name, ends in content.get("tuned_intervals", {}).items()}
        if faithful.get("test_set") == test_set:
            for name in (n for n in _FAITHFULNESS if n in faithful["metrics"]):
                figures[name], intervals[name] = faithful["metrics"][name], faithful.get("intervals", {}).get(name)
        predictions = file.with_name(file.name.replace("_metrics", "_predictions", 1)).with_suffix(".csv")
        pictures = _pictures(predictions)
        rows.append(Row(run, test_set, method, repetition, pictures, figures, intervals, _folds(content, file)))
    return rows


def _pictures(predictions: Path) -> str:
    """A digest of the ids in the first column, in any order; of what cannot be read somebody else complains."""
    ids: list[str] = []
    if not predictions.is_file():
        return ""
    with suppress(csv.Error):
        ids += sorted(row[0] for row in csv_rows(predictions, "replace") if row)
    return blake2b("\n".join(ids).encode()).hexdigest()


def _folds(content: Mapping[str, Any], file: Path) -> dict[str, tuple[float, float | None]]:
    """What `ibca sweep --folds` says of the single folds; empty of any other run."""
    found: dict[str, tuple[float, float | None]] = {}
    for name, own in content.get("folds", {}).items():
        mean, sd = own.get("mean"), own.get("sd")
        if not isinstance(mean, float | None) or not isinstance(sd, float | None):
            expected = f"mean and sd of each figure under folds in {file}"
            raise InputError(expected, f"{reprlib.repr(own)} of {name}", "run ibca sweep again")
        if mean is not None:
            found[name] = (mean, sd)
    return found


def without_terms(method: str) -> tuple[str, bool]:
    """What a run's configuration says but for its training terms and what the data give for them; whether it has any.

    Args:
        method: As `Row` has it.
    """
    try:
        config = json.loads(method)
    except ValueError:  # the name of a run that says nothing of itself
        return method, False
    found: dict[str, Any] = {}
    for part, names in (("model", ("terms",)), ("data", ("train_masks", "mask_dir", "missing_masks", "drawn_noise"))):
        given = config[part].get("init_args") if isinstance(config.get(part), dict) else None
        found |= {name: given.pop(name, None) for name in names} if isinstance(given, dict) else {}
    return json.dumps(config, sort_keys=True), bool(found.get("terms"))


def title(figure: str) -> str:
    """What a column is called for people: a figure that rests on decisions at 0.5 says so."""
    return f"{figure} at 0.5" if figure in _DECIDED else figure


def one_a_seed(rows: Sequence[Row]) -> list[Row]:
    """The first run of each seed of one method: another one of that seed is no other training. Unknown seeds differ."""
    first: dict[Any, Row] = {}
    for row in rows:
        first.setdefault(row.run if row.seed is None else row.repetition, row)
    return [*first.values()]


def table_rows(rows: list[Row], names: list[str] | None = None) -> list[list[str]]:
    """A table for people: each run with its intervals, and behind the seeds of one method their mean and deviation.

    `names` are the figures to show; None shows all.

    Raises:
        InputError: When no run has a figure of that name.
    """
    known = list(dict.fromkeys(name for row in rows for name in row.figures))
    for name in names or []:
        if name not in known:
            of_class = name.startswith(CLASS_AP) and not any(own.startswith(CLASS_AP) for own in known)
            to_do = "add --per_class" if of_class else "correct --figures"
            raise InputError(f"a figure of the runs ({', '.join(known)})", name, to_do)
    shown = names or known
    lines = [["run", "set", *map(title, shown)]]
    for (_, test_set, _), group in by_method(rows).items():
        for row in group:
            cells = [_with_interval(row.figures.get(name), row.intervals.get(name)) for name in shown]
            lines.append([str(row.run), test_set, *cells])
            if row.folds:
                lines.append(
                    ["**mean ± sd of its folds**", test_set, *(_spread(row.folds.get(name)) for name in shown)]
                )
        if len(first := one_a_seed(group)) > 1:
            cells = [_mean([row.figures.get(name) for row in first]) for name in shown]
            seeds = f"{len(first)} seeds" + (", the first run of each" if len(first) < len(group) else "")
            lines.append([f"**mean ± sd of these {seeds}**", test_set, *cells])
    return lines


def table(rows: list[Row]) -> Iterator[list[Any]]:
    """Rows of the CSV: one a run and test set, every figure with the ends of its interval, exact.

    Where there are cross-validations, mean and deviation of the single folds stand behind.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    folds = any(row.folds for row in rows)
    parts = ("", "_low", "_high", *(("_folds_mean", "_folds_sd") if folds else ()))
    yield ["run", "set", *(f"{name}{part}" for name in names for part in parts)]
    for row in rows:
        cells: list[Any] = []
        for name in names:
            cells += [row.figures.get(name), *(row.intervals.get(name) or (None, None))]
            cells += row.folds.get(name, (None, None)) if folds else ()
        yield [str(row.run), row.test_set, *cells]


def by_method(rows: list[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """The rows of each method on each test set, apart where the pictures are others: no mean is over those."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.method, row.test_set, row.pictures), []).append(row)
    return groups


def method_and_repetition(run: Path) -> tuple[str, tuple[int | None, str | None]]:
    """What a run's configuration says without its seeds, as text, and these; each None where it has none."""
    try:
        config = read_settings(first_training(run))
    except InputError as error:
        write_err(f"note: {run / 'config.yaml'} says nothing of the run, which stands alone: {error.got}\n")
        config = {}
    if not config:  # or it was tested into a folder of its own
        return str(run), (None, None)
    seed, draw, data = config.pop("seed_everything", None), None, config.get("data")
    if isinstance(data, dict) and isinstance(data.get("init_args"), dict):
        # Another draw of the split is another repetition, as another seed is, where the test pictures stay the same.
        draw = data["init_args"].pop("split_seed", None)
        if first_training(run) is not run:  # a cross-validation has all of them, and is no other method for the first
            data["init_args"].pop("fold", None)
    config = json.loads(json.dumps(config))  # of keys that are numbers and text, text alone, which has an order
    return json.dumps(config, sort_keys=True), (seed if type(seed) is int else None, json.dumps(draw))


def _with_interval(value: float | None, interval: list[float] | None) -> str:
    return "-" if value is None else f"{value:.4f}{bounds(interval)}"


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return "-"
    return f"**{statistics.mean(known):.4f} ± {statistics.stdev(known):.4f}**"


def _spread(folds: tuple[float, float | None] | None) -> str:
    if folds is None:
        return "-"
    return f"**{folds[0]:.4f}" + (f" ± {folds[1]:.4f}**" if folds[1] is not None else "**")
