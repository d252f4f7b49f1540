"""Heads: plain nn.Modules from a feature map to logits and attention, without Lightning, data or files."""

from ibca_lightning.heads.base import Head, HeadOutput

__all__ = ["Head", "HeadOutput"]
