"""AttVIB: spatial attention learnt by a variational information bottleneck.

Lai et al., "Information Bottleneck Approach to Spatial Attention Learning", IJCAI 2021, arXiv 2108.03418; code
ashleylqx/AIB.

Different from the paper:

- Multi-label: a sigmoid for each class. The paper's loss is -log p(y|z) + beta KL; here -log p(y|z) is a sum over L
  labels, and as every loss of ours is their mean, the KL is divided by L too.
- No quantisation of the attention to learnt anchors (the paper's second half).
- KL(N(m, s²) || N(0, I)) with the s that z is drawn with, as in the paper; the code puts exp(s) in its place.
- At evaluation attention and z are their means, so that the head is deterministic; the code draws them.
- The paper's attention has no class. The class maps here are those of the classifier behind the attention, exactly
  linearised: c_ln = (1 + a_n) J_l . f_n with J_l = dlogit_l / d pooled, and the softmax over positions that GAP has.

Checked against the code (run beside ours): logits of a training step with its noise, and the KL with the code's exp(s).

Shapes: B images, C channels, N = H x W positions, L labels, D latent size.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import Float32Linear
from ibca_lightning.heads.peers.latent.rectified_layers import RectifiedLayers, class_activation
from ibca_lightning.heads.peers.projection import projection

SHIFT = -5.0  # of both standard deviations before the softplus: the first ones are 0.007


class AttVIBHead(Head):
    """a = mu + sigma eps; f' = f + a f; z ~ N(m, s²) of the pooled f'; logit = MLP(z).

    mu = sigmoid(3x3 convolution of f), one map; sigma = softplus(3x3 convolution of mu - 5); m, s linear in the mean of
    f'. The loss "bottleneck" is beta / L KL(N(m, s²) || N(0, I)), summed over D, mean over the pictures. It reads no
    label, so that unknown labels need no care.

    Args:
        channels: C of the feature map.
        num_labels: L.
        latent: D >= 1.
        beta: Weight >= 0 of the KL; 0 leaves the noise and drops the loss.
        width: Channels after a projection (1x1 convolution, GELU) in front; 0 for none, as in the paper.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import AttVIBHead
        >>> output = AttVIBHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5), labels=torch.tensor([[1, 0, -1]] * 2))
        >>> output.attention.shape, list(output.losses)
        (torch.Size([2, 3, 6, 5]), ['bottleneck'])
    """

    def __init__(self, channels: int, num_labels: int, latent: int = 256, beta: float = 0.01, width: int = 0) -> None:
        super().__init__(channels, num_labels)
        self.require(1, latent=latent)
        self.require(0, beta=beta)
        self.latent, self.beta = latent, beta
        self.project, channels = projection(channels, width, "AttVIBHead")
        self.attention_mean = nn.Conv2d(channels, 1, 3, padding=1)
        self.attention_std = nn.Conv2d(1, 1, 3, padding=1)
        self.encode = Float32Linear(channels, 2 * latent)
        self.decode = RectifiedLayers((latent, latent))
        self.classify = Float32Linear(latent, num_labels)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; the loss is "bottleneck"."""
        projected = self.project(features)
        with torch.autocast(features.device.type, enabled=False):
            # All in float32: the KL's gradient, summed over a map in half precision, overflows.
            return self._classify(projected.float(), labels)

    def _classify(self, f_BCHW: Tensor, labels_BL: Tensor | None) -> HeadOutput:
        mean_B1HW = _convolve(self.attention_mean, f_BCHW).sigmoid()
        attention_BN = mean_B1HW.flatten(1)
        if self.training:
            std_BN = softplus_std(_convolve(self.attention_std, mean_B1HW)).flatten(1)
            attention_BN = attention_BN + std_BN * torch.randn_like(std_BN)
        # Pooling f' = (1 + a) f is one product; f' itself, as large as the map, is never formed.
        share_BN = (1 + attention_BN) / attention_BN.shape[-1]
        pooled_BC = (f_BCHW.flatten(2) @ share_BN.unsqueeze(-1)).squeeze(-1)

        mean_BD, raw_BD = self.encode(pooled_BC).chunk(2, dim=-1)
        std_BD = softplus_std(raw_BD)
        z_BD = mean_BD + std_BD * torch.randn_like(std_BD) if self.training else mean_BD
        logits: Tensor = self.classify(self.decode(z_BD))

        losses = {}
        if self.training and labels_BL is not None and self.beta > 0:
            losses["bottleneck"] = self.beta / self.num_labels * standard_normal_kl(mean_BD, std_BD).mean()
        with torch.no_grad():
            maps_BLN = (1 + mean_B1HW.flatten(2)) * class_activation(self._jacobian(mean_BD), f_BCHW)
            attention = maps_BLN.softmax(-1).reshape(-1, *logits.shape[1:], *f_BCHW.shape[-2:])
        return HeadOutput(logits, attention, losses)

    def _jacobian(self, mean_BD: Tensor) -> Tensor:
        """The logits' slopes by the pooled features (B, L, C): encoder and classifier are linear between kinks."""
        weight_BLD = self.classify.weight.float().expand(mean_BD.shape[0], -1, -1)
        to_latent_BLD = self.decode.linearise(mean_BD)[1](weight_BLD)
        # Of the encoder's 2D outputs, z's mean is the first half.
        return to_latent_BLD @ self.encode.weight[: self.latent].float()


def _convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 3x3 convolution in float32, whatever the layer's own precision."""
    assert layer.bias is not None
    return F.conv2d(x, layer.weight.float(), layer.bias.float(), padding=1)


def softplus_std(raw: Tensor) -> Tensor:
    """softplus(raw - 5), kept off 0, where a divergence would be infinite."""
    return F.softplus(raw + SHIFT).clamp(min=1e-6)


def standard_normal_kl(mean_BD: Tensor, std_BD: Tensor) -> Tensor:
    """KL(N(m, diag s²) || N(0, I)) = ½ sum_d [m² + s² - 1 - 2 log s]: (B, D) to (B,)."""
    return 0.5 * (mean_BD.square() + std_BD.square() - 1 - 2 * std_BD.log()).sum(-1)
