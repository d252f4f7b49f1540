"""IBCA and its peers: multi-label recognition of medical images on PyTorch Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ibca_lightning.model.module import MultiLabelModule
    from ibca_lightning.use.predictor import load

__all__ = ["MultiLabelModule", "__version__", "load"]
_HOMES = {"MultiLabelModule": "ibca_lightning.model.module", "load": "ibca_lightning.use.predictor"}


def __getattr__(name: str) -> Any:
    """Import torch and Lightning only when something of theirs is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
