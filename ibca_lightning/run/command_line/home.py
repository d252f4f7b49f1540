"""`~` and `$VARIABLE` in a path: a shell leaves them as they are in quotes, and nobody else reads a YAML."""

import os
import re
from argparse import Namespace
from enum import Enum
from typing import Any

from ibca_lightning.system.errors import InputError

# What takes names of classes, sites or projects, which are no paths.
_NAMES = frozenset({"classes", "class_names", "label_aliases", "label_values", "sites", "wandb_project"})
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{(\w+)\})")


def at_home(value: Any) -> Any:
    """The same with `expanded` paths, and its text for an enumeration, throughout; a Namespace in its place."""
    if isinstance(value, str):
        return expanded(value.value if isinstance(value, Enum) else value)
    if isinstance(value, Namespace):
        vars(value).update(_each(vars(value)))
    if isinstance(value, dict):
        return _each(value)
    return [at_home(inner) for inner in value] if isinstance(value, list) else value


def options_at_home(arguments: list[str]) -> list[str]:
    """A new command line of `expanded` paths, also behind `--option=`."""
    given, option = [], ""
    for argument in arguments:
        name, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
        option = name or option
        literal = _takes_names(option) or value.startswith(("[", "{"))  # what lists hold is `at_home` when it is read
        given.append(name + equals + (value if literal else expanded(value)))
    return given


def expanded(path: str) -> str:
    """A path with the home folder for `~` at its front, and the values of variables, as a shell would write it.

    A text is a path if a variable is at its front or a slash within it. What lies there under that very name stays.

    Raises:
        InputError: A variable has no value: a folder of the variable's name would be written.
    """
    if not (_VARIABLE.match(path) or ("/" in path and "$" in path)) or os.path.lexists(path):
        return os.path.expanduser(path)

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in os.environ:
            if "://" in path:  # the query of a URL
                return found[0]
            raise InputError(f"a value of the variable {name} in {path}", "none", f"export {name}, or write it out")
        return os.environ[name]

    return os.path.expanduser(_VARIABLE.sub(value, path))


def _each(values: dict[str, Any]) -> dict[str, Any]:
    """Every value `at_home` but names, which are no paths."""
    return {name: inner if _takes_names(str(name)) else at_home(inner) for name, inner in values.items()}


def _takes_names(option: str) -> bool:
    return "column" in option or option.lstrip("-").rpartition(".")[2] in _NAMES
