"""Options of the commands that need no Lightning: argparse with the errors of the contract."""

import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from ibca_lightning.system.errors import InputError

# user:password@ before the host, or a query such as ?X-Amz-Signature=...; of the places that data may lie at.
_OF_FILES = frozenset((".csv", ".tsv", ".txt", ".json", ".xlsx", ".parquet", ".html", ".pdf", ".png", ".jpg", ".npz"))
_SECRET = re.compile(r"\b(s3|gs|https?)://(?:[^\s'\"/@]*@|[^\s'\"?]*\?[^\s'\"]*=)", re.IGNORECASE)


class OptionParser(ArgumentParser):
    """An ArgumentParser whose errors are `InputError`s, with `usage` as what would have been right.

    Its help ends with `examples`, a line each.
    """

    def __init__(self, command: str, usage: str, description: str, examples: Sequence[str] = ()) -> None:
        super().__init__(prog=command.removesuffix(" --images"), description=description)
        self._command, self._expected, self._examples = command, usage, examples

    def format_help(self) -> str:
        """Return the help, with the examples as they are."""
        return (
            super().format_help()
            + "\nexamples:\n" * bool(self._examples)
            + "".join(f"  {example}\n" for example in self._examples)
        )

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong in one line, as an InputError."""
        raise InputError(self._expected, message, f"see {self._command} --help")


def given_values(arguments: Sequence[str], *names: str) -> list[str]:
    """What stands behind an option of these names, each time that it is given; blank where nothing does."""
    parts = ((*one.partition("="), after) for one, after in pairwise([*arguments, ""]))
    return [value if equals else after for name, equals, value, after in parts if name in names]


def class_indices(asked: Sequence[str] | None, names: Sequence[str]) -> list[int]:
    """The places of the classes that `--classes` names; of all where it names none.

    Raises:
        InputError: When there is no such class.
    """
    for wanted in asked or ():
        if wanted not in names:
            raise InputError(f"--classes among {', '.join(names)}", wanted, "correct it")
    return [names.index(name) for name in asked or names]


def require_least(options: Namespace, **least: int) -> None:
    """Refuse an option, by its name, that is given and below what it is to be at least.

    Raises:
        InputError: Names the first such one.
    """
    for name, value in least.items():
        given = getattr(options, name)
        if given is not None and given < value:
            raise InputError(f"--{name} of at least {value}", given, "give another number")


def require_folder(path: str, option: str = "--output") -> None:
    """Refuse, before the work for it is done, what is no folder to write in and cannot become one.

    Raises:
        InputError: When it is such.
    """
    if re.match("(s3|gs|https?):/", path):  # a Path has one slash
        raise InputError(f"{option} on this machine", path, "write it here, and copy it there when it is done")
    place = Path(path)
    if place.suffix.lower() in _OF_FILES and not place.exists():
        raise InputError(f"{option} as a folder for the files", f"{path}, a file by its name", "leave the ending away")
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        got = "a file" if place == Path(path) else f"a file at {place}"
        raise InputError(f"{option} {path} to be a folder", got, "give another one")
    if not os.access(place, os.W_OK):
        raise InputError(f"{option} {path} to be a folder to write in", f"{place}, read-only", "give another one")


def refuse_credentials(text: str, where: str) -> None:
    """Refuse a text with such a URL, which the message does not repeat.

    Args:
        text: An argument, a value of a YAML file, or a URL.
        where: What it is, for the message.

    Raises:
        InputError: It holds one.

    Examples:
        >>> from ibca_lightning.system.options import refuse_credentials
        >>> refuse_credentials("s3://bucket/scans", "--data.root")
        >>> refuse_credentials("https://me:secret@host/scans", "--data.root")
        Traceback (most recent call last):
        ibca_lightning.system.errors.InputError: a URL without user, password or ?query= in --data.root, got one of ...
    """
    if (found := _SECRET.search(text)) is not None:
        fix = "give credentials by the environment (AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, ...): data/README.md"
        raise InputError(f"a URL without user, password or ?query= in {where}", f"one of {found[1].lower()}://", fix)
