"""Tables and pictures: how they are read, checked, split and brought into batches.

The data sets that stand on this room have one of their own, `ibca_lightning.datasets`. Their classes are imported from
here (`from ibca_lightning.data import CSVDataModule`), a name that does not change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibca_lightning.datasets import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Find a public data set; the room above is loaded only when one is asked for."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    datasets = import_module("ibca_lightning.datasets")
    if name == "__all__" or name not in datasets.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(datasets, name)
