"""Recipes by name: `--config endo` is `experiments/endo.yaml`, which comes with the package.

So are fragments, which are merged behind a recipe: `--config endo --config backbones/convnext`.
"""

import os
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from ibca_lightning.system.errors import InputError

SPACES = "spaces.yaml"
_FRAGMENTS = ("backbones", "terms")  # folders of experiments
_PACKAGE = Path(__file__).parents[2]


@cache
def experiments() -> Path:
    """The folder of the shipped experiments: in the package, or beside it where `ibca` runs from its repository."""
    inside = _PACKAGE / "experiments"
    return inside if inside.is_dir() else _PACKAGE.parent / "experiments"


def recipes() -> dict[str, Path]:
    """The shipped recipes by name, in the order of the alphabet."""
    return {path.stem: path for path in sorted(experiments().glob("*.yaml")) if path.name != SPACES}


def fragments(folder: str) -> dict[str, Path]:
    """The shipped fragments of one kind by name, without their folder."""
    return {path.stem: path for path in sorted((experiments() / folder).glob("*.yaml"))}


def named() -> dict[str, Path]:
    """All that `--config` takes by name: recipes, and fragments behind the name of their folder."""
    return recipes() | {f"{kind}/{name}": path for kind in _FRAGMENTS for name, path in fragments(kind).items()}


def recipe_file(given: str) -> str:
    """The file that a `--config` names: a file, which wins, or a recipe's or a fragment's; else it stays as it is.

    Raises:
        InputError: It looks like a name, and there is no such recipe; or it is a folder.
    """
    if os.path.isdir(given) and given not in recipes():
        raise InputError(f"a YAML file at --config {given}", "a folder", _instead(given))
    folder, _, name = given.rpartition("/")
    if not name or os.path.isfile(given) or Path(given).suffix or folder not in ("", *_FRAGMENTS):
        return given
    known = named()
    if given in known:
        return str(known[given])
    near = [f"{given}.yaml"] if os.path.isfile(f"{given}.yaml") else get_close_matches(given, known, n=1)
    hint = "".join(f"did you mean {each}? " for each in near)
    raise InputError("a YAML file or a recipe's name at --config", given, f"{hint}see ibca list {folder or 'recipes'}")


def _instead(folder: str) -> str:
    """What may have been meant by a folder."""
    beside = f"{os.path.normpath(folder)}.yaml"
    if os.path.isfile(beside):
        return f"did you mean {beside}?"
    inside = sorted(str(path) for path in Path(folder).iterdir() if path.suffix in (".yaml", ".yml"))
    if inside:
        return f"name one that it holds: {', '.join(inside[:5])}"
    return "name the YAML of an experiment; ibca init writes one for a table and a folder of pictures"


def with_recipe_files(arguments: list[str]) -> list[str]:
    """A new command line with a file behind every `--config`, as `recipe_file` finds it."""
    result = list(arguments)
    for at, argument in enumerate(arguments):
        name, equals, path = argument.partition("=")
        if name not in ("--config", "-c"):
            continue
        if equals:
            result[at] = f"{name}={recipe_file(path)}"
        elif at + 1 < len(arguments) and not arguments[at + 1].startswith("-"):
            result[at + 1] = recipe_file(arguments[at + 1])
    return result
