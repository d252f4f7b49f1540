"""A class of this package is written into files by its public name, so that no file breaks when its module moves."""

from importlib import import_module
from typing import Any

_PACKAGE = "ibca_lightning"
# From where people import. The data sets come last, as looking there may import many.
_ROOMS = (
    "ibca_lightning.heads",
    "ibca_lightning.losses",
    "ibca_lightning.terms",
    "ibca_lightning",
    "ibca_lightning.data",
)


def public_name(path: str) -> str:
    """Return the public name of a class, whatever module defined it when the path was written.

    `ibca_lightning.heads.csra.CSRAHead` is `ibca_lightning.heads.CSRAHead`; other paths stay.
    """
    package, _, rest = path.partition(".")
    name = rest.rpartition(".")[2]
    if package != _PACKAGE or not name.isidentifier():
        return path
    rooms = (room for room in _ROOMS if isinstance(getattr(import_module(room), name, None), type))
    return next((f"{room}.{name}" for room in rooms), path)


def with_public_names(tree: Any) -> Any:
    """Return plain data, as of a YAML file, in which every path below this package is a public name."""
    if isinstance(tree, dict):
        return {key: with_public_names(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [with_public_names(item) for item in tree]
    return public_name(tree) if isinstance(tree, str) else tree
