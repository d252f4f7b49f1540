"""The card of `ibca check` on the screen, and the lines and pairs that the page shows too."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from ibca_lightning.system.output import write_out
from ibca_lightning.system.terminal_table import terminal_table

_PAIRS = 5


def print_card(result: Mapping[str, Any]) -> None:
    """Print rows, labels, co-occurrence and pictures.

    Args:
        result: What `check.json` holds.
    """
    console = Console(highlight=False, markup=False)
    console.print(f"{result['data']} ({result['experiment']}): {len(result['classes'])} classes")
    if not result["splits"]:
        console.print("the tables could not be read")
        return
    for rows in (split_rows(result), class_rows(result)):
        write_out(terminal_table(rows, "check.json"))
    console.print(f"together in train: {', '.join(pairs(result)) or 'no two classes'}")
    for line in picture_lines(result):
        console.print(line, soft_wrap=True)


def split_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The table of the splits, its header first."""
    header = ["split", "rows", "groups", "labels a row", "without positive", "unknown labels", "unreadable", "copies"]
    return [header] + [
        [
            split, str(f["rows"]), str(f["groups"]), f"{f['cardinality']:.2f}", str(f["without_positive"]),
            f"{f['unknown']:.1%}", str(f["pictures"]["unreadable"]), str(f["pictures"]["copies"]),
        ]
        for split, f in result["splits"].items()
    ]  # fmt: skip


def class_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The table of the classes, positives and their share of the known labels in each split; its header first."""
    splits = result["splits"]
    rows = [["positives", *splits]]
    for name in result["classes"]:
        cells = []
        for figure in splits.values():
            positives, negatives = figure["positives"][name], figure["negatives"][name]
            known = positives + negatives
            cells.append(f"{positives} ({positives / known:.1%})" if known else "unknown")
        rows.append([name, *cells])
    return rows


def pairs(result: Mapping[str, Any]) -> list[str]:
    """The pairs of classes that come together most often in train."""
    names, counts = result["classes"], result["cooccurrence"]
    found = [(counts[a][b], names[a], names[b]) for a in range(len(names)) for b in range(a)]
    most = sorted((pair for pair in found if pair[0]), key=lambda pair: -pair[0])[:_PAIRS]
    return [f"{other} + {one} {count}" for count, one, other in most]


def picture_lines(result: Mapping[str, Any]) -> list[str]:
    """What is to be said of the pictures of each split, a line each."""
    lines = []
    for split, figure in result["splits"].items():
        pictures = figure["pictures"]
        if not pictures["readable"]:
            lines.append(f"{split}: no picture was read")
            continue
        sizes = ", ".join(f"{size} ({count})" for size, count in pictures["sizes"].items())
        modes = ", ".join(f"{mode} ({count})" for mode, count in pictures["modes"].items())
        least, median, most = pictures["short_side"]
        lines.append(f"{split}: {modes}; short side {least} to {most}, median {median}; commonest sizes {sizes}")
    return lines
