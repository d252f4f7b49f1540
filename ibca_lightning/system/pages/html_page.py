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
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from markupsafe import Markup

import ibca_lightning
from ibca_lightning.system.errors import InputError

if TYPE_CHECKING:  # a trained model makes a page only where somebody looks at it
    from jinja2 import Environment

_PACKAGE = Path(ibca_lightning.__file__).parent


def document(template: str, generator: str, styles: Sequence[str] = (), **values: Any) -> str:
    """Make a page.

    Args:
        template: A file of this package that extends `system/pages/page.html.j2`.
        generator: Names the command in the head, by which it knows its own files.
        styles: CSS files of this package, beside those that every page has.
        values: For the template, which escapes them.
    """
    style = "".join(map(package_text, ("system/pages/page.css", *styles)))
    script = package_text("system/pages/page.js")
    own = {"style": Markup(style), "script": Markup(script), "hashes": (_hash(style), _hash(script))}
    return str(render(template, generator=generator, **own, **values))


def render(template: str, **values: Any) -> Markup:
    """A part of a page from a template of this package; what is put in is escaped, unless it is such a part."""
    return Markup(_environment().get_template(template).render(**values))


def package_text(file: str) -> str:
    """A file of this package, such as a style."""
    return (_PACKAGE / file).read_text(encoding="utf-8")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _hash(text: str) -> Markup:
    return Markup(f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}")


def refuse_other(path: Path, generator: str) -> None:
    """Refuse to write over what is no earlier file of the same command, which begins with its name in quotes.

    Raises:
        InputError: Where there is such a file.
    """
    beginning = ""
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            beginning = file.read(2000)
    if path.exists() and f'"{generator}"' not in beginning:
        what = f"a file of {generator.replace('_', ' ')} at {path}, to be replaced"
        raise InputError(what, "another", "give another --output")


def jpeg(pixels: np.ndarray) -> str:
    """A picture, (h, w, 3) uint8 RGB, that lies in the page itself: a JPEG as a `data:` address."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert done
    return f"data:image/jpeg;base64,{base64.b64encode(bytes(data)).decode()}"
