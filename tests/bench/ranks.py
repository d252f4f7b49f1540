"""Mean ranks of methods over data sets, and Nemenyi's critical difference: a Markdown table, and a figure (SVG).

    python -m tests.bench.ranks --output ranks.svg runs/results/idrid-mobilenetv2_100/compared:test ...

A place is FOLDER:SET, where FOLDER has the methods.csv of a comparison. Methods that one of the places
lacks are left out, and said.
Source: Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), section 3.2.2.
"""

import csv
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from html import escape
from math import sqrt
from pathlib import Path

from scipy.stats import friedmanchisquare, rankdata, studentized_range

_LEFT, _WIDTH, _LINE = 150, 420, 22


def values(place: str, metric: str) -> dict[str, float]:
    """The metric of each method at a place."""
    folder, _, name = place.rpartition(":")
    with (Path(folder) / "methods.csv").open() as file:
        found = {
            row["method"]: float(row[metric]) for row in csv.DictReader(file) if row["set"] == name and row[metric]
        }
    if not found:
        raise SystemExit(f"error: {metric} of the set {name} in {folder}/methods.csv, got none")
    return found


def mean_ranks(columns: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Of the methods that all columns have, the rank in each, 1 for the highest; best mean first."""
    methods = [method for method in columns[0] if all(method in column for column in columns)]
    ranks = [rankdata([-column[method] for method in methods]) for column in columns]
    found = {method: [float(rank[at]) for rank in ranks] for at, method in enumerate(methods)}
    return dict(sorted(found.items(), key=lambda pair: sum(pair[1])))


def critical_difference(methods: int, places: int) -> float:
    """How far two mean ranks must be apart at 5 % (Nemenyi)."""
    return float(studentized_range.ppf(0.95, methods, 1e6)) / sqrt(2) * sqrt(methods * (methods + 1) / (6 * places))


def drawn(means: dict[str, float], difference: float) -> str:
    """The SVG: a dot for each method, and a bar of the critical difference from the best one."""
    highest = max(len(means), min(means.values()) + difference)
    height = _LINE * (len(means) + 3)

    def at(rank: float) -> float:
        return _LEFT + _WIDTH * (rank - 1) / (highest - 1)

    best, bottom = min(means.values()), height - 2 * _LINE
    said = f"mean rank; red: critical difference from the best, {difference:.1f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 70} {height}"',
        'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>',
        f'<path d="M{at(best):.1f} 10H{at(best + difference):.1f}" stroke="#b30" stroke-width="3"/>',
        f'<path d="M{at(best + difference):.1f} 10V{bottom}" stroke="#b30" stroke-dasharray="3"/>',
        f'<text x="{_LEFT + _WIDTH / 2}" y="{height - 6}" text-anchor="middle" fill="#555">{said}</text>',
    ]
    for number, (method, rank) in enumerate(means.items()):
        y = _LINE * (number + 1.4)
        colour = "#777" if rank <= best + difference else "#b30"
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(method)}</text>',
            f'<circle cx="{at(rank):.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>',
            f'<text x="{at(rank) + 9:.1f}" y="{y + 4:.1f}" fill="#555">{rank:.1f}</text>',
        ]
    ticks = range(1, int(highest) + 1, 2)
    parts += [f'<text x="{at(t):.1f}" y="{bottom + 16}" text-anchor="middle" fill="#555">{t}</text>' for t in ticks]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(arguments: list[str]) -> None:
    """Write the figure, print the table."""
    parser = ArgumentParser(prog="python -m tests.bench.ranks")
    parser.add_argument("--output", required=True)
    parser.add_argument("--metric", default="mAP")
    parser.add_argument("places", nargs="+")
    options = parser.parse_args(arguments)
    columns = [values(place, options.metric) for place in options.places]
    ranks = mean_ranks(columns)
    means = {method: sum(found) / len(found) for method, found in ranks.items()}
    difference = critical_difference(len(means), len(columns))
    Path(options.output).write_text(drawn(means, difference))
    out = sys.stdout.write
    out("| method | mean rank |" + "".join(f" {place.rsplit('/', 2)[-2]} |" for place in options.places) + "\n")
    out("|---|" + "---:|" * (len(columns) + 1) + "\n")
    for method, found in ranks.items():
        row = "".join(f" {rank:g} ({column[method]:.3f}) |" for rank, column in zip(found, columns, strict=True))
        out(f"| {method} | {means[method]:.1f} |{row}\n")
    left = sorted({method for column in columns for method in column} - set(means))
    out(f"\ncritical difference {difference:.1f}; left out, as not at every place: {', '.join(left) or 'none'}\n")
    if len(columns) > 1:
        p = friedmanchisquare(*([column[method] for column in columns] for method in means)).pvalue
        out(f"Friedman's test: p = {p:.2g}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
