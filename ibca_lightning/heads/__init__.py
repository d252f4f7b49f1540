"""Heads: plain nn.Modules from a feature map to logits and attention, without Lightning, data or files."""

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.ibca import IBCAHead
from ibca_lightning.heads.pair import PairHead
from ibca_lightning.heads.peers.att_vib import AttVIBHead
from ibca_lightning.heads.peers.c_gmvae import CGMVAEHead
from ibca_lightning.heads.peers.c_tran import CTranHead
from ibca_lightning.heads.peers.caam import CaaMHead
from ibca_lightning.heads.peers.cal import CALHead
from ibca_lightning.heads.peers.csra import CSRAHead
from ibca_lightning.heads.peers.gap import GAPHead
from ibca_lightning.heads.peers.gcn import GCNHead
from ibca_lightning.heads.peers.ida import IDAHead
from ibca_lightning.heads.peers.lff import LfFHead
from ibca_lightning.heads.peers.mil_attention import MILAttentionHead
from ibca_lightning.heads.peers.ml_decoder import MLDecoderHead
from ibca_lightning.heads.peers.query2label import Query2LabelHead
from ibca_lightning.heads.peers.ts_former import TSFormerHead

__all__ = [
    "AttVIBHead", "CALHead", "CGMVAEHead", "CSRAHead", "CTranHead", "CaaMHead", "GAPHead", "GCNHead", "Head",
    "HeadOutput", "IBCAHead", "IDAHead", "LfFHead", "MILAttentionHead", "MLDecoderHead", "PairHead", "Query2LabelHead",
    "TSFormerHead",
]  # fmt: skip
