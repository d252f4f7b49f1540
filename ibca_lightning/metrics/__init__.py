"""Figures: multi-label, localisation; they know nothing of Lightning, data or files."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibca_lightning.metrics.intervals import bootstrap_intervals
    from ibca_lightning.metrics.multilabel import figures

__all__ = ["bootstrap_intervals", "figures"]


def __getattr__(name: str) -> Any:
    """Import scipy and torch only for who asks for a figure."""
    if name == "figures":
        from ibca_lightning.metrics.multilabel import figures

        return figures
    if name == "bootstrap_intervals":
        from ibca_lightning.metrics.intervals import bootstrap_intervals

        return bootstrap_intervals
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
