"""Heads: plain nn.Modules from a feature map to logits and attention, without Lightning, data or files."""

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.ibca import IBCAHead
from ibca_lightning.heads.pair import PairHead
from ibca_lightning.heads.peers.causal.caam import CaaMHead
from ibca_lightning.heads.peers.causal.cal import CALHead
from ibca_lightning.heads.peers.causal.ida import IDAHead
from ibca_lightning.heads.peers.causal.lff import LfFHead
from ibca_lightning.heads.peers.decoders.c_tran import CTranHead
from ibca_lightning.heads.peers.decoders.glori import GLoRIHead
from ibca_lightning.heads.peers.decoders.ml_decoder import MLDecoderHead
from ibca_lightning.heads.peers.decoders.query2label import Query2LabelHead
from ibca_lightning.heads.peers.decoders.ts_former import TSFormerHead
from ibca_lightning.heads.peers.graphs.add_gcn import AddGCNHead
from ibca_lightning.heads.peers.graphs.gcn import GCNHead
from ibca_lightning.heads.peers.latent.att_vib import AttVIBHead
from ibca_lightning.heads.peers.latent.c_gmvae import CGMVAEHead
from ibca_lightning.heads.peers.pooling.attentive_pool import AttentivePoolHead
from ibca_lightning.heads.peers.pooling.csra import CSRAHead
from ibca_lightning.heads.peers.pooling.ep import EPHead
from ibca_lightning.heads.peers.pooling.gap import GAPHead
from ibca_lightning.heads.peers.pooling.lp import LPHead
from ibca_lightning.heads.peers.pooling.mil_attention import MILAttentionHead

__all__ = [
    "AddGCNHead", "AttVIBHead", "AttentivePoolHead", "CALHead", "CGMVAEHead", "CSRAHead", "CTranHead", "CaaMHead",
    "EPHead", "GAPHead", "GCNHead", "GLoRIHead", "Head", "HeadOutput", "IBCAHead", "IDAHead", "LPHead", "LfFHead",
    "MILAttentionHead", "MLDecoderHead", "PairHead", "Query2LabelHead", "TSFormerHead",
]  # fmt: skip
