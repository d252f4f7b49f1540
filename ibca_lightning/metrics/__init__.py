"""Figures: multi-label, localisation; they know nothing of Lightning, data or files."""

from ibca_lightning.metrics.intervals import bootstrap_intervals
from ibca_lightning.metrics.multilabel import figures

__all__ = ["bootstrap_intervals", "figures"]
