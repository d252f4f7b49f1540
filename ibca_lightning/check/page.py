"""`check.html`: the card of a data set as one file that needs no other, for people."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ibca_lightning.check.card import association_rows, class_rows, group_line, pairs, picture_lines, split_rows
from ibca_lightning.check.content import Contents
from ibca_lightning.check.findings import Finding
from ibca_lightning.check.near_copies import NearCopy
from ibca_lightning.data.pictures.drawing import fitted
from ibca_lightning.data.tables.doubts import FEW
from ibca_lightning.data.tables.table import Table, decode
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.pages.html_page import document, jpeg

GENERATOR = "ibca_check"
SIDE = 256  # pixels of a thumbnail's longer side
_LARGE = 384  # of those that are to be compared
_EACH = 4  # thumbnails a class
_NEAR = 24  # pairs that are shown
_FINDINGS = 12  # findings that are shown with pictures
_MATRIX = 40  # classes up to which the whole co-occurrence is shown


class Thumb(NamedTuple):
    """A picture on a page: its name, a line below it, where it comes from in full, and `html_page.jpeg` of it."""

    name: str
    line: str
    place: str
    uri: str


def page(
    result: Mapping[str, Any], contents: Mapping[str, Contents], near: Sequence[NearCopy] = (),
    findings: Iterable[Finding] = (),
) -> str:  # fmt: skip
    """Write the page of what `check.json` holds, and of the splits for their thumbnails; empty for none.

    Near copies are shown side by side, the most alike first, and the pictures that other findings are about.
    """
    names, counts = result["classes"], result["cooccurrence"]
    examples = None
    if contents:
        examples = {name: list(_shown(_examples(contents["train"], at), SIDE)) for at, name in enumerate(names)}
    values: dict[str, Any] = {"splits": [], "sizes": {}, "associations": []}
    if result["splits"]:
        values |= {"splits": split_rows(result), "classes": class_rows(result), "lines": picture_lines(result)}
        values["lines"] = [*filter(None, [group_line(result)]), *values["lines"]]
        shares = _shares(result)
        values |= {"shares": shares, "widest": max((share or 0 for row in shares for share in row), default=0) or 1}
        values["sizes"] = {side: _histogram(of) for side, of in result["picture_sizes"].items()}
        matrix = [[name, *row] for name, row in zip(names, counts, strict=True)]
        values |= {"pairs": pairs(result), "together": matrix if len(names) <= _MATRIX else None}
        values["associations"] = association_rows(result)
    copies = [list(_shown(((pair.first, pair.row), (pair.second, pair.other)), _LARGE)) for pair in near[:_NEAR]]
    seen = [each for each in findings if each.rows]
    values |= {"near": copies, "beyond": len(near) - len(copies), "unseen": max(0, len(seen) - _FINDINGS)}
    values["seen"] = [(each, list(_shown(each.rows, SIDE))) for each in seen[:_FINDINGS]]
    return document(
        "check/page.html.j2", GENERATOR, ["check/page.css"], result=result, examples=examples, few=FEW, **values
    )


def _shares(result: Mapping[str, Any]) -> list[list[float | None]]:
    """For each class and split, positives over known labels; None where none is known."""
    known = [
        [(of["positives"][name], of["positives"][name] + of["negatives"][name]) for of in result["splits"].values()]
        for name in result["classes"]
    ]
    return [[positives / all_ if all_ else None for positives, all_ in row] for row in known]


def _histogram(of: Mapping[str, Any]) -> tuple[list[tuple[str, list[int]]], list[int]]:
    """Rows, from which to which length and how many pictures of each split; and the largest number of each split."""
    spans = [(first, after - 1) for first, after in pairwise(of["edges"])]
    names = [f"{first} to {last}" if last > first else f"{last}" for first, last in spans]
    counts = list(of["counts"].values())
    rows = zip(names, map(list, zip(*counts, strict=True)), strict=True)
    return list(rows), [max(own) or 1 for own in counts]


def _shown(rows: Iterable[tuple[Contents, int]], side: int) -> Iterator[Thumb]:
    """The pictures of some rows, with their split, file and line."""
    for split, row in rows:
        with suppress(InputError):  # it was there a minute ago
            uri, name = jpeg(fitted(split.picture(row, side), side)), split.rename(decode(split.ids[row]))
            line = f": {os.path.basename(split.source.where(row))}" if isinstance(split.source, Table) else ""
            yield Thumb(name, f"{split.name}{line}", f"{split.name} {split.where(row)}", uri)


def _examples(train: Contents, at: int) -> Iterator[tuple[Contents, int]]:
    """A few rows with a class."""
    positives = np.flatnonzero((train.labels[:, at] == 1) & train.has_pictures)
    for row in positives[np.linspace(0, len(positives) - 1, min(_EACH, len(positives))).astype(int)].tolist():
        yield train, row
