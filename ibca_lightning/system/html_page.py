"""One HTML file that needs no other: the shell of `check.html` and of the report.

Everything is inside the file, and its Content-Security-Policy forbids the network and every script and style but ours
(they are named by their hashes), so that nothing that came from data could run even if it were not escaped. Tables sort
by a click on their header and scroll sideways in a box of their own; colours follow the reader's light or dark mode.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ibca_lightning.system.errors import InputError

# Eight colours that are told apart without red and green, too (after Okabe and Ito), on white and on black.
_LIGHT = """--paper: #fff; --ink: #1a1d21; --soft: #59616b; --line: #dfe3e8; --wash: #f5f7f9; --shade: #0003;
  --accent: #0b5cad; --error: #a40000; --warning: #7a5a00; --good: #1a6b3c; --c0: #0072b2; --c1: #d55e00; --c2: #009e73;
  --c3: #b3468f; --c4: #a67c00; --c5: #2f9bd6; --c6: #6b4fb3; --c7: #5f6b76;"""
_DARK = """--paper: #14171a; --ink: #e4e7ea; --soft: #9ca6b0; --line: #30363d; --wash: #1c2025; --shade: #fff3;
  --accent: #74b4f5; --error: #ff8f8f; --warning: #e0bd5c; --good: #7fd3a0; --c0: #58aee6; --c1: #f28b4b; --c2: #3cc79b;
  --c3: #e08cc4; --c4: #e0b93f; --c5: #9bd3f7; --c6: #b3a0ee; --c7: #a5b0bb;"""
STYLE = (
    f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
@media print {{ :root {{ color-scheme: light; }} }}
"""
    + """
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; margin: 0 auto; max-width: 72rem;
  padding: 1.5rem 1.25rem 4rem; color: var(--ink); background: var(--paper); overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .3rem; }
p { margin: .4rem 0; max-width: 48rem; }
a { color: var(--accent); }
.soft, figcaption { color: var(--soft); }
.error { color: var(--error); } .warning { color: var(--warning); }
li { margin: .2rem 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .6rem 0; max-width: 100%; width: fit-content; }  /* a shadow where it goes on */
.scroll { background: linear-gradient(90deg, var(--paper) 40%, transparent) left / 3rem 100% no-repeat local,
  linear-gradient(-90deg, var(--paper) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(90deg, var(--shade), transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(-90deg, var(--shade), transparent) right / .8rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { border-bottom: 1px solid var(--line); padding: .28rem .7rem; text-align: right; white-space: nowrap; }
th { vertical-align: bottom; font-weight: 600; color: var(--soft); }
th:first-child, td:first-child { text-align: left; padding-left: .2rem; white-space: normal;
  overflow-wrap: break-word; min-width: 6rem; max-width: 18rem; }
td.text, th.text { text-align: left; } td.long { white-space: normal; min-width: 15rem; }
tbody tr:hover { background: var(--wash); }
td small { color: var(--soft); font-size: .86em; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: inherit; }
th button::after { content: "\\2195"; opacity: .35; padding-left: .3em; font-size: .85em; }
th[aria-sort=ascending] button::after { content: "\\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: "\\2193"; opacity: 1; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.matrix td { padding: .2rem .4rem; }
figure { margin: .2rem; } figcaption { font-size: .82rem; }
img { max-width: 100%; height: auto; }
@media screen and (max-width: 40rem) {  /* the first column stays in sight */
  th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); max-width: 9rem;
    overflow-wrap: anywhere; border-right: 1px solid var(--line); }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  .scroll { overflow: visible; width: auto; background: none; }
  table { font-size: 7pt; } th, td { padding: .12rem .2rem; white-space: normal; }
  td.long, th:first-child, td:first-child { min-width: 0; overflow-wrap: anywhere; }
  th button::after { content: none; }
  tr, figure, svg, img { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
"""
)
# A cell sorts by its data-sort, or by its text; what is no number where others are, such as a dash, comes last.
SCRIPT = """
for (const table of document.querySelectorAll("table.sort")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const key = row => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const numbers = rows.some(row => key(row) !== "" && isFinite(key(row)));
      const lacks = text => text === "" || text === "\\u2013" || (numbers && !isFinite(text));
      rows.sort((one, other) => {
        const a = key(one), b = key(other);
        if (lacks(a) || lacks(b)) return lacks(a) - lacks(b);
        const order = numbers ? a - b : a.localeCompare(b, undefined, {numeric: true});
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
"""
DASH = "–"


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: What is shown.
        sort: What it is sorted by; None for the text.
        small: Shown behind it, smaller.
        style: Classes, such as `text` for a cell that is not a number.
    """

    text: str
    sort: float | str | None = None
    small: str = ""
    style: str = ""


def document(title: str, generator: str, body: str, style: str = "") -> str:
    """Wrap a page.

    Args:
        title: As plain text.
        generator: Names the command in the head, by which it knows its own files.
        body: HTML.
        style: Rules beside those that every page has.

    Returns:
        The whole file.
    """
    rules = STYLE + style
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(rules)}'; script-src '{_hash(SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"{_generator(generator)}"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{rules}</style></head>\n"
        f"<body>\n{body}\n<script>{SCRIPT}</script></body></html>\n"
    )


def refuse_other(path: Path, generator: str) -> None:
    """Refuse to write over what is no earlier page of the same command.

    Raises:
        InputError: Where there is such a file.
    """
    if path.exists() and not (path.is_file() and _generator(generator) in _beginning(path)):
        raise InputError(f"a file of {generator} at {path}, to be replaced", "another", "give another --output")


def _beginning(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(2000)


def _generator(name: str) -> str:
    return f'<meta name="generator" content="{escape(name)}">'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def table(rows: Sequence[Sequence[str | Cell]], style: str = "", sortable: bool = True) -> str:
    """Write a table, in a box that scrolls sideways.

    Args:
        rows: The header first; text is escaped.
        style: Classes of the table.
        sortable: Whether a click on a header sorts by its column.

    Returns:
        HTML.
    """
    head = "".join(_head(cell, sortable) for cell in _cells(rows[0]))
    body = "".join("<tr>" + "".join(map(_body, _cells(row))) + "</tr>\n" for row in rows[1:])
    classes = f"{style} sort" if sortable else style
    return (
        f'<div class="scroll"><table class="{classes.strip()}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def _cells(row: Iterable[str | Cell]) -> Iterable[Cell]:
    return (cell if isinstance(cell, Cell) else Cell(cell) for cell in row)


def _head(cell: Cell, sortable: bool) -> str:
    text = escape(cell.text)
    style = f' class="{escape(cell.style)}"' if cell.style else ""
    return f'<th scope="col"{style}>{f"<button type=button>{text}</button>" if sortable else text}</th>'


def _body(cell: Cell) -> str:
    style = f' class="{escape(cell.style)}"' if cell.style else ""
    sort = "" if cell.sort is None else f' data-sort="{escape(str(cell.sort))}"'
    small = f" <small>{escape(cell.small)}</small>" if cell.small else ""
    text = escape(cell.text).replace("_", "_<wbr>")  # a long name breaks there on a phone, and not within a word
    return f"<td{style}{sort}>{text}{small}</td>"


def picture(data: bytes, kind: str, alt: str, caption: str) -> str:
    """Write a picture that lies in the page itself.

    Args:
        data: Of the file.
        kind: `jpeg` or `png`.
        alt: Instead of it, as plain text.
        caption: Below it, as HTML.

    Returns:
        HTML.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    hint = escape(alt)
    return f'<figure><img alt="{hint}" title="{hint}" src="{source}"><figcaption>{caption}</figcaption></figure>\n'


def jpeg(pixels: np.ndarray, side: int) -> bytes:
    """Make a small file of a picture.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        side: Its longer side becomes this where it is longer, in pixels.

    Returns:
        A JPEG file.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert done
    return bytes(data)
