"""`check.html`: the card of a data set as one file that needs no other, for people."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from ibca_lightning.check.card import class_rows, pairs, picture_lines, split_rows
from ibca_lightning.check.content import Contents
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.html_page import document, jpeg, picture, table

GENERATOR = "ibca_check"
_SIDE = 96  # pixels of a thumbnail's longer side
_EACH = 4  # thumbnails a class
_MATRIX = 40  # classes up to which the whole co-occurrence is shown
_STYLE = """
figure { display: inline-block; } figcaption { max-width: 96px; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
"""


def page(result: Mapping[str, Any], contents: Mapping[str, Contents]) -> str:
    """Write the page.

    Args:
        result: What `check.json` holds.
        contents: The splits, for the thumbnails; empty for none.

    Returns:
        HTML. Whatever came from files is escaped, and nothing is loaded from elsewhere.
    """
    title = f"{result['data']} ({result['experiment']})"
    findings = "".join(
        f'<li class="{escape(f["level"])}"><b>{escape(f["level"])}: {escape(f["kind"])}</b>: {escape(f["what"])}; '
        f"<i>{escape(f['fix'])}</i></li>"
        for f in result["findings"]
    )
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{result['errors']} errors, {result['warnings']} warnings.</p>",
        f"<ul>{findings}</ul>" if findings else "<p>Nothing found.</p>",
    ]
    if result["splits"]:
        parts += [
            "<h2>Splits</h2>", table(split_rows(result)),
            "<h2>Classes</h2>", table(class_rows(result)),
            "<h2>Classes that come together, in train</h2>", _together(result),
            "<h2>Pictures</h2>", *(f"<p>{escape(line)}</p>" for line in picture_lines(result)),
        ]  # fmt: skip
    if contents:
        parts.append("<h2>Examples from train</h2>")
        for at, name in enumerate(result["classes"]):
            parts.append(f"<h3>{escape(name)}</h3>{_examples(contents['train'], at) or '<p>none</p>'}")
    return document(title, GENERATOR, "".join(parts), _STYLE)


def _together(result: Mapping[str, Any]) -> str:
    names, counts = result["classes"], result["cooccurrence"]
    if len(names) > _MATRIX:
        return f"<p>{escape(', '.join(pairs(result)) or 'no two classes')}; all in check.json</p>"
    rows = [["", *names]] + [[name, *map(str, row)] for name, row in zip(names, counts, strict=True)]
    return table(rows, "matrix")


def _examples(train: Contents, at: int) -> str:
    positives = np.flatnonzero((train.labels[:, at] == 1) & train.has_pictures)
    spread = positives[np.linspace(0, len(positives) - 1, min(_EACH, len(positives))).astype(int)]
    figures = []
    for row in spread.tolist():
        try:
            pixels = train.picture(row, _SIDE)
        except InputError:  # it was there a minute ago
            continue
        name = train.where(row)
        figures.append(picture(jpeg(pixels, _SIDE), "jpeg", name, escape(name)))
    return "".join(figures)
