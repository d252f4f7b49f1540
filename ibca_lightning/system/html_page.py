"""One HTML file that needs no other: the shell of `check.html` and of the report.

The pages are jinja2 templates that escape whatever is put in, their styles and script are files beside them. All of it
goes into the page, and its Content-Security-Policy forbids the network and every script and style but ours, so that
nothing that came from data could run even if it were not escaped. Tables sort by a click on their header and scroll
sideways in a box of their own; colours follow the reader's light or dark mode.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import ibca_lightning
from ibca_lightning.system.errors import InputError

_PACKAGE = Path(ibca_lightning.__file__).parent
_GENERATOR = Markup('<meta name="generator" content="{}">')


def document(template: str, generator: str, styles: Sequence[str] = (), **values: Any) -> str:
    """Make a page.

    Args:
        template: A file of this package that extends `system/pages/page.html.j2`.
        generator: Names the command in the head, by which it knows its own files.
        styles: CSS files of this package, beside those that every page has.
        values: For the template, which escapes them.

    Returns:
        The whole file.
    """
    style = "".join(map(_text, ("system/pages/page.css", *styles)))
    script = _text("system/pages/page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    own = {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}
    return str(render(template, generator=_GENERATOR.format(generator), **own, **values))


def render(template: str, **values: Any) -> Markup:
    """A part of a page from a template of this package; what is put in is escaped, unless it is such a part."""
    return Markup(_environment().get_template(template).render(**values))


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _text(file: str) -> str:
    return (_PACKAGE / file).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def refuse_other(path: Path, generator: str) -> None:
    """Refuse to write over what is no earlier page of the same command.

    Raises:
        InputError: Where there is such a file.
    """
    if path.exists() and not (path.is_file() and _GENERATOR.format(generator) in _beginning(path)):
        raise InputError(f"a file of {generator} at {path}, to be replaced", "another", "give another --output")


def _beginning(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(2000)


def jpeg(pixels: np.ndarray, side: int) -> str:
    """A picture (h, w, 3) uint8 RGB as the `data:` address of a JPEG, its longer side `side` pixels at most."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert done
    return f"data:image/jpeg;base64,{base64.b64encode(bytes(data)).decode()}"
