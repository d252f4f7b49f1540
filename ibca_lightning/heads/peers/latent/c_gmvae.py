"""C-GMVAE: a latent variable whose prior is a mixture of the picture's classes, and contrastive label embeddings.

Bai et al., "Gaussian Mixture Variational Autoencoder with Contrastive Learning for Multi-Label Classification", ICML
2022, arXiv 2112.00976; code JunwenBai/c-gmvae (`--reg gmvae`). The paper classifies feature vectors; here they are the
mean of the feature map, x.

Different from the code:

- Its loss is 0.5 (the label decoding and two feature decodings, summed over the labels) + 6 KL + 1 contrast. Our losses
  are means over labels and the module adds one feature decoding with weight 1, so all is divided by L / 2.
- The KL is taken at the first of the two samples that are decoded; the code draws a third for it.
- An unknown label (-1) is in no loss: not in the mixture, not in the decodings' terms, neither for nor against in the
  contrast. A picture without a positive label has no prior (the code divides by 0); it trains by its feature decodings.
- Log variances are kept in [-10, 10], so that nothing overflows.
- The paper has no map. Ours is the class activation of the evaluation's network, exactly linearised at its picture:
  c_ln = J_l . x_n with J_l = dlogit_l / dx, and the softmax over positions that GAP has. It shows what the pooled
  classifier responds to; where to look was never learnt.

Checked against the code (run beside ours): logits, and each loss with its noise and without dropout.

Shapes: B images, C channels, N = H x W positions, L labels, D latent size, E size of the label embeddings.
"""
# ruff: noqa: N803, N806 - shape suffixes

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import Float32Linear
from ibca_lightning.heads.peers.latent.rectified_layers import RectifiedLayers, class_activation, normalise_pull_back
from ibca_lightning.losses import masked_bce, masked_mean

LOG_VARIANCE_BOUND = 10.0
DECODER_SLOPE = 0.01  # of its last rectifier


class CGMVAEHead(Head):
    """z ~ N(m(x), s²(x)); logit_l = e_l . u / ||u|| with u = MLP([x, z]) and e_l the label's embedding.

    Losses, all divided by L / 2, with the pictures and labels that are known:

    - "kl": log q(z|x) - log (1/|y|) sum_{l in y} N(z; m_l, s_l²) at one sample of z; m_l, s_l from a network on the
      label's own embedding.
    - "label": binary cross-entropy of the logits at z = mean of m_l over the positive labels.
    - "sample": that of the logits at a second sample of z.
    - "contrast": -log softmax_l of the logits at the positive labels, of the feature and the label decodings.

    At evaluation z is m(x), and no label is read.

    Args:
        channels: C of the feature map.
        num_labels: L.
        latent: D >= 1.
        embedding: E >= 1.
        kl: Weight >= 0 of the KL; 0 leaves the noise.
        contrast: Weight >= 0 of the contrast.
        dropout: In [0, 1), behind each layer of both encoders.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import CGMVAEHead
        >>> output = CGMVAEHead(channels=8, num_labels=3)(torch.rand(2, 8, 6, 5), labels=torch.tensor([[1, 0, -1]] * 2))
        >>> sorted(output.losses)
        ['contrast', 'kl', 'label', 'sample']
    """

    def __init__(
        self, channels: int, num_labels: int, latent: int = 64, embedding: int = 2048, kl: float = 6.0,
        contrast: float = 1.0, dropout: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__(channels, num_labels)
        self.require(1, latent=latent, embedding=embedding)
        self.require(0, kl=kl, contrast=contrast)
        self.require(0, below=1, dropout=dropout)
        self.kl_weight, self.contrast_weight = kl, contrast
        self.encode = RectifiedLayers((channels, 256, 512, 256), dropout=dropout)
        self.mean, self.log_variance = Float32Linear(256, latent), Float32Linear(256, latent)
        self.encode_label = RectifiedLayers((num_labels, embedding, 512, 256), dropout=dropout)
        self.label_mean, self.label_log_variance = Float32Linear(256, latent), Float32Linear(256, latent)
        self.decode = RectifiedLayers((channels + latent, 512, embedding), slopes=(0.0, DECODER_SLOPE))

    @property
    def embeddings(self) -> Tensor:
        """Those of the labels (E, L): the weights that the label encoder reads a label with."""
        first = self.encode_label.layers[0]
        assert isinstance(first, nn.Linear)
        return first.weight.float()

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; losses are "kl", "label", "sample" and "contrast"."""
        x_BC = features.flatten(2).mean(-1, dtype=torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            mean_BD, log_variance_BD = self._posterior(x_BC)
            z_BD = self._sample(mean_BD, log_variance_BD)
            logits = self._logits(x_BC, z_BD)
            losses = {}
            if self.training and labels is not None:
                log_q_B = gaussian_log_density(z_BD, mean_BD, log_variance_BD)
                second_BL = self._logits(x_BC, self._sample(mean_BD, log_variance_BD))
                losses = self._losses(x_BC, z_BD, log_q_B, logits, second_BL, labels)
            with torch.no_grad():
                maps_BLN = class_activation(self._jacobian(x_BC), features)
        attention = maps_BLN.softmax(-1).reshape(-1, *logits.shape[1:], *features.shape[-2:])
        return HeadOutput(logits, attention, losses)

    def _posterior(self, x_BC: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.encode(x_BC)
        return self.mean(hidden), _bounded(self.log_variance(hidden))

    def _sample(self, mean_BD: Tensor, log_variance_BD: Tensor) -> Tensor:
        if not self.training:
            return mean_BD
        return mean_BD + (0.5 * log_variance_BD).exp() * torch.randn_like(mean_BD)

    def _logits(self, x_BC: Tensor, z_BD: Tensor) -> Tensor:
        u_BE = self.decode(torch.cat([x_BC, z_BD], dim=-1))
        return F.normalize(u_BE, dim=-1) @ self.embeddings

    def _losses(
        self, x_BC: Tensor, z_BD: Tensor, log_q_B: Tensor, logits_BL: Tensor, second_BL: Tensor, labels_BL: Tensor
    ) -> dict[str, Tensor]:
        hidden = self.encode_label(torch.eye(self.num_labels, device=x_BC.device))
        mean_LD, log_variance_LD = self.label_mean(hidden), _bounded(self.label_log_variance(hidden))
        positive_BL = labels_BL == 1
        has_positive_B = positive_BL.any(-1)
        share_BL = positive_BL / positive_BL.sum(-1, keepdim=True).clamp(min=1)
        by_labels_BL = self._logits(x_BC, share_BL @ mean_LD)

        # A picture without a positive label has no label decoding: its labels there count as unknown.
        truth_BL = torch.where(has_positive_B[:, None], labels_BL, -1)
        losses = {"label": masked_bce(by_labels_BL, truth_BL), "sample": masked_bce(second_BL, labels_BL)}
        scale = 2 / self.num_labels
        log_prior_B = positive_mixture_log_density(z_BD, mean_LD, log_variance_LD, positive_BL)
        losses["kl"] = self.kl_weight * scale * masked_mean(log_q_B - log_prior_B, has_positive_B)
        terms_2B = torch.cat([label_contrast(x, labels_BL) for x in (by_labels_BL, logits_BL)])
        losses["contrast"] = self.contrast_weight * scale * masked_mean(terms_2B, has_positive_B.repeat(2))
        return losses

    def _jacobian(self, x_BC: Tensor) -> Tensor:
        """The logits' slopes by the pooled features (B, L, C), of the network without dropout and noise."""
        hidden, pull_back_encoder = self.encode.linearise(x_BC)
        mean_BD = self.mean(hidden)
        u_BE, pull_back_decoder = self.decode.linearise(torch.cat([x_BC, mean_BD], dim=-1))
        direction_BLE = normalise_pull_back(u_BE, self.embeddings.T.expand(x_BC.shape[0], -1, -1))
        slopes = pull_back_decoder(direction_BLE)
        by_x_BLC, by_z_BLD = slopes[..., : self.channels], slopes[..., self.channels :]
        return by_x_BLC + pull_back_encoder(by_z_BLD @ self.mean.weight.float())


def _bounded(log_variance: Tensor) -> Tensor:
    return log_variance.clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)


def gaussian_log_density(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of diagonal Gaussians: the three (..., D) are broadcast and summed over D."""
    squares = (z - mean).square() * (-log_variance).exp()
    return -0.5 * (log_variance + squares + math.log(2 * math.pi)).sum(-1)


def positive_mixture_log_density(z_BD: Tensor, mean_LD: Tensor, log_variance_LD: Tensor, positive_BL: Tensor) -> Tensor:
    """Log of the mean of N(z; m_l, s_l²) over the positive labels, (B,).

    A picture without a positive label gets the mixture of all labels, a finite value for the caller to leave out: that
    of none would be -inf, and its gradient NaN.
    """
    allowed_BL = positive_BL | ~positive_BL.any(-1, keepdim=True)
    density_BL = gaussian_log_density(z_BD[:, None], mean_LD, log_variance_LD)
    joint_B = density_BL.masked_fill(~allowed_BL, -math.inf).logsumexp(-1)
    return joint_B - allowed_BL.sum(-1).log()


def label_contrast(logits_BL: Tensor, labels_BL: Tensor) -> Tensor:
    """Minus the mean, over the positive labels, of log softmax_l of the logits over the labels that are known.

    (B,); 0 for a picture without a positive label.
    """
    positive_BL = labels_BL == 1
    unknown_BL = (labels_BL < 0) & positive_BL.any(-1, keepdim=True)  # all -inf would be NaN
    log_share_BL = logits_BL.masked_fill(unknown_BL, -math.inf).log_softmax(-1)
    total_B = torch.where(positive_BL, log_share_BL, 0.0).sum(-1)
    return -total_B / positive_BL.sum(-1).clamp(min=1)
