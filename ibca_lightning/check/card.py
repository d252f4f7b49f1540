"""The card of `ibca check` on the screen, and the lines and pairs that the page shows too."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from ibca_lightning.data.tables.groups.grouping import of_patients
from ibca_lightning.system.output import plain, write_out
from ibca_lightning.system.terminal.table import terminal_table

_PAIRS = 5


def print_card(result: Mapping[str, Any]) -> None:
    """Print what `check.json` holds: rows, labels, co-occurrence and pictures."""
    write_out(f"{result['data']} ({result['experiment']}): {len(result['classes'])} classes\n")
    if not result["splits"]:
        write_out("the tables could not be read\n")
        return
    for rows in (split_rows(result), class_rows(result)):
        write_out(terminal_table(rows, "check.json"))
    if groups := group_line(result):
        write_out(f"{groups}\n")
    together = f"together in train: {', '.join(pairs(result)) or 'no two classes'}"
    Console(highlight=False, markup=False).print(plain(together))  # breaks between words
    write_out("".join(f"{line}\n" for line in picture_lines(result)))


def split_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The table of the splits, its header first."""
    rows = [["split", "rows", "groups", "labels a row", "without positive", "unknown labels", "unreadable", "copies"]]
    for split, of in result["splits"].items():
        pictures = of["pictures"]
        cells = (of["rows"], of["groups"], f"{of['cardinality']:.2f}", of["without_positive"], f"{of['unknown']:.1%}")
        rows.append([split, *map(str, cells), str(pictures["unreadable"]), str(pictures["copies"])])
    return rows


def class_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The table of the classes, positives and their share of the known labels in each split; its header first."""
    rows = [["positives", *result["splits"]]]
    for name in result["classes"]:
        rows.append([name])
        for of in result["splits"].values():
            positives = of["positives"][name]
            known = positives + of["negatives"][name]
            rows[-1].append(f"{positives} ({positives / known:.1%})" if known else "unknown")
    return rows


def group_line(result: Mapping[str, Any]) -> str:
    """What is to be said of groups that are no patients; blank where they are."""
    leaks = any(each["kind"] == "group leak" for each in result["findings"])  # a group of several splits
    if not leaks and all(of["rows"] == of["groups"] for of in result["splits"].values()):
        return "no two pictures are of one group (patient)"
    column = result["group_column"]
    if column is None or of_patients(column):
        return ""
    return f"groups are values of '{column}', of which one patient may have several, in train and in test"


def pairs(result: Mapping[str, Any]) -> list[str]:
    """The pairs of classes that come together most often in train."""
    names, counts = result["classes"], result["cooccurrence"]
    found = [(counts[a][b], names[a], names[b]) for a in range(len(names)) for b in range(a)]
    most = sorted((pair for pair in found if pair[0]), key=lambda pair: -pair[0])[:_PAIRS]
    return [f"{other} + {one} {count}" for count, one, other in most]


def picture_lines(result: Mapping[str, Any]) -> list[str]:
    """What is to be said of the pictures of each split, and of their folder, a line each."""
    lines = []
    for split, of in result["splits"].items():
        pictures = of["pictures"]
        if not pictures["readable"]:
            lines.append(f"{split}: no picture was read")
            continue
        sizes, modes = (", ".join(f"{what} ({n})" for what, n in pictures[key].items()) for key in ("sizes", "modes"))
        least, median, most = pictures["short_side"]
        lines.append(f"{split}: {modes}; short side {least} to {most}, median {median}; commonest sizes {sizes}")
    if (folder := result["folder"]) is not None:
        beside = f"{folder['unnamed']} that no row names, {folder['passed_over']} other files passed over"
        lines.append(f"{folder['folder']}: {folder['named']} pictures that rows name, {beside}")
    return lines


def association_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The AUROC of each label given a subgroup column alone, in each split; its header first, no row where none is."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for each in result["associations"]:
        (more, less), (high, low) = each["shares"], each["values"]
        shown = f"{each['auroc']:.2f} ({high} {more:.0%}, {low} {less:.0%})"
        cells.setdefault((each["column"], each["label"]), {})[each["split"]] = shown
    splits = list(result["splits"])
    rows = [[column, label, *(of.get(split, "") for split in splits)] for (column, label), of in cells.items()]
    return [["column", "class", *splits], *rows]
