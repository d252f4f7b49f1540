"""One row a method: mean and deviation over seeds, and how sure the difference to another method is.

The interval of a difference holds the scatter of a paired bootstrap, which draws the same groups (photographs) for both
methods, and that between training seeds, paired where both have the same. Of one seed nothing is known of it.
"""

import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ibca_lightning.run.tested_figures import CLASS_AP
from ibca_lightning.system.errors import InputError

RESAMPLES = 1000
DROP = "mAP_drop"
_LESS_IS_BETTER = ("spurious_energy", "noise_energy", "other_energy", "deletion", "ECE", "class_ECE", DROP)


@dataclass(frozen=True)
class Difference:
    """Of one figure, to another method.

    Attributes:
        reference: Name of the other method.
        value: Difference of the means over seeds.
        interval: [low, high]; None where it is undefined.
    """

    reference: str
    value: float
    interval: list[float] | None


@dataclass
class Method:
    """One method on one test set.

    Attributes:
        name: For people.
        test_set: `test`, or the name of one of several.
        runs: A run folder a seed.
        seeds: The seed of each run; None where it is not known.
        figures: By name, a value a seed; None where it is undefined.
        differences: By figure, to the reference in that figure.
        parameters: Of the head.
        milliseconds: Of CPU time that the head takes for a picture.
    """

    name: str
    test_set: str
    runs: list[Path]
    seeds: list[int | None]
    figures: dict[str, list[float | None]]
    differences: dict[str, Difference] = field(default_factory=dict)
    parameters: int | None = None
    milliseconds: float | None = None

    def mean(self, figure: str) -> float | None:
        """Over the seeds in which the figure is defined; None where there is none."""
        known = [value for value in self.figures.get(figure, []) if value is not None]
        return statistics.fmean(known) if known else None

    def deviation(self, figure: str) -> float | None:
        """Standard deviation over seeds (n - 1); None with fewer than two."""
        known = [value for value in self.figures.get(figure, []) if value is not None]
        return statistics.stdev(known) if len(known) > 1 else None


def add_drops(methods: Sequence[Method]) -> None:
    """Add, on each set but a method's first, what its mAP there is lower than on the first, seed by seed."""
    first: dict[str, Method] = {}
    for method in methods:
        start = first.setdefault(method.name, method)
        if start is not method and start.runs == method.runs:
            values = zip(start.figures.get("mAP", []), method.figures.get("mAP", []), strict=True)
            method.figures[DROP] = [a - b if a is not None and b is not None else None for a, b in values]


def add_samples(
    methods: Sequence[Method], reference: str | None, without: Sequence[str], *, per_class: bool = False
) -> int:
    """Add what needs the predictions: mAP without some classes, and differences to a reference with their intervals.

    Args:
        methods: All on one test set; changed in place.
        reference: Name of a method, None for no differences, or `best`: in each figure the other one that is best in
            its mean over seeds, the lowest where less is better.
        without: Classes to leave out of a further mAP.
        per_class: Whether the differences are also of the AP of each class.

    Returns:
        The number of groups that were resampled.

    Raises:
        InputError: Predictions are missing or not of the same pictures, or there is no such method or class.
    """
    from ibca_lightning.metrics.multilabel import figures
    from ibca_lightning.metrics.resamples import resampled_figures
    from ibca_lightning.run.tested_samples import Tested, read_tested

    first: tuple[Path, Tested] | None = None
    drawn: dict[str, list[Mapping[str, Any]]] = {}
    for method in methods:
        for run in method.runs:
            tested = read_tested(run, method.test_set)
            first = first or (run, tested)
            _require_same(first[1], tested, first[0], run)
            part = tested.without(without) if without else None
            if part is not None:
                value = figures(part.probabilities, part.labels, part.class_names)["metrics"]["mAP"]
                method.figures.setdefault(_left_out(without), []).append(value)
            if reference is None:
                continue
            class_figures = [CLASS_AP + name for name in tested.class_names] if per_class else None
            values = resampled_figures(
                tested.probabilities, tested.labels, tested.groups, RESAMPLES, pairs=tested.pairs or None,
                class_figures=class_figures,
            )  # fmt: skip
            if part is not None:
                again = resampled_figures(part.probabilities, part.labels, part.groups, RESAMPLES)
                values[_left_out(without)] = again["mAP"]
            drawn.setdefault(method.name, []).append(values)
    if reference is not None:
        _refuse_unknown(methods, reference)
        for method in methods:
            _add_differences(method, methods, reference, drawn)
    return len(set(first[1].groups)) if first else 0


def add_costs(methods: Sequence[Method]) -> None:
    """Add the parameters and the CPU time of the heads, once for equal runs on several test sets.

    Raises:
        InputError: A run has no checkpoint.
    """
    from ibca_lightning.compare.head_cost import head_cost

    shapes: dict[str, tuple[int, int, int]] = {}
    known: dict[Path, tuple[int, float]] = {}
    for method in methods:
        run = method.runs[0]
        if run not in known:
            sys.stderr.write(f"measuring the head of {method.name}\n")
            known[run] = head_cost(run, shapes)
        method.parameters, method.milliseconds = known[run]


def markdown(methods: Sequence[Method], shown: Sequence[str] | None, compared: Sequence[str], groups: int) -> str:
    """The table of one test set.

    Args:
        methods: On that set.
        shown: Figures; None shows all.
        compared: Figures whose differences are shown.
        groups: That were resampled.

    Returns:
        Lines that end with a line break; the best mean of each figure is bold.
    """
    known = list(dict.fromkeys(name for method in methods for name in method.figures))
    # What was computed because it was asked for, or because there are several sets, is not in any run's figures.
    names = [n for n in known if shown is None or n in shown or n == DROP or n.startswith("mAP\\")]
    compared = [name for name in compared if any(name in method.differences for method in methods)]
    cost = any(method.parameters is not None for method in methods)
    columns = [
        "seeds", *map(cell, names), *(f"{cell(name)}: difference [95 %]" for name in compared),
        *(["head parameters", "head ms/picture"] if cost else []),
    ]  # fmt: skip
    lines = [f"| {methods[0].test_set} | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    best = {name: _best(methods, name) for name in names}
    for method in methods:
        cells = [str(len(method.runs))]
        for name in names:
            mean, deviation = method.mean(name), method.deviation(name)
            text = "-" if mean is None else f"{mean:.4f}" + (f" ± {deviation:.4f}" if deviation is not None else "")
            cells.append(f"**{text}**" if mean is not None and mean == best[name] and len(methods) > 1 else text)
        cells += [_difference(method, name) for name in compared]
        if cost:
            cells += [f"{method.parameters:,}", f"{method.milliseconds:.3f}"]
        lines.append(f"| {method.name} | " + " | ".join(cells) + " |")
    if compared:
        note = f"Difference to the method named, with the scatter of a paired bootstrap over {groups} groups, "
        note += f"{RESAMPLES} resamples, and of the training seeds"
        single = [cell(method.name) for method in methods if len(method.runs) == 1]
        without = f"; with one seed, the scatter between seeds is not in it: {', '.join(single)}" if single else ""
        lines += ["", f"{note}{without}."]
    return "\n".join(lines) + "\n"


def table(methods: Sequence[Method]) -> Iterator[list[Any]]:
    """Rows of the CSV: everything, exact; a figure's mean, deviation, difference and its interval.

    Behind all figures stands for each what it was compared with; `reference` is that of mAP.
    """
    names = list(dict.fromkeys(name for method in methods for name in method.figures))
    parts = ("", "_sd", "_difference", "_low", "_high")
    yield [
        "method", "set", "seeds", "reference", "head_parameters", "head_ms",
        *(f"{name}{part}" for name in names for part in parts), *(f"{name}_reference" for name in names),
    ]  # fmt: skip
    for method in methods:
        references = {name: difference.reference for name, difference in method.differences.items()}
        cells: list[Any] = [
            method.name, method.test_set, len(method.runs), references.get("mAP"), method.parameters,
            method.milliseconds,
        ]  # fmt: skip
        for name in names:
            found = method.differences.get(name)
            ends = (found.interval if found else None) or (None, None)
            cells += [method.mean(name), method.deviation(name), found.value if found else None, *ends]
        yield [*cells, *(references.get(name) for name in names)]


def cell(text: str) -> str:
    """A name as it may stand in a cell of a Markdown table: folders and classes may be called anything."""
    return " ".join(text.split()).replace("|", r"\|")


def method_name(runs: Sequence[Path], seeds: Sequence[int | None]) -> str:
    """What to call the runs of one method: the first one's folder, without its seed."""
    name = runs[0].resolve().name
    return re.sub(rf"[-_]{seeds[0]}$", "", name) if seeds[0] is not None else name


def _left_out(classes: Sequence[str]) -> str:
    return "mAP\\" + ",".join(classes)


def _refuse_unknown(methods: Sequence[Method], reference: str) -> None:
    names = [method.name for method in methods]
    if reference != "best" and reference not in names:
        raise InputError(f"--reference best or one of {', '.join(names)}", reference, "correct it")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError("methods whose run folders have names of their own", f"{twice} twice", "rename a run folder")


def _add_differences(
    method: Method, methods: Sequence[Method], reference: str, drawn: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    from ibca_lightning.metrics.paired import paired_intervals

    for name in drawn[method.name][0]:
        known = [other for other in methods if all(name in figures for figures in drawn[other.name])]
        other = _reference(method, known, reference, name)
        ours, theirs = method.mean(name), other.mean(name) if other else None
        if method not in known or other is None or ours is None or theirs is None:
            continue
        first, second = ([{name: figures[name]} for figures in drawn[own.name]] for own in (method, other))
        interval = paired_intervals(first, second, training_seeds=(method.seeds, other.seeds))[name]
        method.differences[name] = Difference(other.name, ours - theirs, interval)


def _reference(method: Method, methods: Sequence[Method], reference: str, figure: str) -> Method | None:
    others = [other for other in methods if other is not method and reference in ("best", other.name)]
    best = _best(others, figure)
    return next((other for other in others if best is not None and other.mean(figure) == best), None)


def _require_same(first: Any, other: Any, one: Path, two: Path) -> None:
    for what in ("class_names", "ids", "groups"):
        if getattr(first, what) != getattr(other, what):
            _differ(what.replace("_", " "), one, two)
    if not bool((first.labels == other.labels).all()):
        _differ("labels", one, two)


def _differ(what: str, one: Path, two: Path) -> NoReturn:
    raise InputError(f"the same {what} in the tests of {one} and {two}", "others", "test both on one set")


def _best(methods: Sequence[Method], name: str) -> float | None:
    means = [mean for method in methods if (mean := method.mean(name)) is not None]
    # A class may end like a figure, but its AP is better the higher it is.
    choose = min if name.endswith(_LESS_IS_BETTER) and not name.startswith(CLASS_AP) else max
    return choose(means, default=None)


def _difference(method: Method, name: str) -> str:
    if name not in method.differences:
        return "-"
    found = method.differences[name]
    ends = f" [{found.interval[0]:+.4f}, {found.interval[1]:+.4f}]" if found.interval else ""
    return f"{found.value:+.4f}{ends} to {found.reference}"
