"""The Gaussian-mixture bottleneck: encoder, mixture prior restricted by the labels, its KL, evidence for each class.

Shapes: B images, C channels, D latent size, N = H x W positions, L labels, K background components, M = L + K.
The classes come first along M. Everything here is meant to run in float32: the quadratic form is expanded, because
(B, N, L, D) differences would not fit into memory, and an expanded form cancels badly in half precision.
"""
# ruff: noqa: N803, N806 - shape suffixes

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOG_STD_BOUND = 3.0  # standard deviations between 0.05 and 20


def soft_clamp(x: Tensor, bound: float = LOG_STD_BOUND, slope: float = 1.0) -> Tensor:
    """Bring x smoothly into (-bound, bound), times a slope, which it has at 0: a hard clamp would end the gradient."""
    return slope * bound * torch.tanh(x / bound)


def gaussian_log_density(z_BND: Tensor, mean_MD: Tensor, log_precision_MD: Tensor) -> Tensor:
    """Log density of M diagonal Gaussians at every position (B, N, M), by one matrix product, without -D/2 log 2π.

    That constant is in every log density here and falls out wherever two are compared. With the logarithm of
    precisions r = -2 log s: sum_d [-z² e^r / 2 + z m e^r - m² e^r / 2 + r / 2]; no (B, N, M, D) tensor is formed.
    """
    precision = log_precision_MD.exp()
    slope = mean_MD * precision
    constant_M = 0.5 * torch.addcmul(log_precision_MD, mean_MD, slope, value=-1).sum(1)
    return F.linear(torch.cat([z_BND.square(), z_BND], -1), torch.cat([-0.5 * precision, slope], 1), constant_M)


def log_sum_exp(x: Tensor) -> Tensor:
    """Over the last axis, kept, where one value at least is finite: half the kernels of torch's, which allows none."""
    largest = x.detach().amax(-1, keepdim=True)
    return (x - largest).exp().sum(-1, keepdim=True).log() + largest


def evidence_against_background(density_BNM: Tensor, background_log_weight_K: Tensor) -> Tensor:
    """Compare each class with the background: e_ln = log N(z_n; l) - log sum_k pi_k N(z_n; k), (B, N, L).

    Args:
        density_BNM: log N(z_n; m_m, s_m²), the classes first.
        background_log_weight_K: log pi_k.
    """
    background = len(background_log_weight_K)
    classes_BNL, background_BNK = torch.split(density_BNM, [density_BNM.shape[-1] - background, background], -1)
    return classes_BNL - log_sum_exp(background_BNK + background_log_weight_K)


def restricted_log_prior(density_BNM: Tensor, log_weight_M: Tensor, labels_BL: Tensor) -> Tensor:
    """Log density of the mixture that a picture's labels allow: its classes that are not 0, and the background.

    The weights are normalised over the components allowed. A picture without any positive label is all background.

    Args:
        density_BNM: log N(z_n; m_m, s_m²), the classes first.
        log_weight_M: log pi_m, up to a constant.
        labels_BL: (B, L) in {0, 1, -1}; an unknown class stays in the mixture.

    Returns:
        log p(z_n|y) (B, N).
    """
    left_out_BM = F.pad(labels_BL == 0, (0, len(log_weight_M) - labels_BL.shape[1]))
    # -inf is safe: at least the background stays in every sum.
    weight_BM = torch.where(left_out_BM, -math.inf, log_weight_M).log_softmax(-1)
    return log_sum_exp(density_BNM + weight_BM[:, None]).squeeze(-1)


class GaussianEncoder(nn.Module):
    """q(z_n|x_n) = N(mu(x_n), diag sigma²(x_n)), two linear maps; not variational, there is no sigma, and z is mu."""

    def __init__(self, channels: int, latent: int, variational: bool) -> None:
        super().__init__()
        self.mean = nn.Linear(channels, latent)
        self.log_std = nn.Linear(channels, latent) if variational else None
        if self.log_std is not None:
            nn.init.normal_(self.log_std.weight, std=0.01)
            nn.init.constant_(self.log_std.bias, -1.0)

    def weights(self) -> list[Tensor]:
        """Of its linear maps, (D, C) each in float32: for one product with what else reads the positions."""
        return [layer.weight.float() for layer in (self.mean, self.log_std) if layer is not None]

    def forward(self, mean_BND: Tensor, log_std_BND: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Of the products with `weights`, means and log standard deviations; the latter None if not variational."""
        if self.log_std is not None and log_std_BND is not None:
            log_std_BND = soft_clamp(log_std_BND + self.log_std.bias.float())
        return mean_BND + self.mean.bias.float(), log_std_BND


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
        self.num_labels, self.background, self.class_components = num_labels, background, class_components
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

    def forward(self, z_BND: Tensor) -> Tensor:
        """Log p(z_n|m), without its weight and -D/2 log 2π: (B, N, D) to (B, N, M)."""
        density = gaussian_log_density(z_BND, self.mean.float(), soft_clamp(self.raw_log_std.float(), slope=-2.0))
        if self.class_components > 1:
            looks, background = torch.split(density, [density.shape[-1] - self.background, self.background], -1)
            looks = looks.reshape(*looks.shape[:2], self.num_labels, self.class_components)
            density = torch.cat([log_sum_exp(looks).squeeze(-1) - math.log(self.class_components), background], -1)
        return density


def bottleneck_loss(log_std_BND: Tensor, log_prior_BN: Tensor) -> Tensor:
    """KL(q(z|x) || p(z|y)), mean over pictures and positions; E_q[log q] in closed form, log p at one sample: unbiased.

    Args:
        log_std_BND: Log standard deviations of q.
        log_prior_BN: log p(z_n|y) at a sample of q, without -D/2 log 2π, as which q's is without it here.
    """
    # Sums, not means: a gradient that is one number is written out nowhere.
    return (log_std_BND.sum() + log_prior_BN.sum()) / -log_prior_BN.numel() - 0.5 * log_std_BND.shape[-1]
