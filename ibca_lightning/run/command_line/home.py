"""`~` at the front of a path: a shell leaves it as it is behind an equals sign, and nobody else reads a YAML."""

import os
from argparse import Namespace
from enum import Enum
from typing import Any


def at_home(value: Any) -> Any:
    """The same with the home folder for `~`, and its text for an enumeration, throughout; a Namespace in its place."""
    if isinstance(value, str):
        return os.path.expanduser(value.value if isinstance(value, Enum) else value)
    if isinstance(value, Namespace):
        vars(value).update({name: at_home(inner) for name, inner in vars(value).items()})
    if isinstance(value, dict):
        return {name: at_home(inner) for name, inner in value.items()}
    return [at_home(inner) for inner in value] if isinstance(value, list) else value


def options_at_home(arguments: list[str]) -> list[str]:
    """A new command line, with the home folder in place of `~` also behind `--option=`."""
    parts = (argument.partition("=") if argument.startswith("-") else ("", "", argument) for argument in arguments)
    return [name + equals + os.path.expanduser(value) for name, equals, value in parts]
