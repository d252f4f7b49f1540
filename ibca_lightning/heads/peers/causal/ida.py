"""IDA: interventional dual attention.

Liu et al., "Causality Compensated Attention for Contextual Biased Visual Recognition", ICLR 2023. The channels are
split into A heads; in each, every class attends with its own normalised weights (multiple sampling of the confounder),
and a second attention, across the A class features of a class, re-weighs the samples (the intervention).

Different from the paper and from its one public implementation, which is not the authors':

- A bias a label, 0 at first, in the place of none.
- No bias of the keys: the softmax removes it.
- A projection first (1x1 convolution, GELU): unit weights cannot scale a frozen map. The paper fine-tunes its backbone
  and works on the map itself (`width=0`).
- That implementation reshapes (class features, heads) to (heads, class features) without moving the axis, so that its
  second attention sees A mixtures of all heads. Here each token is one head, as the paper has it.

Same logits as that implementation with the same weights and its axis moved (with one head also as it stands), for both
forms of the second attention: the numbers in the test.

Shapes: B images, C channels, N = H x W positions, L labels, A heads, E = C / A channels of a head.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import Float32LayerNorm, Float32Linear
from ibca_lightning.heads.peers.projection import projection
from ibca_lightning.system.errors import InputError

SHRINKAGE = 1 / 32  # added to the length of the weights, so that short ones say little


class IDAHead(Head):
    """v_la = sum_n softmax_n(w_la . x_na) x_na; logit_l = sum_a w_la . z_la + b_l, z_l = attention across v_l1 .. v_lA.

    w_la is the learnt vector u_la divided by (||u_la|| + 1/32): it says where and what, as in CSRA.
    Its attention of a class is the mean of the class's A maps, which the second attention re-weighs but does not move.
    Without it (`layers=0`) the logit is a sum over positions, and the contribution holds its terms,
    sum_a softmax_n(w_la . x_na) w_la . x_na.

    Args:
        channels: Channels of the feature map.
        num_labels: L.
        num_heads: A, a divisor of C.
        layers: Attentions across the heads, >= 0; 0 is the multiple sampling alone.
        feed_forward: Hidden width of an MLP behind each of them, with layer norms and a last linear map over all heads:
            the paper's transformer form. 0 is its cheaper dot-product form.
        width: C, channels after a projection; 0 for none, then C is `channels`.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import IDAHead
        >>> output = IDAHead(channels=8, num_labels=3, layers=0)(torch.rand(2, 8, 6, 5))
        >>> torch.allclose(output.contribution.sum((2, 3)), output.logits, atol=1e-4)  # the bias is 0 at first
        True
    """

    def __init__(
        self,
        channels: int,
        num_labels: int,
        num_heads: int = 4,
        layers: int = 1,
        feed_forward: int = 0,
        width: int = 256,
    ) -> None:
        super().__init__(channels, num_labels)
        self.require(1, num_heads=num_heads)
        self.require(0, layers=layers, feed_forward=feed_forward)
        self.project, c = projection(channels, width, "IDAHead")
        if c % num_heads:
            raise InputError(f"num_heads that divides the {c} channels", num_heads, "change num_heads, or give a width")
        self.weight = nn.Parameter(torch.empty(num_heads, num_labels, c // num_heads))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        nn.init.normal_(self.weight, std=c**-0.5)
        self.across = nn.ModuleList(AttentionAcrossHeads(c // num_heads, feed_forward) for _ in range(layers))
        self.mix = Float32Linear(c, c) if feed_forward and layers else nn.Identity()

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        x_BCN = self.project(features).flatten(2)
        with torch.autocast(features.device.type, enabled=False):
            u_ALE = self.weight.float()
            w_ALE = u_ALE / (u_ALE.norm(dim=-1, keepdim=True) + SHRINKAGE)
            x_BAEN = x_BCN.float().unflatten(1, (w_ALE.shape[0], w_ALE.shape[2]))
            evidence_BALN = w_ALE @ x_BAEN
            attention_BALN = evidence_BALN.softmax(-1)
            z_BLAE = (attention_BALN @ x_BAEN.transpose(2, 3)).transpose(1, 2)
            for layer in self.across:
                z_BLAE = layer(z_BLAE)
            z_BLC = self.mix(z_BLAE.flatten(2))
            logits = (z_BLC * w_ALE.transpose(0, 1).flatten(1)).sum(-1) + self.bias.float()
        grid = (-1, *logits.shape[1:], *features.shape[-2:])
        contribution = None if self.across else (attention_BALN * evidence_BALN).sum(1).reshape(grid)
        return HeadOutput(logits, attention_BALN.mean(1).reshape(grid), {}, contribution)


class AttentionAcrossHeads(nn.Module):
    """z + attention(z) over the A tokens of a class; with an MLP, a layer of a post-norm transformer encoder."""

    def __init__(self, size: int, feed_forward: int) -> None:
        super().__init__()
        self.query, self.value, self.out = (Float32Linear(size, size) for _ in range(3))
        self.key = Float32Linear(size, size, bias=False)
        self.feed_forward: nn.Sequential | None = None
        if feed_forward:
            self.feed_forward = nn.Sequential(
                Float32Linear(size, feed_forward), nn.ReLU(), Float32Linear(feed_forward, size)
            )
            self.norm_attention, self.norm_feed_forward = Float32LayerNorm(size), Float32LayerNorm(size)

    def forward(self, z_BLAE: Tensor) -> Tensor:
        """Re-weigh the class features (B, L, A, E) of the heads; same shape."""
        score_BLAA = self.query(z_BLAE) * z_BLAE.shape[-1] ** -0.5 @ self.key(z_BLAE).transpose(-2, -1)
        z_BLAE = z_BLAE + self.out(score_BLAA.softmax(-1) @ self.value(z_BLAE))
        if self.feed_forward is None:
            return z_BLAE
        z_BLAE = self.norm_attention(z_BLAE)
        result: Tensor = self.norm_feed_forward(z_BLAE + self.feed_forward(z_BLAE))
        return result
