"""IBCA: information bottleneck-based causal attention (MICCAI 2025).

The paper publishes no equation, hyper-parameter or code; its abstract makes the claims that `IBCAHead` quotes, and all
the maths is ours.

Shapes: B images, C channels of the projected map, D latent size, N = H x W positions, L labels, A heads, K background
components, M = L + K.
"""
# ruff: noqa: N803, N806, N815 - shape suffixes

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ibca_lightning.errors import InputError
from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.class_attention import ClassQueries
from ibca_lightning.heads.class_evidence import unit_class_evidence
from ibca_lightning.heads.contrast import background_attention, contrastive_loss
from ibca_lightning.heads.gaussian_mixture import (
    GaussianEncoder,
    GaussianMixture,
    bottleneck_loss,
    evidence_against_background,
    restricted_log_prior,
)
from ibca_lightning.heads.intervention import effect_loss, spurious_attention
from ibca_lightning.losses import masked_mean


class _Latent(NamedTuple):
    """z and what was computed from it on the way."""

    log_std_BDN: Tensor | None
    joint_BMN: Tensor


class IBCAHead(Head):
    """Class attention learnt through a Gaussian-mixture bottleneck, made causal step by step.

    Claims of the paper's abstract, and the line of maths (ours) that stands for each:

    1. "class-specific attention as a mixture of causal, spurious and noisy factors":
       every position comes from one of the classes (causal) or of K background components, which take what belongs to
       no class (noise) and what appears without the class too (spurious):
       p(z) = sum_l pi_l N(m_l, s_l²) + sum_k pi_k N(m_k, s_k²).
    2. "Gaussian mixture multi-label spatial attention", learnt by a variational information bottleneck:
       q(z_n|x_n) = N(mu(x_n), sigma²(x_n));
       loss `bottleneck` = beta mean_n KL(q(z_n|x_n) || p(z_n|y)), where p(z|y) keeps the background and the classes
       whose label is not 0;
       e_ln = log pi_l N(z_n; m_l, s_l²) - log sum_k pi_k N(z_n; m_k, s_k²);  S_l = softmax_n e_ln.
    3. "gradually ... aligning multi-head attention with the Gaussian-mixture spatial attention":
       A_l = mean_h softmax_n(q_lh . k_nh / sqrt(d_h) + alignment t e_ln), t from 0 to 1 over the first `gradual` part
       of training; with `alignment_loss` > 0 also loss `alignment` = alignment_loss t KL(stopgrad S_l || A_l).
    4. "contrastive enhancement-based causal intervention":
       A_spurious ∝ A (1 - S / max S);
       loss `intervention` = weight t BCE(sum_n (A - A_spurious)_ln stopgrad c_ln, y): looking at the cause must make
       the difference;
       loss `contrast` = weight t InfoNCE: the feature under A against the same class under S in other pictures, and
       away from the other classes, the spurious and the background pooling.

    Ours without a counterpart in the abstract: x = GELU(1x1 convolution); "what" apart from "where", a scalar evidence
    c_ln = w_l . x_n / ||w_l|| that only A pools: logit_l = mean_weight mean_n c_ln + sum_n A_ln c_ln + b_l.

    An unknown label (-1) leaves its class in the prior of the picture and carries no other gradient. At evaluation z is
    mu, so the head is deterministic. All but the projection runs in float32, also under autocast.

    Each part is off by one argument, and parameters that no other part needs then do not exist (with the mixture
    attention off, the bottleneck still learns encoder and mixture):

    | argument | without it |
    |---|---|
    | `bottleneck=0` | z = mu, no KL, no sigma, no pi_l |
    | `mixture_attention=False` | A is the multi-head attention alone, and S is softmax_n c_ln |
    | `num_heads=0` | A_l = softmax_n(t e_ln), the mixture attention itself |
    | `alignment=0` | A is the multi-head attention alone; S is learnt by the bottleneck only |
    | `contrast=0`, `intervention=0`, `alignment_loss=0` | the loss is gone |
    | `gradual=0` | t = 1 from the start |
    | `mean_weight=0` | the attended evidence alone |
    | `width=0` | no projection: x is the feature map |

    Exact reductions: `mixture_attention=False, num_heads=0, mean_weight=1` is CSRA with lambda = T = 1 on x, with
    `mean_weight=0` MIL attention with unit weights; `num_heads=0` at progress 0 is GAP with the weights
    (1 + mean_weight) w_l / ||w_l||.

    Args:
        channels: Channels of the feature map.
        num_labels: L.
        width: C, channels after the projection; 0 for no projection.
        latent: D.
        background: K, background components, >= 1.
        num_heads: Heads of the class attention, a divisor of the width; 0 for none.
        mixture_attention: Attend by the mixture's evidence.
        bottleneck: beta >= 0 of the bottleneck; 0.001 is harmless or helps, 0.01 starves the head.
        alignment: Strength >= 0 of the evidence inside the multi-head softmax.
        alignment_loss: Weight >= 0 of the alignment as a loss. Off: beside the evidence inside the softmax, or in its
            place, it blunted the attention in our trials.
        contrast: Weight >= 0 of the contrastive loss.
        intervention: Weight >= 0 of the effect loss.
        gradual: Part of training in [0, 1] over which t rises from 0 to 1.
        mean_weight: Weight of the mean evidence. It helps diffuse lesions and lets a spurious companion speak without
            being attended to.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(
        self,
        channels: int,
        num_labels: int,
        width: int = 256,
        latent: int = 16,
        background: int = 8,
        num_heads: int = 4,
        mixture_attention: bool = True,
        bottleneck: float = 1e-3,
        alignment: float = 1.0,
        alignment_loss: float = 0.0,
        contrast: float = 0.01,
        intervention: float = 0.05,
        gradual: float = 0.5,
        mean_weight: float = 0.0,
    ) -> None:
        super().__init__(channels, num_labels)
        weights = {
            "bottleneck": bottleneck,
            "alignment": alignment,
            "alignment_loss": alignment_loss,
            "contrast": contrast,
            "intervention": intervention,
            "gradual": gradual,
            "mean_weight": mean_weight,
        }
        for name, value in weights.items():
            if value < 0:
                raise InputError(f"IBCAHead's {name} >= 0", value, "0 turns it off")
        for name, count, least in (("width", width, 0), ("num_heads", num_heads, 0), ("latent", latent, 1)):
            if count < least:
                raise InputError(f"IBCAHead's {name} >= {least}", count, "correct it")
        if gradual > 1:
            raise InputError("IBCAHead's gradual in [0, 1]", gradual, "it is a part of training")
        if background < 1:
            raise InputError("IBCAHead's background >= 1", background, "a picture without a label needs a component")

        self.bottleneck_weight, self.contrast_weight, self.intervention_weight = bottleneck, contrast, intervention
        self.alignment, self.alignment_loss = alignment, alignment_loss
        self.gradual, self.mean_weight = gradual, mean_weight

        c = width or channels
        self.project = nn.Sequential(nn.Conv2d(channels, c, 1), nn.GELU()) if width else nn.Identity()
        self.weight = nn.Parameter(torch.empty(num_labels, c))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        nn.init.normal_(self.weight, std=c**-0.5)
        self.queries = ClassQueries(c, num_labels, num_heads) if num_heads else None

        # Beside a multi-head attention that is not aligned with it, nothing but the bottleneck trains the mixture.
        self.prior_in_attention = mixture_attention and (self.queries is None or alignment > 0)
        learnt = self.prior_in_attention or bottleneck > 0
        self.mixture_attention = mixture_attention and learnt
        self.encoder = GaussianEncoder(c, latent, variational=bottleneck > 0) if learnt else None
        self.mixture = GaussianMixture(num_labels, background, latent, class_weights=bottleneck > 0) if learnt else None

    @property
    def schedule(self) -> Tensor:
        """How far the intervention has been taken: the t of the class's docstring, a scalar in [0, 1]."""
        if self.gradual == 0:
            return torch.ones_like(self.progress)
        return (self.progress / self.gradual).clamp(max=1.0)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; losses are "bottleneck", "alignment", "contrast", "intervention", those that are on."""
        x_BCN = self.project(features).flatten(2)
        with torch.autocast(x_BCN.device.type, enabled=False):
            x_BCN = x_BCN.float()
            evidence_BLN = unit_class_evidence(x_BCN, self.weight.float())
            latent = self._encode(x_BCN)
            score_BLN = self._reference_scores(latent, evidence_BLN)
            attention_BLN = self._attend(x_BCN, score_BLN)
            logits = self.mean_weight * evidence_BLN.mean(-1) + (attention_BLN * evidence_BLN).sum(-1)
            logits = logits + self.bias.float()
            losses = {}
            if self.training and labels is not None:
                losses = self._losses(x_BCN, latent, evidence_BLN, score_BLN.softmax(-1), attention_BLN, labels)
        attention = attention_BLN.reshape(-1, *logits.shape[1:], *features.shape[-2:])
        contribution_BLN = (self.mean_weight / evidence_BLN.shape[-1] + attention_BLN) * evidence_BLN
        return HeadOutput(logits, attention, losses, contribution_BLN.view_as(attention))

    def _encode(self, x_BCN: Tensor) -> _Latent | None:
        """One sample of z in training, its mean otherwise, and its density under every component."""
        if self.encoder is None or self.mixture is None:
            return None
        z_BDN, log_std_BDN = self.encoder(x_BCN)
        if self.training and log_std_BDN is not None:
            z_BDN = z_BDN + log_std_BDN.exp() * torch.randn_like(z_BDN)
        return _Latent(log_std_BDN, self.mixture.joint(z_BDN))

    def _reference_scores(self, latent: _Latent | None, evidence_BLN: Tensor) -> Tensor:
        """Scores whose softmax is S: the mixture's evidence, or the class evidence where there is no mixture."""
        if latent is None or not self.mixture_attention:
            return evidence_BLN
        return evidence_against_background(latent.joint_BMN, self.num_labels)

    def _attend(self, x_BCN: Tensor, score_BLN: Tensor) -> Tensor:
        """A (B, L, N)."""
        if self.queries is None:
            # Without a mixture this is CSRA's attention, which no schedule concerns.
            return (self.schedule * score_BLN if self.mixture_attention else score_BLN).softmax(-1)
        scores_BALN: Tensor = self.queries(x_BCN)
        if self.prior_in_attention:
            scores_BALN = scores_BALN + (self.alignment * self.schedule * score_BLN).unsqueeze(1)
        return scores_BALN.softmax(-1).mean(1)

    def _losses(
        self,
        x_BCN: Tensor,
        latent: _Latent | None,
        evidence_BLN: Tensor,
        reference_BLN: Tensor,
        attention_BLN: Tensor,
        labels_BL: Tensor,
    ) -> dict[str, Tensor]:
        """The head's own losses, weighted."""
        losses = {}
        if latent is not None and latent.log_std_BDN is not None and self.mixture is not None:
            prior_BN = restricted_log_prior(latent.joint_BMN, self.mixture.log_weight, labels_BL)
            losses["bottleneck"] = self.bottleneck_weight * bottleneck_loss(latent.log_std_BDN, prior_BN)
        if self.alignment_loss > 0 and self.queries is not None and self.mixture_attention:
            loss = alignment_loss(attention_BLN, reference_BLN, labels_BL)
            losses["alignment"] = self.alignment_loss * self.schedule * loss
        if self.contrast_weight == 0 and self.intervention_weight == 0:
            return losses
        spurious_BLN = spurious_attention(attention_BLN, reference_BLN)
        if self.intervention_weight > 0:
            loss = effect_loss(attention_BLN, spurious_BLN, evidence_BLN, labels_BL)
            losses["intervention"] = self.intervention_weight * self.schedule * loss
        if self.contrast_weight > 0:
            # Features are only read: the loss moves attention, not what the features mean.
            x_BNC = x_BCN.detach().transpose(1, 2)
            background_BN = background_attention(reference_BLN.detach(), labels_BL)
            loss = contrastive_loss(
                attention_BLN @ x_BNC,
                reference_BLN.detach() @ x_BNC,
                spurious_BLN.detach() @ x_BNC,
                (background_BN.unsqueeze(1) @ x_BNC).squeeze(1),
                labels_BL,
            )
            losses["contrast"] = self.contrast_weight * self.schedule * loss
        return losses


def alignment_loss(attention_BLN: Tensor, reference_BLN: Tensor, labels_BL: Tensor) -> Tensor:
    """KL(S || A) of the present classes; S teaches and is not moved.

    Args:
        attention_BLN: A, maps that sum to 1.
        reference_BLN: S, maps that sum to 1.
        labels_BL: (B, L) in {0, 1, -1}.

    Returns:
        A scalar, mean over present (picture, class) pairs.
    """
    reference = reference_BLN.detach()
    tiny = torch.finfo(reference.dtype).tiny
    ratio = reference.clamp(min=tiny).log() - attention_BLN.clamp(min=tiny).log()
    return masked_mean((reference * ratio).sum(-1), labels_BL == 1)
