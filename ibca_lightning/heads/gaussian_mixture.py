"""The Gaussian-mixture bottleneck: encoder, mixture prior restricted by the labels, its KL, evidence for each class.

Shapes: B images, C channels, D latent size, N = H x W positions, L labels, K background components, M = L + K.
The classes come first along M. Everything here is meant to run in float32: the quadratic form is expanded, because
(B, L, N, D) differences would not fit into memory, and an expanded form cancels badly in half precision.
"""
# ruff: noqa: N803, N806 - shape suffixes

import math

import torch
from torch import Tensor, nn

from ibca_lightning.heads.layers import positionwise

LOG_STD_BOUND = 3.0  # standard deviations between 0.05 and 20


def soft_clamp(x: Tensor, bound: float = LOG_STD_BOUND) -> Tensor:
    """Bring x smoothly into (-bound, bound), with slope 1 at 0: a hard clamp would end the gradient."""
    return bound * torch.tanh(x / bound)


def gaussian_log_density(z_BDN: Tensor, mean_MD: Tensor, log_std_MD: Tensor) -> Tensor:
    """Log density of M diagonal Gaussians at every position (B, M, N), by one matrix product.

    log N(z; m, s²) = -½ sum_d [z²/s² - 2 z m/s² + m²/s² + 2 log s + log 2π]; no (B, M, N, D) tensor is formed.
    """
    precision = (-2 * log_std_MD).exp()
    terms = torch.cat([precision, -2 * mean_MD * precision], dim=1)  # (M, 2D)
    powers = torch.cat([z_BDN.square(), z_BDN], dim=1)  # (B, 2D, N)
    constant_M = (mean_MD.square() * precision + 2 * log_std_MD).sum(1) + mean_MD.shape[1] * math.log(2 * math.pi)
    return -0.5 * (positionwise(terms, powers) + constant_M[:, None])


def evidence_against_background(joint_BMN: Tensor, num_labels: int) -> Tensor:
    """Compare each class with the background: e_ln = log pi_l N(z_n; l) - log sum_k pi_k N(z_n; k), (B, L, N).

    Args:
        joint_BMN: log pi_m + log N(z_n; m_m, s_m²), the classes first.
        num_labels: L.
    """
    return joint_BMN[:, :num_labels] - joint_BMN[:, num_labels:].logsumexp(1, keepdim=True)


def restricted_log_prior(joint_BMN: Tensor, log_weight_M: Tensor, labels_BL: Tensor) -> Tensor:
    """Log density of the mixture that a picture's labels allow: its classes that are not 0, and the background.

    The weights are normalised over the components allowed. A picture without any positive label is all background.

    Args:
        joint_BMN: log pi_m + log N(z_n; m_m, s_m²), the classes first.
        log_weight_M: log pi_m, up to a constant.
        labels_BL: (B, L) in {0, 1, -1}; an unknown class stays in the mixture.

    Returns:
        log p(z_n|y) (B, N).
    """
    classes_BL = labels_BL != 0
    background_BK = torch.ones_like(classes_BL[:, :1]).expand(-1, joint_BMN.shape[1] - classes_BL.shape[1])
    allowed_BM = torch.cat([classes_BL, background_BK], dim=1)
    # -inf is safe: at least the background stays in every log-sum-exp.
    joint = joint_BMN.masked_fill(~allowed_BM[:, :, None], -math.inf).logsumexp(1)
    total = log_weight_M.expand_as(allowed_BM).masked_fill(~allowed_BM, -math.inf).logsumexp(1)
    return joint - total[:, None]


class GaussianEncoder(nn.Module):
    """q(z_n|x_n) = N(mu(x_n), diag sigma²(x_n)), two linear maps; not variational, there is no sigma, and z is mu."""

    def __init__(self, channels: int, latent: int, variational: bool) -> None:
        super().__init__()
        self.mean = nn.Linear(channels, latent)
        self.log_std = nn.Linear(channels, latent) if variational else None
        if self.log_std is not None:
            nn.init.normal_(self.log_std.weight, std=0.01)
            nn.init.constant_(self.log_std.bias, -1.0)

    def forward(self, x_BCN: Tensor) -> tuple[Tensor, Tensor | None]:
        """Encode (B, C, N) into means and log standard deviations (B, D, N); the latter None if not variational."""
        mean = _linear(self.mean, x_BCN)
        return mean, None if self.log_std is None else soft_clamp(_linear(self.log_std, x_BCN))


class GaussianMixture(nn.Module):
    """p(z) = sum_l pi_l p(z|l) + sum_k pi_k N(m_k, s_k²), p(z|l) = 1/S sum_s N(m_ls, s_ls²), all parameters learnt.

    S > 1 looks of a class: the idea of SCAN (2022); equal ones are S = 1. They lie behind each other, class by class.

    Args:
        num_labels: L.
        background: K >= 1.
        latent: D.
        class_components: S >= 1.
        init_std: Standard deviation of the initial means. Small (0.02 to 0.05), so that the evidence is near 0 and the
            attention near uniform: means of 0.5 freeze the attention on random places.
        class_weights: Learn the classes' pi_l. Attention does not depend on them (softmax over positions), only the
            bottleneck does, so that without it they do not exist and count as 1.
    """

    class_log_weight: Tensor

    def __init__(
        self,
        num_labels: int,
        background: int,
        latent: int,
        class_components: int = 1,
        init_std: float = 0.05,
        class_weights: bool = True,
    ) -> None:
        super().__init__()
        self.num_labels, self.class_components = num_labels, class_components
        gaussians = num_labels * class_components + background
        self.mean = nn.Parameter(torch.empty(gaussians, latent))
        self.raw_log_std = nn.Parameter(torch.zeros(gaussians, latent))
        self.background_log_weight = nn.Parameter(torch.zeros(background))
        nn.init.normal_(self.mean, std=init_std)
        if class_weights:
            self.class_log_weight = nn.Parameter(torch.zeros(num_labels))
        else:
            self.register_buffer("class_log_weight", torch.zeros(num_labels), persistent=False)

    @property
    def log_weight(self) -> Tensor:
        """Log pi (M,), up to a constant that cancels wherever it is used."""
        return torch.cat([self.class_log_weight, self.background_log_weight]).float()

    def joint(self, z_BDN: Tensor) -> Tensor:
        """Log pi_m + log p(z_n|m): (B, D, N) to (B, M, N)."""
        density = gaussian_log_density(z_BDN, self.mean.float(), soft_clamp(self.raw_log_std.float()))
        if self.class_components > 1:
            of_classes = self.num_labels * self.class_components
            looks = density[:, :of_classes].reshape(len(density), self.num_labels, self.class_components, -1)
            classes = looks.logsumexp(2) - math.log(self.class_components)
            density = torch.cat([classes, density[:, of_classes:]], dim=1)
        return density + self.log_weight[:, None]


def bottleneck_loss(log_std_BDN: Tensor, log_prior_BN: Tensor) -> Tensor:
    """KL(q(z|x) || p(z|y)), mean over pictures and positions; E_q[log q] in closed form, log p at one sample: unbiased.

    Args:
        log_std_BDN: Log standard deviations of q.
        log_prior_BN: log p(z_n|y) at a sample of q.
    """
    negative_entropy_BN = -(log_std_BDN + 0.5 * (1 + math.log(2 * math.pi))).sum(1)
    return (negative_entropy_BN - log_prior_BN).mean()


def _linear(layer: nn.Linear, x_BCN: Tensor) -> Tensor:
    """Apply a linear layer along the channels of (B, C, N), in float32 whatever the layer's own precision."""
    return positionwise(layer.weight.float(), x_BCN) + layer.bias.float().unsqueeze(-1)
