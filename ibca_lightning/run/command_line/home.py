"""`~` and `$VARIABLE` in a path: a shell leaves them as they are in quotes, and nobody else reads a YAML."""

from argparse import Namespace
from enum import Enum
from typing import Any

from ibca_lightning.system.expanded import expanded

# What takes names of classes, sites or projects, which are no paths.
_NAMES = frozenset({"classes", "class_names", "label_aliases", "label_values", "sites", "wandb_project"})


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


def _each(values: dict[str, Any]) -> dict[str, Any]:
    """Every value `at_home` but names, which are no paths."""
    return {name: inner if _takes_names(str(name)) else at_home(inner) for name, inner in values.items()}


def _takes_names(option: str) -> bool:
    return "column" in option or option.lstrip("-").rpartition(".")[2] in _NAMES
