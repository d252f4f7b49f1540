"""CAL: counterfactual attention learning.

Rao et al., "Counterfactual Attention Learning for Fine-Grained Visual Categorization and Re-identification", ICCV 2021,
arXiv 2108.08728. M attention maps pool the features (bilinear attention pooling); a second pooling under random maps
asks what the prediction would have been without the attention, and the difference, the effect, must carry the label.

Different from the paper:

- Multi-label: masked BCE of the effect in the place of its cross-entropy.
- Of its recipe (WS-DAN), the crops and drops of the picture by attention and the centre loss are left out: all heads
  are compared under one augmentation and one loss. The paper weighs the loss of the prediction, crops and drops
  included, and that of the effect alike, so `effect` is 1.
- A bias a label, 0 at first, in the place of none: labels are rarer than one class in a softmax. It cancels in the
  effect.
- `scale` is 10 where its SGD has 100: the factor before the classifier multiplies each step of AdamW, whose steps do
  not shrink with the gradient.

Same logits and effect as the authors' code with the same weights and counterfactual maps: the numbers in the test.

Shapes: B images, C channels, N = H x W positions, L labels, M maps.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import MapBatchNorm
from ibca_lightning.heads.peers.projection import projection
from ibca_lightning.losses import masked_bce
from ibca_lightning.system.errors import InputError

TINY = 1e-6  # the authors' too: the square root has a finite slope at 0


class CALHead(Head):
    """a = relu(norm(1x1 convolution)), logit_l = scale sum_mc w_lmc p_mc + b_l with p = bilinear pooling under a.

    Loss `effect` = effect BCE(logit(a) - logit(a_random), y), with a_random uniform on [0, 2] at each position.

    Its attention of a class is the mean of the M maps, each made to sum to 1 and weighted by what it adds to the
    class's logit in this picture where that is positive: relu(sum_c w_lmc p_mc). The paper draws the plain mean of the
    maps, which is the same for every class. Where no map speaks for the class, all weigh alike.

    Args:
        channels: C of the feature map.
        num_labels: L.
        maps: M >= 1.
        effect: Weight >= 0 of the effect's loss; 0 is bilinear attention pooling without the counterfactual.
        scale: Factor > 0 on the pooled features, which have length 1.
        width: Channels after a projection (1x1 convolution, GELU) in front; 0 for none, as in the paper.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import CALHead
        >>> output = CALHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5), labels=torch.tensor([[1, 0, -1]] * 2))
        >>> output.attention.shape, list(output.losses)
        (torch.Size([2, 3, 6, 5]), ['effect'])
    """

    def __init__(
        self, channels: int, num_labels: int, maps: int = 32, effect: float = 1.0, scale: float = 10.0, width: int = 0
    ) -> None:
        super().__init__(channels, num_labels)
        self.require(1, maps=maps)
        self.require(0, effect=effect)
        if scale <= 0:
            raise InputError("CALHead's scale > 0", scale, "correct it")
        self.effect, self.scale = effect, scale
        self.project, channels = projection(channels, width, "CALHead")
        self.attend = nn.Conv2d(channels, maps, 1, bias=False)
        self.norm = MapBatchNorm(maps, eps=1e-3)
        self.weight = nn.Parameter(torch.empty(num_labels, maps, channels))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        nn.init.uniform_(self.weight, -((maps * channels) ** -0.5), (maps * channels) ** -0.5)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; the loss is "effect"."""
        features = self.project(features)
        maps_BMN = self.norm(self.attend(features)).relu().flatten(2)
        with torch.autocast(features.device.type, enabled=False):
            x_BCN, maps_BMN = features.flatten(2).float(), maps_BMN.float()
            weight_LMC = self.scale * self.weight.float()
            pooled_BMC = bilinear_pool(maps_BMN, x_BCN)
            shares_BLM = torch.einsum("bmc,lmc->blm", pooled_BMC, weight_LMC)
            logits = shares_BLM.sum(-1) + self.bias.float()
            losses = {}
            if self.training and labels is not None and self.effect:
                other_BMC = bilinear_pool(2 * torch.rand_like(maps_BMN), x_BCN)
                effect_BL = torch.einsum("bmc,lmc->bl", pooled_BMC - other_BMC, weight_LMC)
                losses["effect"] = self.effect * masked_bce(effect_BL, labels)
            attention = class_maps(maps_BMN, shares_BLM)
        return HeadOutput(logits, attention.reshape(-1, *logits.shape[1:], *features.shape[-2:]), losses)


def bilinear_pool(maps_BMN: Tensor, x_BCN: Tensor) -> Tensor:
    """Bilinear attention pooling: mean_n a_mn x_cn, then a signed square root, then length 1 over (M, C)."""
    mean_BMC = maps_BMN @ x_BCN.transpose(1, 2) / x_BCN.shape[-1]
    root_BMC = mean_BMC.sign() * (mean_BMC.abs() + TINY).sqrt()
    return F.normalize(root_BMC.flatten(1), dim=-1).reshape(mean_BMC.shape)


def class_maps(maps_BMN: Tensor, shares_BLM: Tensor) -> Tensor:
    """Mean of the maps, each of sum 1, weighed by the positive part of its share in a logit; uniform where all is 0."""
    maps_BMN, shares_BLM = maps_BMN + TINY, shares_BLM.relu() + TINY
    return F.normalize(shares_BLM, p=1, dim=-1) @ F.normalize(maps_BMN, p=1, dim=-1)
