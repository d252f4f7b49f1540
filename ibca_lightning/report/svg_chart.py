"""Line charts as inline SVG: colours come from the page's style, so that they follow light, dark and print."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = 8  # classes c0 to c7 of the page
STYLE = """
svg.chart { width: 100%; height: auto; display: block; overflow: visible; }
.chart text { fill: var(--soft); font: 12px system-ui, sans-serif; }
.chart .frame { fill: none; stroke: var(--line); } .chart .grid { stroke: var(--line); stroke-width: .6; }
.chart .guide { stroke: var(--soft); stroke-dasharray: 2 3; fill: none; }
.chart .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.chart .dashed { stroke-dasharray: 5 3; }
.chart .dot { stroke: var(--paper); stroke-width: 1; }
.chart .bar { fill: var(--line); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem 2rem; }
.charts figure { margin: 0; max-width: 27rem; } .charts figcaption { margin-top: .2rem; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem .9rem; padding: 0; margin: .3rem 0; list-style: none;
  font-size: .82rem; color: var(--soft); }
.legend li { margin: 0; } .legend svg { width: 1.5rem; height: .6rem; vertical-align: middle; margin-right: .3rem; }
""" + "".join(
    f".chart .s{i}, .legend .s{i} {{ stroke: var(--c{i}); }} .chart .f{i} {{ fill: var(--c{i}); }}\n"
    for i in range(COLOURS)
)  # fmt: skip
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 400, 44, 10, 10, 40


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: For the legend, as plain text.
        x: (T,).
        y: (T,), NaN interrupts the line.
        marks: Points (x, y, radius in pixels, hollow) to be marked on it.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    marks: Sequence[tuple[float, float, float, bool]] = field(default=())


def chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    title: str,
    *,
    x_range: tuple[float, float] = (0, 1),
    y_range: tuple[float, float] = (0, 1),
    guide: tuple[float, float, float, float] | None = None,
    bars: Sequence[float] = (),
    height: int = 320,
    whole: bool = False,
    caption: str = "",
) -> str:
    """Draw a chart with its legend.

    Args:
        lines: Coloured in order; from the ninth on colours come again, dashed.
        x_label: Below the x axis.
        y_label: Beside the y axis.
        title: What the chart shows, for readers who do not see it, and above the legend.
        x_range: Ends of the x axis.
        y_range: Ends of the y axis.
        guide: A dotted line from (x, y) to (x, y).
        bars: Heights in [0, 1] of bars of equal width behind the lines.
        whole: Whether x is a whole number, such as an epoch.
        height: In units of which the width has 400.
        caption: Behind the title, as plain text.

    Returns:
        HTML: a figure.
    """
    right, bottom = _WIDTH - _RIGHT, height - _BOTTOM

    def across(x: Any) -> Any:  # of a number or an array
        return _LEFT + (x - x_range[0]) / ((x_range[1] - x_range[0]) or 1) * (right - _LEFT)

    def down(y: Any) -> Any:
        return bottom - (y - y_range[0]) / ((y_range[1] - y_range[0]) or 1) * (bottom - _TOP)

    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for i, share in enumerate(bars):
        wide, top = (right - _LEFT) / len(bars), share * (bottom - _TOP)
        parts.append(
            f'<rect class="bar" x="{_LEFT + i * wide:.1f}" y="{bottom - top:.1f}" width="{wide:.1f}" '
            f'height="{top:.1f}"/>'
        )
    parts += [
        f'<text x="{across(value):.1f}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>'
        for value in ticks(*x_range)
        if not whole or value == int(value)
    ]
    for value in ticks(*y_range):
        y = down(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts.append(f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}"/>')
    if guide is not None:
        x1, y1, x2, y2 = across(guide[0]), down(guide[1]), across(guide[2]), down(guide[3])
        parts.append(f'<line class="guide" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    for i, line in enumerate(lines):
        parts.append(f'<path class="line {_stroke(i)}" d="{_thinned(across(line.x), down(line.y))}"/>')
        for x, y, radius, hollow in line.marks:
            paint = f"line s{i % COLOURS}" if hollow else f"dot f{i % COLOURS}"
            parts.append(f'<circle class="{paint}" cx="{across(x):.1f}" cy="{down(y):.1f}" r="{radius:.1f}"/>')
    parts.append(f'<text x="{(_LEFT + right) / 2:.0f}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>')
    middle = (_TOP + bottom) / 2
    parts.append(
        f'<text x="11" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 11 {middle:.0f})">'
        f"{escape(y_label)}</text></svg>"
    )
    legend = "".join(
        f'<li><svg viewBox="0 0 24 10"><path class="{_stroke(i)}" d="M0 5H24" stroke-width="3"/></svg>'
        f"{escape(line.name)}</li>"
        for i, line in enumerate(lines)
        if line.name
    )
    below = f"<b>{escape(title)}</b>{'. ' + escape(caption) if caption else ''}"
    legend = f'<ul class="legend">{legend}</ul>' if legend else ""
    return f"<figure>{''.join(parts)}{legend}<figcaption>{below}</figcaption></figure>\n"


def _stroke(at: int) -> str:
    return f"s{at % COLOURS}" + (" dashed" if at // COLOURS % 2 else "")


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
