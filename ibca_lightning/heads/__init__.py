"""Heads: plain nn.Modules from a feature map to logits and attention, without Lightning, data or files."""

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.caam import CaaMHead
from ibca_lightning.heads.cal import CALHead
from ibca_lightning.heads.csra import CSRAHead
from ibca_lightning.heads.gap import GAPHead
from ibca_lightning.heads.ibca import IBCAHead
from ibca_lightning.heads.ida import IDAHead
from ibca_lightning.heads.mil_attention import MILAttentionHead

__all__ = [
    "CALHead",
    "CSRAHead",
    "CaaMHead",
    "GAPHead",
    "Head",
    "HeadOutput",
    "IBCAHead",
    "IDAHead",
    "MILAttentionHead",
]
