"""C-Tran: label tokens and feature tokens in one transformer encoder, trained with some of the labels given.

Lanchantin et al., "General Multi-label Image Classification with Transformers", CVPR 2021, arXiv 2011.14027.

Same weights in, same logits out as the authors' code (github.com/QData/C-Tran), with labels given and without; the
numbers stand in the test. Different from the original:

- **Label-mask training in two passes.** Theirs is one: n labels, n drawn from 0 to 3/4 of them, are given as state
  embeddings, and the loss is on the others. A head's logits must not depend on labels here, so the returned ones have
  nothing given, as at evaluation, and the module's loss trains them. A second pass with 1 to 3/4 of the labels given
  yields the head's own loss "label_mask", the binary cross-entropy (theirs) of the labels not given. So their n = 0
  has a pass of its own. A label that is unknown (-1) is never given and has no loss. The second pass adds
  half to the cost of a training step, and doubles it where there is more than one layer;
- there are embeddings of the states "absent" and "present" only: that of "hidden" is part of the label's embedding;
- smaller, for small data. The published settings: `width` 2048 (= the backbone's channels, no projection, our
  `width=0`), `num_heads` 4, `ffn` 2048 (= width), `layers` 3, `dropout` 0.1, `most_given` 0.75. Ours: 256, 4, 512, 1,
  0.1, 0.75. In one layer a label sees the picture and which labels are given, not what other labels found in the
  picture: that takes `layers=2`, whose training step costs several times as much on a 24 x 24 map, because all
  positions are then compared with all;
- the last layer computes the label tokens alone, because nobody reads the others, and the layers before it have no
  dropout on their attention weights.

Like theirs it has no positional encoding: their option for one is off in the published commands.

Shapes: B images, C channels (width), H x W positions, N = H*W, L labels.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.peers.decoders.transformer import LabelLinear, MixBlock, ReadBlock, projection
from ibca_lightning.losses import masked_bce


class CTranHead(Head):
    """z = norm [x; e_l + s_l], then z = block(z asks z) a layer; logit_l = w_l . z_l + b_l.

    e is a label's embedding and s that of its state: absent, present, or 0 where it is not given. The attention is that
    of label l's token on the feature tokens in the last layer, mean over heads, made to sum to 1.

    Args:
        channels: Channels of the feature map.
        num_labels: L.
        width: C; 0 for the feature map's channels, without a projection.
        num_heads: Heads >= 1 of each attention, a divisor of the width.
        ffn: Hidden channels >= 1 of each block.
        layers: Blocks >= 1.
        dropout: In [0, 1).
        label_mask: Weight >= 0 of the loss with labels given; 0 turns it off, and with it the state embeddings.
        most_given: The largest share in [0, 1) of the labels that is given.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import CTranHead
        >>> output = CTranHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5), labels=torch.tensor([[1, 0, -1]] * 2))
        >>> output.attention.shape, list(output.losses)
        (torch.Size([2, 3, 6, 5]), ['label_mask'])
    """

    def __init__(
        self,
        channels: int,
        num_labels: int,
        width: int = 256,
        num_heads: int = 4,
        ffn: int = 512,
        layers: int = 1,
        dropout: float = 0.1,
        label_mask: float = 1.0,
        most_given: float = 0.75,
    ) -> None:
        super().__init__(channels, num_labels)
        self.require(1, layers=layers)
        self.require(0, label_mask=label_mask)
        self.require(0, below=1, most_given=most_given)
        c = width or channels
        self.label_mask, self.most_given = label_mask, int(num_labels * most_given)
        self.project = projection(channels, width)
        self.embedding = nn.Parameter(torch.empty(num_labels, c))
        nn.init.uniform_(self.embedding, -(c**-0.5), c**-0.5)
        self.state = nn.Parameter(torch.empty(2, c)) if label_mask > 0 else None
        if self.state is not None:
            nn.init.uniform_(self.state, -(c**-0.5), c**-0.5)
        self.norm = nn.LayerNorm(c)
        self.mixing = nn.ModuleList(MixBlock(c, num_heads, ffn, dropout) for _ in range(layers - 1))
        self.reading = ReadBlock(c, num_heads, ffn, dropout)
        self.classify = LabelLinear(num_labels, c)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; the loss of its own is "label_mask"."""
        x_BNC = self.project(features.flatten(2).mT)
        logits, attention_BLN = self.read(x_BNC)
        losses = {}
        if self.training and labels is not None and self.state is not None:
            given_BL = draw_given(labels, self.most_given)
            with_given, _ = self.read(x_BNC, labels.where(given_BL, -1))
            loss = masked_bce(with_given, labels.masked_fill(given_BL, -1))
            losses["label_mask"] = self.label_mask * loss
        attention = attention_BLN / attention_BLN.sum(-1, keepdim=True)
        return HeadOutput(logits, attention.reshape(*logits.shape, *features.shape[-2:]), losses)

    def read(self, x_BNC: Tensor, given_BL: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One pass over the projected map, with labels in {0, 1, -1}: 0 and 1 are given, -1 is not; None gives nothing.

        Returns:
            Logits (B, L), and the attention (B, L, N) on the feature tokens, which leaves out that on label tokens.
        """
        positions = x_BNC.shape[1]
        label_BLC = self.embedding.expand(x_BNC.shape[0], -1, -1)
        if given_BL is not None and self.state is not None:
            chosen_BL2 = torch.stack((given_BL == 0, given_BL == 1), -1)
            label_BLC = label_BLC + chosen_BL2.to(self.state.dtype) @ self.state
        z_BMC = self.norm(torch.cat((x_BNC, label_BLC.to(x_BNC.dtype)), 1))
        for layer in self.mixing:
            z_BMC = layer(z_BMC)
        label_BLC, attention_BLM = self.reading(z_BMC[:, positions:], z_BMC, z_BMC)
        return self.classify(label_BLC), attention_BLM[..., :positions]


def draw_given(labels_BL: Tensor, most: int) -> Tensor:
    """Choose 1 to `most` labels of each picture at random; those that are unknown (-1) are then not given after all.

    (B, L) booleans, true where the label is given; with 0 none.
    """
    if most == 0:
        return torch.zeros_like(labels_BL, dtype=torch.bool)
    count_B1 = torch.randint(1, most + 1, (len(labels_BL), 1), device=labels_BL.device)
    rank_BL = torch.rand(labels_BL.shape, device=labels_BL.device).argsort(-1).argsort(-1)
    return (rank_BL < count_B1) & (labels_BL >= 0)
