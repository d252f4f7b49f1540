"""A forest plot of differences: figures of `ibca compare` in one picture (SVG), as in experiments/README.md.

    python -m tests.bench.forest --output forest.svg 'IDRiD, frozen: IBCA - IDA=runs/compared:test:ibca' ...

A row is TITLE=FOLDER:SET:METHOD, where FOLDER has the methods.csv of a comparison; a title alone is a heading.
"""

import csv
import sys
from argparse import ArgumentParser
from html import escape
from pathlib import Path

_LEFT, _WIDTH, _RIGHT, _LINE = 330, 330, 150, 24


def row(spec: str, metric: str) -> tuple[str, list[float]]:
    """Title, and difference with both ends in points; no numbers for a heading."""
    title, _, place = spec.partition("=")
    if not place:
        return title, []
    folder, name, method = place.rsplit(":", 2)
    with (Path(folder) / "methods.csv").open() as file:
        found = [r for r in csv.DictReader(file) if r["set"] == name and r["method"] == method]
    if not found:
        raise SystemExit(f"error: {method} on {name} in {folder}/methods.csv, got none")
    return title, [100 * float(found[0][f"{metric}_{end}"]) for end in ("difference", "low", "high")]


def drawn(rows: list[tuple[str, list[float]]]) -> str:
    """The SVG."""
    ends = [value for _, values in rows for value in values] + [0.0]
    low, high = min(ends) - 1, max(ends) + 1
    height = _LINE * (len(rows) + 2)

    def at(value: float) -> float:
        return _LEFT + _WIDTH * (value - low) / (high - low)

    middle, bottom = _LEFT + _WIDTH / 2, height - 2 * _LINE + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {height}"',
        'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>',
        f'<path d="M{at(0):.1f} 8V{bottom}" stroke="#999" stroke-dasharray="3"/>',
        f'<text x="{middle}" y="{height - 6}" text-anchor="middle" fill="#555">points of mAP [95 %]</text>',
    ]
    for number, (title, values) in enumerate(rows):
        y = _LINE * (number + 0.9)
        weight = "" if values else ' font-weight="bold"'
        parts.append(f'<text x="8" y="{y + 4:.1f}"{weight}>{escape(title)}</text>')
        if values:
            value, first, last = values
            colour = "#07a" if first > 0 else "#b30" if last < 0 else "#777"
            said = f"{value:+.1f} [{first:+.1f}, {last:+.1f}]"
            parts += [
                f'<path d="M{at(first):.1f} {y:.1f}H{at(last):.1f}" stroke="{colour}" stroke-width="2"/>',
                f'<circle cx="{at(value):.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>',
                f'<text x="{_LEFT + _WIDTH + 10}" y="{y + 4:.1f}">{said}</text>',
            ]
    ticks = [tick for tick in range(-100, 101, 10) if low <= tick <= high]
    parts += [f'<text x="{at(t):.1f}" y="{bottom + 16}" text-anchor="middle" fill="#555">{t:+d}</text>' for t in ticks]
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def main(arguments: list[str]) -> None:
    """Write the picture."""
    parser = ArgumentParser(prog="python -m tests.bench.forest")
    parser.add_argument("--output", required=True)
    parser.add_argument("--metric", default="mAP")
    parser.add_argument("rows", nargs="+")
    options = parser.parse_args(arguments)
    Path(options.output).write_text(drawn([row(spec, options.metric) for spec in options.rows]))


if __name__ == "__main__":
    main(sys.argv[1:])
