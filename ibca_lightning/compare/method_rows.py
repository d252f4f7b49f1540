"""One row a method: mean and deviation over seeds, and how sure the difference to another method is.

The interval of a difference holds the scatter of a paired bootstrap, which draws the same groups (photographs) for both
methods, and that between training seeds, paired where both have the same. Of one seed nothing is known of it.
"""

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ibca_lightning.compare.run_rows import title
from ibca_lightning.run.run_settings import read_settings
from ibca_lightning.run.tested_figures import CLASS_AP, OUT_OF_FOLD, figure_files, read_figures
from ibca_lightning.system.errors import InputError, doubled

RESAMPLES = 1000
DROP = "mAP_drop"
NO_TERMS = "no_terms"
DIFFERENCE, COSTS = ": difference [95 %]", ("head parameters", "head ms/picture")  # columns
_LESS_IS_BETTER = ("spurious_energy", "noise_energy", "other_energy", "deletion", "ECE", "class_ECE", DROP)


class Difference(NamedTuple):
    """Of the means over seeds of one figure, to another method; no interval where it is undefined in every resample."""

    reference: str
    value: float
    interval: list[float] | None


@dataclass
class Method:
    """One method on one test set: a run, a seed where it is known, and a value of each figure, for each training.

    `pictures` tells sets of test pictures apart.
    `differences` are by figure, to the reference in that figure; `cost` the head's parameters and CPU milliseconds.
    `plain` is its configuration without training terms, and `terms` whether it has any.
    """

    name: str
    test_set: str
    runs: list[Path]
    seeds: list[int | None]
    figures: dict[str, list[float | None]]
    pictures: str
    differences: dict[str, Difference] = field(default_factory=dict)
    cost: tuple[int, float] | None = None
    plain: str = ""
    terms: bool = False

    def mean(self, figure: str) -> float | None:
        """Over the seeds in which the figure is defined; None where there is none."""
        known = self._known(figure)
        return statistics.fmean(known) if known else None

    def deviation(self, figure: str) -> float | None:
        """Standard deviation over seeds (n - 1); None with fewer than two."""
        known = self._known(figure)
        return statistics.stdev(known) if len(known) > 1 else None

    def _known(self, figure: str) -> list[float]:
        return [value for value in self.figures.get(figure, []) if value is not None]


def add_drops(methods: Sequence[Method]) -> None:
    """Add, on each set but a method's first, what its mAP there is lower than on the first, seed by seed."""
    first: dict[Path, tuple[Method, float | None]] = {}
    for method in methods:
        own = method.figures.get("mAP", [None] * len(method.runs))
        starts = [first.setdefault(run, (method, value)) for run, value in zip(method.runs, own, strict=True)]
        if all(start is not method and OUT_OF_FOLD not in (start.test_set, method.test_set) for start, _ in starts):
            pairs = zip((value for _, value in starts), own, strict=True)
            method.figures[DROP] = [a - b if a is not None and b is not None else None for a, b in pairs]


def add_samples(
    methods: Sequence[Method], reference: str | None, without: Sequence[str], *, per_class: bool = False
) -> int:
    """Add what needs the predictions: mAP without some classes, and differences to a reference with their intervals.

    Args:
        methods: All on one test set; changed in place.
        reference: Name of a method, None for no differences, or `best`: in each figure the other one that is best in
            its mean over seeds, the lowest where less is better. `no_terms`: for each method with training terms the
            same one without.
        without: Classes to leave out of a further mAP.
        per_class: Whether the differences are also of the AP of each class.

    Returns:
        The number of groups that were resampled.

    Raises:
        InputError: Predictions are missing or not of the same pictures, or there is no such method or class.
    """
    from ibca_lightning.metrics.multilabel import figures
    from ibca_lightning.metrics.resampling.resamples import resampled_figures
    from ibca_lightning.metrics.resampling.thirds import named_thirds
    from ibca_lightning.run.tested_samples import read_tested

    left_out = "mAP\\" + ",".join(without)
    first: Any = None
    drawn: dict[str, list[Mapping[str, Any]]] = {}
    for method in methods:
        for run in method.runs:
            tested = read_tested(run, method.test_set)
            first = first or tested
            for what in ("class_names", "ids", "groups", "labels"):
                if not np.array_equal(getattr(first, what), getattr(tested, what)):
                    same = f"the same {what.replace('_', ' ')} in the tests of {methods[0].runs[0]} and {run}"
                    raise InputError(same, "others", "test both on one set")
            part = tested.without(without) if without else None
            if part is not None:
                value = figures(part.probabilities, part.labels, part.class_names)["metrics"]["mAP"]
                method.figures.setdefault(left_out, []).append(value)
            if reference is None:
                continue
            content = read_figures(figure_files(run)[method.test_set], "test")
            values = resampled_figures(
                tested.probabilities, tested.labels, tested.groups, RESAMPLES, pairs=tested.pairs or None,
                parts=named_thirds(content, tested.class_names),
                class_figures=[CLASS_AP + name for name in tested.class_names] if per_class else None,
            )  # fmt: skip
            if part is not None:
                again = resampled_figures(part.probabilities, part.labels, part.groups, RESAMPLES)
                values[left_out] = again["mAP"]
            drawn.setdefault(method.name, []).append(values)
    if reference is not None:
        _refuse_unknown(methods, reference)
        for method in methods:
            _add_differences(method, methods, reference, drawn)
    return len(set(first.groups))


def add_costs(methods: Sequence[Method]) -> None:
    """Add the parameters and the CPU time of the heads, once for equal runs on several test sets; a probe has none."""
    from ibca_lightning.compare.head_cost import head_costs

    costs = head_costs(run for method in methods if "probe" not in read_settings(run := method.runs[0]))
    for method in methods:
        method.cost = costs.get(method.runs[0])


def shown_figures(methods: Sequence[Method], shown: Sequence[str] | None) -> list[str]:
    """The figures of a table: those `shown`, all where that is None, and what was computed since."""
    known = dict.fromkeys(name for method in methods for name in method.figures)
    # What was computed because it was asked for, or because there are several sets, is not in any run's figures.
    return [n for n in known if shown is None or n in shown or n == DROP or n.startswith("mAP\\")]


def table_rows(methods: Sequence[Method], shown: Sequence[str] | None, compared: Sequence[str]) -> list[list[str]]:
    """The table of one test set for people, its header first; the best mean of each figure is bold.

    It has the figures `shown`, all where that is None, and the differences of those `compared`.
    """
    names = shown_figures(methods, shown)
    compared = [name for name in compared if any(name in method.differences for method in methods)]
    differences = [f"{title(name)}{DIFFERENCE}" for name in compared]
    costs = COSTS if any(method.cost for method in methods) else ()
    rows = [[methods[0].test_set, "seeds", *map(title, names), *differences, *costs]]
    best = {name: _best(methods, name) for name in names}
    for method in methods:
        cells = [method.name, str(len(method.runs))]
        for name in names:
            mean, deviation = method.mean(name), method.deviation(name)
            text = "-" if mean is None else f"{mean:.4f}" + (f" ± {deviation:.4f}" if deviation is not None else "")
            cells.append(f"**{text}**" if mean is not None and mean == best[name] and len(methods) > 1 else text)
        cells += [_difference(method.differences.get(name)) for name in compared]
        if costs:
            cells += [f"{method.cost[0]:,}", f"{method.cost[1]:.3f}"] if method.cost else ["-", "-"]
        rows.append(cells)
    return rows


def _difference(found: Difference | None) -> str:
    if found is None:
        return "-"
    ends = f" [{found.interval[0]:+.4f}, {found.interval[1]:+.4f}]" if found.interval else ""
    return f"{found.value:+.4f}{ends} to {found.reference}"


def note(methods: Sequence[Method], groups: int) -> str:
    """What the differences are, or why there can be none, in a line; or nothing. `groups`: that were resampled."""
    if len({method.pictures for method in methods}) > 1:
        return "Not all of these are known to be tested on the same pictures: a higher figure says nothing.\n"
    if not any(method.differences for method in methods):
        return ""
    single = [method.name for method in methods if len(method.runs) == 1]
    without = f"; with one seed, the scatter between seeds is not in it: {', '.join(single)}" if single else ""
    return (
        f"Difference to the method named, with the scatter of a paired bootstrap over {groups} groups, {RESAMPLES} "
        f"resamples, and of the training seeds{without}.\n"
    )


def markdown(rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """A Markdown table: the header first, of each row the first `names` cells to the left."""
    # Folders and classes may be called anything.
    cells = [[" ".join(cell.split()).replace("|", r"\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    lines.insert(1, "|---" * names + "|" + "---:|" * (len(rows[0]) - names))
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
        found = method.differences
        references = [found[name].reference if name in found else None for name in names]
        of_map = found["mAP"].reference if "mAP" in found else None
        cells: list[Any] = [method.name, method.test_set, len(method.runs), of_map, *(method.cost or (None, None))]
        for name in names:
            _, value, interval = found.get(name, (None, None, None))
            cells += [method.mean(name), method.deviation(name), value, *(interval or (None, None))]
        yield [*cells, *references]


def less_is_better(figure: str) -> bool:
    """Whether a figure is an error; a class may be called like one, but its AP is better the higher it is."""
    return figure.endswith(_LESS_IS_BETTER) and not figure.startswith(CLASS_AP)


def method_name(runs: Sequence[Path], seeds: Sequence[int | None]) -> str:
    """What to call the runs of one method: the first one's folder, without its seed."""
    name = runs[0].resolve().name
    return re.sub(rf"[-_]{seeds[0]}$", "", name) if seeds[0] is not None else name


def _refuse_unknown(methods: Sequence[Method], reference: str) -> None:
    names = [method.name for method in methods]
    if reference not in ("best", NO_TERMS, *names):
        raise InputError(f"--reference best, {NO_TERMS} or one of {', '.join(names)}", reference, "correct it")
    if reference == NO_TERMS and not any(_may_be_reference(one, two, reference) for one in methods for two in methods):
        fix = "give runs that differ in model.terms alone, such as two of ibca sweep --variants"
        raise InputError(f"a method with training terms and the same without, for --reference {NO_TERMS}", "none", fix)
    if twice := doubled(names):
        raise InputError(
            "methods whose run folders have names of their own", f"{twice[0]} twice", "rename a run folder"
        )


def _add_differences(
    method: Method, methods: Sequence[Method], reference: str, drawn: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    from ibca_lightning.metrics.resampling.paired import paired_intervals

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
    others = [other for other in methods if _may_be_reference(method, other, reference)]
    best = _best(others, figure)
    return next((other for other in others if best is not None and other.mean(figure) == best), None)


def _may_be_reference(method: Method, other: Method, reference: str) -> bool:
    if reference == NO_TERMS:
        return method.terms and not other.terms and method.plain == other.plain
    return other is not method and reference in ("best", other.name)


def _best(methods: Sequence[Method], name: str) -> float | None:
    means = [mean for method in methods if (mean := method.mean(name)) is not None]
    return (min if less_is_better(name) else max)(means, default=None)
