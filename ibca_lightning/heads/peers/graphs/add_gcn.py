"""ADD-GCN: nodes of the classes, attended from the map, joined by a graph for all pictures and one for each.

Ye et al., "Attention-Driven Dynamic Graph Convolutional Network for Multi-Label Image Recognition", ECCV 2020, arXiv
2012.02994. No co-occurrence is counted and no name embedded: both graphs are learnt, the second one from the nodes.

Same weights in, same logits out as the authors' code (github.com/Yejin0111/ADD-GCN); the numbers stand in the test.
Different from the original:

- smaller, for small data: nodes of 256 numbers, theirs 1024 (`hidden`);
- in a batch of one picture BatchNorm reads its running statistics, as it has no variance;
- maps and graphs run in float32.

Shapes: B images, C channels, H x W positions, N = H*W, L labels, D numbers of a node.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import Float32Linear, MapBatchNorm, positionwise
from ibca_lightning.heads.peers.decoders.transformer import LabelLinear

_SLOPE = 0.2  # of the leaky rectifiers


class AddGCNHead(Head):
    """v_l = sum_n sigmoid(m_l . x_n) T x_n; logit_l = (max_n m_l . x_n + w_l . (v_l + graphs(v)_l) + b_l) / 2.

    The first graph adds to each node what one matrix for all pictures brings it from the others. The second has the
    edge sigmoid(a_k . [g; u_l] + b_k) from node k to l, with u the nodes by then and g a vector of them all.

    The attention of a class is sigmoid(m_l . x_n), scaled to sum 1: where its node comes from.

    Args:
        channels: C of the feature map.
        num_labels: L.
        hidden: D >= 1.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import AddGCNHead
        >>> AddGCNHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5)).attention.shape
        torch.Size([2, 3, 6, 5])
    """

    def __init__(self, channels: int, num_labels: int, hidden: int = 256) -> None:
        super().__init__(channels, num_labels)
        self.require(1, hidden=hidden)
        self.masks = nn.Linear(channels, num_labels, bias=False)
        self.transform = nn.Linear(channels, hidden)
        self.static_links = Float32Linear(num_labels, num_labels, bias=False)
        self.static_weight = Float32Linear(hidden, hidden)
        self.whole, self.norm = Float32Linear(hidden, hidden), MapBatchNorm(hidden)
        self.dynamic_links = Float32Linear(2 * hidden, num_labels)
        self.dynamic_weight = Float32Linear(hidden, hidden)
        self.classify = LabelLinear(num_labels, hidden)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        x_BCN = features.flatten(2)
        masks_BLN, there_BDN = positionwise(self.masks.weight, x_BCN), positionwise(self.transform.weight, x_BCN)
        with torch.autocast(x_BCN.device.type, enabled=False):
            masks_BLN = masks_BLN.float()
            gate_BLN = masks_BLN.sigmoid()
            v_BLD = gate_BLN @ (there_BDN.float() + self.transform.bias.float()[:, None]).mT
            logits = (masks_BLN.amax(-1) + self.classify(v_BLD + self._joined(v_BLD))) / 2
            attention = gate_BLN / gate_BLN.sum(-1, keepdim=True)
        return HeadOutput(logits, attention.reshape(*logits.shape, *features.shape[-2:]), {})

    def _joined(self, v_BLD: Tensor) -> Tensor:
        """What both graphs make of the nodes."""
        static_BLD = _leaky(self.static_weight(_leaky(self.static_links(v_BLD.mT)).mT))
        u_BLD = v_BLD + static_BLD
        whole_BD11 = self.whole(u_BLD.mean(1))[..., None, None].to(self.norm.weight.dtype)
        whole_BLD = _leaky(self.norm(whole_BD11).float()).flatten(1)[:, None].expand_as(u_BLD)
        links_BLL = self.dynamic_links(torch.cat([whole_BLD, u_BLD], -1)).sigmoid()
        return _leaky(self.dynamic_weight(_leaky(links_BLL @ u_BLD)))


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, _SLOPE)
