"""`compare.html`: the methods, their differences and the runs as one file that needs no other, for people."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from ibca_lightning.compare.method_rows import Method, less_is_better, shown_figures
from ibca_lightning.compare.run_rows import Row, title
from ibca_lightning.run.tested_figures import CLASS_AP, OUT_OF_FOLD
from ibca_lightning.system.pages.html_page import document

GENERATOR = "ibca_compare"
_TICKS = 4  # intervals between ticks of an axis, at most


def page(
    methods: Sequence[tuple[Sequence[Method], str]],
    rows: Sequence[Row],
    names: Mapping[str, str],
    shown: Sequence[str] | None,
    compared: Sequence[str],
    reference: str | None,
) -> str:
    """Write the page.

    Args:
        methods: Those of each test set, with what is to be said of their differences.
        rows: The runs.
        names: What to call each run.
        shown: Figures of the tables; None for all.
        compared: Figures whose differences are drawn, where there are some.
        reference: What they are to, as it was asked for.
    """
    sets = [_test_set(own, note, rows, names, shown, compared) for own, note in methods]
    runs = len({row.run for row in rows})
    values = {"sets": sets, "runs": runs, "reference": reference, "out_of_fold": OUT_OF_FOLD}
    return document("compare/page.html.j2", GENERATOR, ["compare/page.css"], **values)


def _test_set(
    methods: Sequence[Method], note: str, rows: Sequence[Row], names: Mapping[str, str],
    shown: Sequence[str] | None, compared: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    own = [row for row in rows if row.test_set == methods[0].test_set]
    classes = [name for name in shown_figures(methods, None) if name.startswith(CLASS_AP)]
    plain = [name for name in shown_figures(methods, shown) if name not in classes or shown is not None]
    differences = [_differences(name, methods) for name in compared]
    return {
        "name": methods[0].test_set, "note": note, "methods": methods, "plain": plain,
        "titles": [title(name) for name in plain],
        "forests": [forest for forest in [*differences, _values(plain, own, names)] if forest],
        "best": {name: _best(name, [method.mean(name) for method in methods]) for name in [*plain, *classes]},
        "classes": {name: name.removeprefix(CLASS_AP) for name in classes},
        "rows": [(names[str(row.run)], row) for row in own],
        "folds": any(row.folds for row in own),
    }  # fmt: skip


def _differences(name: str, methods: Sequence[Method]) -> dict[str, Any] | None:
    """The forest of the differences of a figure, the method that gains most first."""
    found = [(method, method.differences[name]) for method in methods if name in method.differences]
    lines = [(method.name, f"to {own.reference}", own.value, own.interval, method.mean(name)) for method, own in found]
    lines.sort(key=lambda line: line[2] if less_is_better(name) else -line[2])
    return _forest(f"Differences in {title(name)}", name, lines, zero=True) if lines else None


def _values(figures: Sequence[str], rows: Sequence[Row], names: Mapping[str, str]) -> dict[str, Any] | None:
    """The forest of the first figure that has intervals, run by run."""
    name = next((name for name in figures if any(row.intervals.get(name) for row in rows)), None)
    if name is None:
        return None
    known = [(row, value) for row in rows if (value := row.figures.get(name)) is not None]
    lines = [(names[str(row.run)], "", value, row.intervals.get(name), None) for row, value in known]
    return _forest(f"{title(name)} of each run", name, lines, zero=False)


_Line = tuple[str, str, float, Sequence[float] | None, float | None]


def _forest(title: str, figure: str, lines: Iterable[_Line], zero: bool) -> dict[str, Any]:
    """Where everything lies, in percent of the width of the plot."""
    lines = list(lines)
    ends = [end for *_, value, interval, _ in lines for end in (value, *(interval or ()))] + ([0.0] if zero else [])
    low, high = min(ends), max(ends)
    room = (high - low or 0.01) * 0.06
    low, high = low - room, high + room

    def across(value: float) -> float:
        return 100 * (value - low) / (high - low)

    return {
        "title": title, "figure": figure, "less": less_is_better(figure),
        "zero": across(0.0) if zero else None,
        "ticks": [(across(value), f"{value:+g}" if zero and value else f"{value:g}") for value in _ticks(low, high)],
        "lines": [
            {
                "name": name, "beside": beside, "value": value, "interval": interval, "mean": mean,
                "at": across(value), "ends": [across(end) for end in interval] if interval else None,
                "sure": zero and interval is not None and not interval[0] <= 0 <= interval[1],
            }
            for name, beside, value, interval, mean in lines
        ],
    }  # fmt: skip


def _ticks(low: float, high: float) -> Iterator[float]:
    """Round numbers within a range, two to five of them."""
    steps = (part * 10.0**power for power, part in product(range(-9, 9), (1, 2, 5)))
    step = next(step for step in steps if (high - low) / step <= _TICKS)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield float(f"{number * step:.10g}")


def _best(name: str, means: Iterable[float | None]) -> float | None:
    known = [mean for mean in means if mean is not None]
    return (min if less_is_better(name) else max)(known, default=None) if len(known) > 1 else None
