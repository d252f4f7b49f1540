"""Line charts as inline SVG (`report/chart.html.j2`): where everything lies."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ibca_lightning.system.pages.html_page import render

COLOURS = 8  # c0 to c7 of the page, and as many ways to draw a line without a colour
Mark = tuple[float, float, float, bool]  # x, y, radius in pixels, hollow
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 400, 54, 10, 10, 40


class Line(NamedTuple):
    """One line of a chart, and points to be marked on it: x and y (T,); NaN in y interrupts the line.

    A line of a class has the class's number for its colour; one that is of no class has none, and no colour. `level`
    is a height at which a dotted line of the same colour runs across the chart.
    """

    name: str  # for the legend, as plain text
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    marks: Sequence[Mark] = ()
    colour: int | None = None
    level: float | None = None


def chart(
    lines: Sequence[Line], x_label: str, y_label: str, title: str, *,
    x_range: tuple[float, float] = (0, 1), y_range: tuple[float, float] = (0, 1),
    guide: tuple[float, float, float, float] | None = None, bars: Sequence[float] = (),
    height: int = 320, whole: bool = False, caption: str = "",
) -> Markup:  # fmt: skip
    """Draw a chart with its legend, as an HTML figure.

    Args:
        lines: What is drawn, in the order of the legend.
        x_label: Below the x axis.
        y_label: Beside the y axis.
        title: What the chart shows, for readers who do not see it, and above the legend.
        x_range: Ends of the x axis.
        y_range: Ends of the y axis.
        guide: A dotted line from (x, y) to (x, y).
        bars: Heights in [0, 1] of bars of equal width behind the lines.
        height: In units of which the width has 400.
        whole: Whether x is a whole number, such as an epoch.
        caption: Behind the title, as plain text.
    """
    right, bottom = _WIDTH - _RIGHT, height - _BOTTOM

    def across(x: Any) -> Any:  # of a number or an array
        return _LEFT + (x - x_range[0]) / ((x_range[1] - x_range[0]) or 1) * (right - _LEFT)

    def down(y: Any) -> Any:
        return bottom - (y - y_range[0]) / ((y_range[1] - y_range[0]) or 1) * (bottom - _TOP)

    wide, tall = (right - _LEFT) / max(len(bars), 1), bottom - _TOP
    return render(
        "report/chart.html.j2",
        title=title, caption=caption, x_label=x_label, y_label=y_label, width=_WIDTH, height=height,
        left=_LEFT, right=right, top=_TOP, bottom=bottom,
        bars=[(_LEFT + i * wide, bottom - share * tall, wide, share * tall) for i, share in enumerate(bars)],
        x_ticks=[(across(value), value) for value in ticks(*x_range) if not whole or value == int(value)],
        y_ticks=[(down(value), value) for value in ticks(*y_range)],
        guide=guide and (across(guide[0]), down(guide[1]), across(guide[2]), down(guide[3])),
        lines=[
            {
                "name": line.name, "path": _thinned(across(line.x), down(line.y)),
                "paint": f"n{i % COLOURS}" if line.colour is None else paint(line.colour),
                "marks": [(across(x), down(y), radius, hollow) for x, y, radius, hollow in line.marks],
                "level": None if line.level is None else down(line.level),
            }
            for i, line in enumerate(lines)
        ],
    )  # fmt: skip


def paint(number: int) -> str:
    """The style of a class's lines and signs, by its number: from the ninth on colours come again, dashed."""
    return f"s{number % COLOURS}" + (" dashed" if number // COLOURS % 2 else "")


def ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range, four to nine of them."""
    span = high - low
    if not span > 0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span))
    step *= next(part for part in (1, 0.5, 0.2, 0.1) if span / (step * part) >= 4)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{n * step:.10g}") for n in range(first, last + 1)]


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """An SVG path through points (T,) in pixels, without what cannot be seen.

    Of all points in one half of a pixel's width the first, the lowest, the highest and the last say what is drawn
    there (Jugel et al., M4, VLDB 2014), so that the path of a million points is as small as that of a thousand.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]])))
    parts = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):  # stretches without a gap
        across, down = np.round(2 * x[start:stop]) / 2, np.round(y[start:stop], 1)
        first = np.flatnonzero(np.diff(across, prepend=np.inf))
        last = np.append(first[1:], stop - start) - 1
        heights = np.stack(
            [down[first], np.minimum.reduceat(down, first), np.maximum.reduceat(down, first), down[last]], axis=1
        )
        points = np.stack([np.repeat(across[first], 4), heights.ravel()], axis=1)
        points = points[np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))]
        parts += [f"{'L' if at else 'M'}{u:g} {v:.1f}" for at, (u, v) in enumerate(points.tolist())]
    return "".join(parts)
