"""IBCA: information bottleneck-based causal attention (MICCAI 2025).

We had the paper's abstract, not its method section, and no code: the repository that the paper names (rabbittsui/IBCA)
held a title alone. The abstract makes the claims that `IBCAHead` quotes, and all the maths is ours.

Shapes: B images, C channels of the projected map, D latent size, N = H x W positions, L labels, A heads, K background
components, M = L + K.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.attended_feature import AttendedFeatureClassifier
from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.class_evidence import ClassEvidence, ClassQueries
from ibca_lightning.heads.contrast import compared_maps, contrastive_loss
from ibca_lightning.heads.gaussian_mixture import (
    GaussianEncoder,
    GaussianMixture,
    bottleneck_loss,
    evidence_against_background,
    restricted_log_prior,
)
from ibca_lightning.heads.layers import Conv1x1
from ibca_lightning.system.errors import InputError


class IBCAHead(Head):
    """Class attention learnt through a Gaussian-mixture bottleneck, made causal step by step.

    x = f + GELU(f'), f = GELU(1x1 convolution of the map) and f' another of f: one projection with a residual layer.

    **What**: c_aln = s_al w_al . x_n / ||w_al||, evidence of A kinds for every class, position by position.
    **Where**: A_aln = softmax_n(q_al . x_n + evidence_attention c_aln + alignment t e_ln), maps that follow a query,
    the evidence itself, and the mixture; the map of a class is their mean A_l.
    **Logit**: mean_a sum_n A_aln c_aln + g_l(sum_n A_ln x_n) + b_l, where g is a hidden layer shared by all classes.

    Claims of the paper's abstract, and the line of maths (ours) that stands for each:

    1. "class-specific attention as a mixture of causal, spurious and noisy factors": every position comes from one of
       the classes (causal) or of K background components, which take what belongs to no class (noise) and what appears
       without the class as often as with it (spurious): p(z) = sum_l pi_l N(m_l, s_l²) + sum_k pi_k N(m_k, s_k²).
    2. "Gaussian mixture multi-label spatial attention", learnt by a variational information bottleneck:
       q(z_n|x_n) = N(mu(x_n), sigma²(x_n)); loss `bottleneck` = beta mean_n KL(q(z_n|x_n) || p(z_n|y)), where p(z|y)
       keeps the background and the classes whose label is not 0;
       e_ln = log N(mu_n; m_l, s_l²) - log sum_k pi_k N(mu_n; m_k, s_k²), in which log pi_l, the same at every position,
       would change nothing. The loss takes a sample of z and the attention its mean: drawn from the sample, attention
       found the cause less often.
    3. "gradually ... aligning multi-head attention with the Gaussian-mixture spatial attention": e inside the
       softmax of A, with t rising from 0 to 1 over the first `gradual` part of training.
    4. "contrastive enhancement-based causal intervention": S_l = softmax_n mean_a c_aln is where the evidence itself
       lies, A_spurious ∝ A (1 - S / max S) what is attended to beside it. Under do(A = A_spurious) a class would pool
       its companions; loss `contrast` = contrast t p_l InfoNCE_l, a mean over the classes present in each picture: the
       feature pooled under A against the same class under S in *other* pictures, and away from the other classes, from
       do(A = A_spurious), and from the picture's background. p_l, the probability that the head gives a present class
       just then, keeps back the classes that it does not find yet, whose evidence is no place to gather at.
       The gradient flows through A alone: what is pooled, S and p are only read. What it does is to gather the
       attention on what the evidence favours: with other parts that is the cause more often (the ablation in
       experiments/README.md), but a mark that recurs as the cause does looks the same to it, and where the mark is the
       stronger evidence it can be gathered instead. The training term `NoiseIntervention` lessens that,
       on two sets of three at the cost of the maps.

    **Assumption.** No loss here can tell a cause from a companion that is nearly always there: a mixture rightly takes
    a mark that comes with 95 % of the cases as evidence for them. What makes the cause identifiable is that it predicts
    the label (almost) without exception and the mark only mostly, and that some training pictures have one of the two.

    An unknown label (-1) leaves its class in the prior of the picture and carries no other gradient. At evaluation
    nothing is drawn or dropped. All but the projection runs in float32, also under autocast. These parts are off by one
    argument each, and their parameters then do not exist:

    | argument | without it |
    |---|---|
    | `alignment=0` | no mixture and no bottleneck: A follows queries and evidence alone |
    | `bottleneck=0` | no KL, no sigma, no pi_l: the mixture learns from the labels through the attention alone |
    | `contrast=0` | the loss is gone |
    | `intervention=False` | the contrast knows no do(A = A_spurious) |
    | `evidence_attention=0` | where and what wholly apart |
    | `hidden=0` | no classifier on the attended feature: the logit is what its map sums |
    | `gradual=0` | t = 1 from the start |

    Args:
        channels: Channels of the feature map.
        num_labels: L.
        width: C, channels after the projection.
        num_heads: A, kinds of evidence of a class, each with an attention of its own.
        evidence_attention: Weight >= 0 of a position's evidence in its attention.
        hidden: Size of g's hidden layer; 0 for none.
        dropout: On that layer, in [0, 1).
        alignment: Strength >= 0 of the mixture's evidence in the attention.
        latent: D.
        background: K, background components, >= 1.
        bottleneck: beta >= 0 of the bottleneck.
        contrast: Weight >= 0 of the contrastive intervention.
        intervention: Whether the contrast has do(A = A_spurious) among its negatives.
        gradual: Part of training in [0, 1] over which t rises from 0 to 1.
        class_components: Gaussians >= 1 of a class in the mixture, p(z|l) their mean: a lesion with several looks.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import IBCAHead
        >>> head = IBCAHead(channels=8, num_labels=3)
        >>> head.set_progress(0.1)  # before each step, how far training is; `ibca fit` does it
        >>> output = head(torch.rand(2, 8, 6, 5), labels=torch.tensor([[1, 0, -1]] * 2))
        >>> output.attention.shape, list(output.losses)
        (torch.Size([2, 3, 6, 5]), ['bottleneck', 'contrast'])
    """

    def __init__(
        self,
        channels: int,
        num_labels: int,
        width: int = 256,
        num_heads: int = 4,
        evidence_attention: float = 1.0,
        hidden: int = 128,
        dropout: float = 0.2,
        alignment: float = 1.0,
        latent: int = 16,
        background: int = 8,
        bottleneck: float = 1e-3,
        contrast: float = 0.2,
        intervention: bool = True,
        gradual: float = 0.5,
        class_components: int = 1,
    ) -> None:
        super().__init__(channels, num_labels)
        self.require(
            0, evidence_attention=evidence_attention, alignment=alignment, bottleneck=bottleneck, contrast=contrast,
            gradual=gradual, hidden=hidden,
        )  # fmt: skip
        self.require(0, below=1, dropout=dropout)
        # A picture without a label needs a component of the background.
        self.require(
            1, width=width, num_heads=num_heads, latent=latent, background=background, class_components=class_components
        )
        if gradual > 1:
            raise InputError("IBCAHead's gradual in [0, 1]", gradual, "it is a part of training")

        self.evidence_attention, self.alignment, self.gradual = evidence_attention, alignment, gradual
        self.bottleneck_weight, self.contrast_weight = bottleneck, contrast
        self.intervention = intervention
        self.project = Conv1x1(channels, width)
        self.refine = Conv1x1(width, width)
        self.evidence = ClassEvidence(width, num_labels, num_heads)
        self.queries = ClassQueries(width, num_labels, num_heads)
        self.attended = AttendedFeatureClassifier(width, num_labels, hidden, dropout) if hidden else None
        self.bias = nn.Parameter(torch.zeros(num_labels))
        variational = bottleneck > 0
        self.encoder = GaussianEncoder(width, latent, variational) if alignment else None
        size = (num_labels, background, latent, class_components)
        self.mixture = GaussianMixture(*size, class_weights=variational) if alignment else None

    @property
    def schedule(self) -> Tensor:
        """How far alignment and contrast have been taken: the t of the class's docstring, a scalar in [0, 1]."""
        if self.gradual == 0:
            return torch.ones_like(self.progress)
        return (self.progress / self.gradual).clamp(max=1.0)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; losses are "bottleneck" and "contrast", those that are on."""
        learning = labels if self.training else None
        if learning is not None and self.gradual and (self.alignment or self.contrast_weight):
            effect = "the mixture stays out of its attention and its contrast is 0, also in evaluation"
            self.expect("set_progress", lambda: self.progress == 0, effect)
        projected = F.gelu(self.project(features))
        x_BCN = (projected + F.gelu(self.refine(projected))).flatten(2)
        with torch.autocast(x_BCN.device.type, enabled=False):
            x_BNC = x_BCN.float().transpose(1, 2).contiguous()  # as it is, where the map is channels-last
            evidence_ALC, schedule = self.evidence(), self.schedule
            score_ALC = torch.add(self.queries(), evidence_ALC, alpha=self.evidence_attention)
            # One product reads the positions for all: scores, evidence, encoder.
            read = [score_ALC.flatten(0, 1), evidence_ALC.flatten(0, 1)]
            read += [] if self.encoder is None else self.encoder.weights()
            of_each = torch.split(F.linear(x_BNC, torch.cat(read)), [weight.shape[0] for weight in read], -1)
            score_BNAL, evidence_BNAL = (part.reshape(*x_BNC.shape[:2], *score_ALC.shape[:2]) for part in of_each[:2])
            losses: dict[str, Tensor] = {}
            if self.encoder is not None and self.mixture is not None:
                mean_BND, log_std_BND = self.encoder(*of_each[2:])
                if self.training and log_std_BND is not None:
                    # Without labels, too: what dropout draws behind it must not depend on them.
                    sample_BND = torch.addcmul(mean_BND, log_std_BND.exp(), torch.randn_like(mean_BND))
                    density_BNM, of_sample_BNM = self.mixture(torch.cat([mean_BND, sample_BND])).chunk(2)
                    if learning is not None:
                        prior_BN = restricted_log_prior(of_sample_BNM, self.mixture.log_weight, learning)
                        losses["bottleneck"] = self.bottleneck_weight * bottleneck_loss(log_std_BND, prior_BN)
                else:
                    density_BNM = self.mixture(mean_BND)
                score_BNL = evidence_against_background(density_BNM, self.mixture.background_log_weight.float())
                score_BNAL = score_BNAL + (self.alignment * schedule * score_BNL).unsqueeze(2)
            # Sums, not means: the gradient of a mean is written out for every kind.
            kinds, attention_BNAL = score_ALC.shape[0], score_BNAL.softmax(1)
            attention_BNL = attention_BNAL.sum(2) / kinds
            contribution_BNAL = attention_BNAL * evidence_BNAL
            logits = torch.add(self.bias.float(), contribution_BNAL.sum((1, 2)), alpha=1 / kinds)
            if self.attended is not None:
                logits = logits + self.attended(attention_BNL.transpose(1, 2) @ x_BNC)
            if learning is not None and self.contrast_weight > 0:
                # What is pooled is only read: the gradient flows through the attention alone.
                maps_BNM = compared_maps(evidence_BNAL.mean(2), attention_BNL, learning, self.intervention)
                anchor_BLC, pooled_BMC = (maps.transpose(1, 2) @ x_BNC.detach() for maps in (attention_BNL, maps_BNM))
                loss = contrastive_loss(anchor_BLC, pooled_BMC, learning, logits.sigmoid())
                losses["contrast"] = self.contrast_weight * schedule * loss
        # With g the logit is no sum over positions; the attention is then the whole of what can be shown.
        contribution = _maps(contribution_BNAL.mean(2), features) if self.attended is None else None
        return HeadOutput(logits, _maps(attention_BNL, features), losses, contribution)


def _maps(values_BNL: Tensor, features: Tensor) -> Tensor:
    """One map (H, W) a class: (B, L, H, W)."""
    return values_BNL.transpose(1, 2).reshape(-1, values_BNL.shape[2], *features.shape[-2:])
