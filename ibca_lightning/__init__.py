"""IBCA and its peers: multi-label recognition of medical images on PyTorch Lightning.

A trained model: `load`, `explain`. A run: `report`, `history`. Data: `show_batch`, `data`. Parts: `MultiLabelModule`,
`heads`, `losses`, `metrics`. Each is imported when it is first asked for.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ibca_lightning.model.module import MultiLabelModule
    from ibca_lightning.use.notebook import explain, history, show_batch
    from ibca_lightning.use.predictor import load

__all__ = ["MultiLabelModule", "__version__", "explain", "history", "load", "show_batch"]
_HOMES = {
    "MultiLabelModule": "ibca_lightning.model.module",
    "explain": "ibca_lightning.use.notebook",
    "history": "ibca_lightning.use.notebook",
    "load": "ibca_lightning.use.predictor",
    "show_batch": "ibca_lightning.use.notebook",
}
_ROOMS = ("data", "heads", "losses", "metrics", "report")  # what people take classes and functions from

if "IBCA_OWN_MODULES" in os.environ:  # of the process that spawned this one
    import_module("ibca_lightning.system.imports.own_modules").find_named()


def __getattr__(name: str) -> Any:
    """Import torch and Lightning only when something of theirs is asked for."""
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What there is, whether it has been imported or not."""
    return sorted({*__all__, *_ROOMS})
