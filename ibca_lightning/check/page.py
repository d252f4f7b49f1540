"""`check.html`: the card of a data set as one file that needs no other, for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ibca_lightning.check.card import association_rows, class_rows, pairs, picture_lines, split_rows
from ibca_lightning.check.content import Contents
from ibca_lightning.check.near_copies import NearCopy
from ibca_lightning.data.pictures.drawing import fitted
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.html_page import document, jpeg

GENERATOR = "ibca_check"
_SIDE = 96  # pixels of a thumbnail's longer side
_EACH = 4  # thumbnails a class
_NEAR = 24  # pairs that are shown
_MATRIX = 40  # classes up to which the whole co-occurrence is shown


def page(result: Mapping[str, Any], contents: Mapping[str, Contents], near: Sequence[NearCopy] = ()) -> str:
    """Write the page of what `check.json` holds, and of the splits for their thumbnails; empty for none.

    Near copies are shown side by side, the most alike first.
    """
    names, counts = result["classes"], result["cooccurrence"]
    examples = {name: list(_examples(contents["train"], at)) for at, name in enumerate(names)} if contents else None
    values: dict[str, Any] = {}
    if result["splits"]:
        values = {"splits": split_rows(result), "classes": class_rows(result), "lines": picture_lines(result)}
        matrix = [["", *names], *([name, *map(str, row)] for name, row in zip(names, counts, strict=True))]
        values |= {"pairs": pairs(result), "together": matrix if len(names) <= _MATRIX else None}
        values["associations"] = association_rows(result)
    shown = [list(_side_by_side(pair)) for pair in near[:_NEAR]]
    values |= {"near": shown, "beyond": len(near) - len(shown)}
    return document("check/page.html.j2", GENERATOR, ["check/page.css"], result=result, examples=examples, **values)


def _side_by_side(pair: NearCopy) -> Iterator[tuple[str, str]]:
    """The two pictures of a near copy: where each comes from, and the picture itself."""
    for split, row in ((pair.first, pair.row), (pair.second, pair.other)):
        try:
            yield f"{split.name} {split.where(row)}", jpeg(fitted(split.picture(row, _SIDE), _SIDE))
        except InputError:  # it was there a minute ago
            continue


def _examples(train: Contents, at: int) -> Iterator[tuple[str, str]]:
    """A few pictures of a class: where each comes from, and the picture itself."""
    positives = np.flatnonzero((train.labels[:, at] == 1) & train.has_pictures)
    for row in positives[np.linspace(0, len(positives) - 1, min(_EACH, len(positives))).astype(int)].tolist():
        try:
            yield train.where(row), jpeg(fitted(train.picture(row, _SIDE), _SIDE))
        except InputError:  # it was there a minute ago
            continue
