"""The options of our classes and of Lightning's Trainer, read from their source: to import them takes seconds."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ibca_lightning.run.command_line.short_names import NAMES

_PACKAGE = Path(__file__).parents[2]
# Where the classes that a part takes stand, and what they inherit from.
_PLACES = {
    "model": ("model/module.py",),
    "model.head": ("heads/**/*.py",),
    "model.loss": ("losses.py",),
    "model.terms": ("terms/**/*.py",),
    "data": ("datasets/**/*.py", "data/base.py", "data/datamodule.py"),
}


@cache
def options_of(part: str) -> frozenset[str]:
    """Every option that some class of a part takes; empty for a part whose source is not known.

    Args:
        part: `trainer`, `model`, `data`, or of a key of `NAMES` another one with classes of ours.

    Examples:
        >>> from ibca_lightning.run.command_line.source_options import options_of
        >>> "max_epochs" in options_of("trainer"), "max_epoch" in options_of("trainer"), options_of("colour")
        (True, False, frozenset())
    """
    classes = {each.name: each for file in _files(part) for each in _classes(file)}
    wanted = {"model": ["MultiLabelModule"], "trainer": ["Trainer"]}.get(part)
    left = wanted or [path.rpartition(".")[2] for path in NAMES.get(part, {}).values()]
    found: set[str] = set()
    for name in left:  # which grows by what they inherit from
        if (cls := classes.pop(name, None)) is not None:
            found.update(_parameters(cls))
            left += [base.id for base in cls.bases if isinstance(base, ast.Name)]
    return frozenset(found - {"self"})


@cache
def is_class_of_ours(name: str, part: str) -> bool:
    """Whether a class of this name stands where those of a part do, one that is nobody's choice too."""
    return any(each.name == name for file in _files(part) for each in _classes(file))


def _files(part: str) -> list[Path]:
    if part != "trainer":
        return [file for place in _PLACES.get(part, ()) for file in _PACKAGE.glob(place)]
    spec = find_spec("lightning")  # which imports nothing
    folders = (spec and spec.submodule_search_locations) or ()
    return [file for folder in folders if (file := Path(folder, "pytorch", "trainer", "trainer.py")).is_file()]


@cache
def _classes(file: Path) -> list[ast.ClassDef]:
    return [each for each in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(each, ast.ClassDef)]


def _parameters(cls: ast.ClassDef) -> Iterator[str]:
    for each in cls.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            yield from (one.arg for one in (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs))
