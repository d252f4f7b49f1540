"""Modules of the user's own, in the folder that `ibca` was started in: found once they are named, and never before.

That folder is not on Python's path. Libraries try whether others are there (pydicom gdcm, torch dill and apex), and a
file of such a name beside a stranger's pictures would be run. Found are modules that a class path or `--trust` names,
and what those import themselves. Names and folder stand in the environment: processes that are spawned, such as a
DataLoader's, find the modules too.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

VARIABLE = "IBCA_OWN_MODULES"  # names with commas, an equals sign, the folder


@contextmanager
def own_modules(folder: str) -> Iterator[None]:
    """Meanwhile find in this folder what is named."""
    before, finder = os.environ.get(VARIABLE), find_named()
    os.environ[VARIABLE] = f"={folder}"
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def find_named() -> "OwnModules":
    """Find from now on, behind all that is installed, what the environment says."""
    sys.meta_path.append(finder := OwnModules())
    return finder


def name_own(path: str) -> None:
    """Let the module of a class path, which the user gave, be found."""
    names, folder = _known()
    top = path.partition(".")[0]
    if folder and top.isidentifier() and top not in names:
        os.environ[VARIABLE] = f"{','.join([*names, top])}={folder}"


class OwnModules:
    """What Python asks for a module that is nowhere else."""

    def __init__(self) -> None:
        self._found: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that was named, or that one of those imports."""
        names, folder = _known()
        if path is not None or not (name in names or _importer() in self._found):
            return None
        spec = PathFinder.find_spec(name, [folder])
        if spec is not None:
            self._found.add(name)
            name_own(name)
        return spec


def _known() -> tuple[list[str], str]:
    names, _, folder = os.environ.get(VARIABLE, "").partition("=")
    return names.split(",") if names else [], folder


def _importer() -> str:
    """The first part of the name of the module that asks, behind the frames of this one and of Python's machinery."""
    frame = sys._getframe(2)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "importlib":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")).partition(".")[0]
