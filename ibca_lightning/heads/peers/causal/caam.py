"""CaaM: causal attention by a mask and its complement, invariant over environments that it finds itself.

Wang et al., "Causal Attention for Unbiased Visual Recognition", ICCV 2021, arXiv 2108.08782. The mask z splits the
features into causal ones, z x, and spurious ones, (1 - z) x. A classifier of the spurious features splits the training
pictures into environments in which it errs differently; one classifier an environment, tied together, must then read
the causal features alike in all of them. As in the authors' CNN form, z is a channel and a spatial gate (CBAM: Woo et
al., ECCV 2018, arXiv 1807.06521).

Different from the paper:

- A head on a feature map: one mask on the last map, where the paper puts one behind several blocks of the backbone and
  adds the block's input back to the causal part.
- Multi-label: masked BCE in the place of its cross-entropy; a bias a label, shared by the environments.
- Environments in each batch: the paper learns a table with a row for each training picture, in phases of 100 passes
  every 20 epochs, and a fresh classifier of the spurious features before each phase. Here a linear map of the spurious
  features, standardised over the batch, says the environment; it and the classifier of the spurious features learn in
  every step, no gradient of theirs reaches the mask or the map.
- What the partition seeks is the authors' invariance penalty of that classifier (per label: how an environment would
  stretch its logit), each environment weighted by its share of the batch, so that none is a single odd picture.
- The environments' classifiers start alike, not each at random: under this weight of the invariance a random start is
  a first loss of about 35 (4 labels, 416 channels), against which AdamW scales every later step.
- The prediction's own loss (the mean classifier's, which the authors use at evaluation alone) is added to theirs.

Same gates, logits and invariance penalty as the authors' code with the same weights: the numbers in the test.

Shapes: B images, C channels, N = H x W positions, L labels, E environments.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import Float32Linear, MapBatchNorm
from ibca_lightning.heads.peers.projection import projection
from ibca_lightning.losses import masked_bce, masked_mean
from ibca_lightning.system.processes import share, total, total_with_gradient

TINY = 1e-6


class CaaMHead(Head):
    """logit_l = mean_n W_l . (z x)_n + b_l, W the mean of the environments' classifiers, z_cn = channel_c position_n.

    Its attention of a class is the softmax over the positions of the map that the logit is the mean of, the class
    activation map of the causal features, as for `GAPHead`.

    Losses: `environment`, BCE of each environment's classifier on its pictures, every environment weighing alike;
    `invariance` times the spread of the classifiers about their mean; `mixed`, BCE of another classifier on the whole
    features, which teaches an unfrozen backbone; `spurious`, BCE of the classifier on the spurious features;
    `partition`, what the environments are chosen by, negative.

    Args:
        channels: C of the feature map.
        num_labels: L.
        environments: E >= 2.
        invariance: Weight >= 0 of the spread; it is relative to the sum of the weights' sizes, hence the large numbers
            (5e4 to 5e5 in the paper).
        reduction: The channel gate's hidden width is C divided by this, >= 1.
        width: Channels after a projection (1x1 convolution, GELU) in front; 0 for none, as in the paper.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import CaaMHead
        >>> output = CaaMHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5), labels=torch.tensor([[1, 0, -1]] * 2))
        >>> sorted(output.losses)
        ['environment', 'invariance', 'mixed', 'partition', 'spurious']
    """

    def __init__(
        self,
        channels: int,
        num_labels: int,
        environments: int = 4,
        invariance: float = 5e4,
        reduction: int = 16,
        width: int = 0,
    ) -> None:
        super().__init__(channels, num_labels)
        self.require(2, environments=environments)  # invariance needs two
        self.require(0, invariance=invariance)
        self.require(1, reduction=reduction)
        self.invariance = invariance
        self.project, channels = projection(channels, width, "CaaMHead")
        hidden = max(channels // reduction, 1)
        self.channel_gate = nn.Sequential(Float32Linear(channels, hidden), nn.ReLU(), Float32Linear(hidden, channels))
        self.position_gate = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = MapBatchNorm(1, momentum=0.01)
        nn.init.zeros_(self.norm.weight)  # the first mask is flat, as theirs
        first = torch.randn(num_labels, channels) * channels**-0.5
        self.weight = nn.Parameter(first.repeat(environments, 1, 1))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        self.mixed = Float32Linear(channels, num_labels)
        self.spurious = Float32Linear(channels, num_labels)
        self.partition = Float32Linear(channels, environments)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; losses are "environment", "invariance", "mixed", "spurious" and "partition"."""
        projected = self.project(features)
        with torch.autocast(features.device.type, enabled=False):
            x_BCHW = projected.float()
            gated_BCHW, position_BHW = self._mask(x_BCHW)
            gated_BCN, position_BN = gated_BCHW.flatten(2), position_BHW.flatten(1)
            map_BLN = (self.weight.float().mean(0) @ gated_BCN) * position_BN.unsqueeze(1)
            contribution_BLN = map_BLN / map_BLN.shape[-1]
            logits = map_BLN.mean(-1) + self.bias.float()
            losses = {}
            if self.training and labels is not None:
                causal_BC = (gated_BCN @ position_BN.unsqueeze(-1)).squeeze(-1) / position_BN.shape[-1]
                losses = self._losses(x_BCHW.mean((2, 3)), causal_BC, labels)
            attention = map_BLN.softmax(-1)
        grid = (-1, *logits.shape[1:], *features.shape[-2:])
        return HeadOutput(logits, attention.reshape(grid), losses, contribution_BLN.reshape(grid))

    def _mask(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The features behind the channel gate, and the spatial gate that is still to be applied (CBAM's order)."""
        score_BC = self.channel_gate(x_BCHW.mean((2, 3))) + self.channel_gate(x_BCHW.amax((2, 3)))
        gated_BCHW = x_BCHW * score_BC.sigmoid()[:, :, None, None]
        summary = torch.stack((gated_BCHW.max(1).values, gated_BCHW.mean(1)), 1)
        score = F.conv2d(summary, self.position_gate.weight.float(), padding=3)
        return gated_BCHW, self.norm(score.to(self.norm.weight.dtype)).float().squeeze(1).sigmoid()

    def _losses(self, whole_BC: Tensor, causal_BC: Tensor, labels_BL: Tensor) -> dict[str, Tensor]:
        """The weighted losses of the class's docstring, from pooled features."""
        spurious_BC = (whole_BC - causal_BC).detach()
        score_BE = self.partition(_standardised(spurious_BC))
        biased_BL = self.spurious(spurious_BC)
        weight_ELC = self.weight.float()
        logits_BEL = torch.einsum("bc,elc->bel", causal_BC, weight_ELC) + self.bias.float()
        return {
            "environment": environment_loss(logits_BEL, labels_BL, score_BE.argmax(-1)),
            "invariance": self.invariance * spread(weight_ELC),
            "mixed": masked_bce(self.mixed(whole_BC), labels_BL),
            "spurious": masked_bce(biased_BL, labels_BL),
            "partition": -variance_penalty(biased_BL.detach(), labels_BL, score_BE.softmax(-1)),
        }


def _standardised(x_BC: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the batch, and over the other processes' batches; without a gradient."""
    count = total(torch.full_like(x_BC[0], len(x_BC)))
    centred_BC = x_BC - total(x_BC.sum(0)) / count
    deviation_C = (total(centred_BC.square().sum(0)) / count).sqrt()
    return centred_BC / (deviation_C + TINY)


def spread(weight_ELC: Tensor) -> Tensor:
    """mean_e (||W_e - mean W||_2 / ||W_e||_1)², the authors' variance penalty of the environments' classifiers."""
    apart_E = (weight_ELC - weight_ELC.mean(0)).square().sum((1, 2))
    return (apart_E / weight_ELC.abs().sum((1, 2)).square().clamp(min=TINY)).mean()


def environment_loss(logits_BEL: Tensor, labels_BL: Tensor, environment_B: Tensor) -> Tensor:
    """Masked BCE of each picture under its environment's classifier; mean an environment, then over environments.

    Environments without a known label do not count.
    """
    E = logits_BEL.shape[1]
    target_BEL = labels_BL.clamp(min=0).float().unsqueeze(1).expand_as(logits_BEL)
    loss_BEL = F.binary_cross_entropy_with_logits(logits_BEL, target_BEL, reduction="none")
    here_BE = environment_B.unsqueeze(1) == torch.arange(E, device=logits_BEL.device)
    known_BEL = here_BE.unsqueeze(2) & (labels_BL >= 0).unsqueeze(1)
    count_E = share(known_BEL.sum((0, 2)))
    mean_E = torch.where(known_BEL, loss_BEL, 0.0).sum((0, 2)) / torch.where(count_E > 0, count_E, 1)
    return masked_mean(mean_E, count_E > 0)


def variance_penalty(logits_BL: Tensor, labels_BL: Tensor, share_BE: Tensor) -> Tensor:
    """How differently the environments would stretch the logits: the invariance penalty (IRM, arXiv 1907.02893).

    g_el = d/ds BCE(s logit_l, y_l) at s = 1, mean over environment e; sum_e share_e mean_l g_el². Unknown labels pull
    nowhere; share_BE says how much of a picture belongs to each environment.
    """
    known_BL = labels_BL >= 0
    pull_BL = torch.where(known_BL, (logits_BL.sigmoid() - labels_BL) * logits_BL, 0.0)
    mass_EL = total_with_gradient(share_BE.T @ known_BL.float())
    gradient_EL = total_with_gradient(share_BE.T @ pull_BL) / mass_EL.clamp(min=TINY)
    return (mass_EL * gradient_EL.square()).sum() / total(known_BL.sum()).clamp(min=1)
