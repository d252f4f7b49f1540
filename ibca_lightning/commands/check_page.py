"""`check.html`: the card of a data set as one file that needs no other, for people."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

from ibca_lightning.commands.check_card import class_rows, pairs, picture_lines, split_rows
from ibca_lightning.data.content import Contents
from ibca_lightning.data.reading import Pixels
from ibca_lightning.errors import InputError

_SIDE = 96  # pixels of a thumbnail's longer side
_EACH = 4  # thumbnails a class
_MATRIX = 40  # classes up to which the whole co-occurrence is shown
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #1b1b1b; }
table { border-collapse: collapse; margin: .8em 0; }
th, td { border-bottom: 1px solid #ddd; padding: .25em .7em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.matrix td { padding: .2em .4em; }
.error { color: #a40000; } .warning { color: #7a5a00; }
li { margin: .2em 0; overflow-wrap: anywhere; }
figure { display: inline-block; margin: .2em; } figcaption { font-size: 12px; color: #555; max-width: 96px;
overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
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
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="generator" content="ibca_check">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{result['errors']} errors, {result['warnings']} warnings.</p>",
        f"<ul>{findings}</ul>" if findings else "<p>Nothing found.</p>",
    ]
    if result["splits"]:
        parts += [
            "<h2>Splits</h2>", _table(split_rows(result)),
            "<h2>Classes</h2>", _table(class_rows(result)),
            "<h2>Classes that come together, in train</h2>", _together(result),
            "<h2>Pictures</h2>", *(f"<p>{escape(line)}</p>" for line in picture_lines(result)),
        ]  # fmt: skip
    if contents:
        parts.append("<h2>Examples from train</h2>")
        for at, name in enumerate(result["classes"]):
            parts.append(f"<h3>{escape(name)}</h3>{_examples(contents['train'], at) or '<p>none</p>'}")
    return "".join(parts) + "</body></html>\n"


def _table(rows: Sequence[Sequence[str]], style: str = "") -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<table class="{style}"><tr>{head}</tr>{body}</table>'


def _together(result: Mapping[str, Any]) -> str:
    names, counts = result["classes"], result["cooccurrence"]
    if len(names) > _MATRIX:
        return f"<p>{escape(', '.join(pairs(result)) or 'no two classes')}; all in check.json</p>"
    rows = [["", *names]] + [[name, *map(str, row)] for name, row in zip(names, counts, strict=True)]
    return _table(rows, "matrix")


def _examples(train: Contents, at: int) -> str:
    positives = np.flatnonzero((train.labels[:, at] == 1) & train.has_pictures)
    spread = positives[np.linspace(0, len(positives) - 1, min(_EACH, len(positives))).astype(int)]
    figures = []
    for row in spread.tolist():
        try:
            data = _thumbnail(train.picture(row, _SIDE))
        except InputError:  # it was there a minute ago
            continue
        name = escape(train.where(row))
        figures.append(
            f'<figure><img alt="{name}" title="{name}" src="data:image/jpeg;base64,{data}">'
            f"<figcaption>{name}</figcaption></figure>"
        )
    return "".join(figures)


def _thumbnail(pixels: Pixels) -> str:
    height, width = pixels.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    return base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()).decode()
