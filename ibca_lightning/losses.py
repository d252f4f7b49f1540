"""Classification losses over {0, 1, -1} labels, as small modules for YAML.

An unknown label (-1) carries no gradient, and each loss is the mean over the known labels of the batch, so that neither
the number of classes nor the share of unknown labels changes its scale; of several processes' batches together
(`processes`). A batch without a known label gives 0, not 0/0.
Logits of any precision are read in float32.

Shapes: B images, L labels, N rows of a split.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import share


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of finite `values` where `mask` is true; 0, with a gradient of zeros, where it is true nowhere.

    In a step of several processes it is such that its average over them is the mean over what is true in any: each
    divides by the mean of their counts.
    """
    # Whatever is counted at all is at least 1 in one of the processes, of which there are not a million.
    return torch.where(mask, values, 0.0).sum() / share(mask.sum()).clamp(min=1e-6)


def masked_bce(logits: Tensor, labels: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy over the known labels.

    Args:
        logits: (B, L).
        labels: (B, L) in {0, 1, -1}.
        pos_weight: (L,) factor of the positives' term, or None for 1; from the training split only.

    Returns:
        A scalar.

    Raises:
        InputError: The shapes do not agree.

    Examples:
        >>> import torch
        >>> from ibca_lightning.losses import masked_bce
        >>> masked_bce(torch.tensor([[0.0, 0.0, 9.0]]), torch.tensor([[1, 0, -1]]))  # log 2; an unknown costs nothing
        tensor(0.6931)
    """
    _same_shape(logits, labels)
    if pos_weight is not None and pos_weight.shape != logits.shape[-1:]:
        raise InputError(
            f"pos_weight with one value for each of {logits.shape[-1]} labels", tuple(pos_weight.shape), "give one each"
        )
    target = labels.clamp(min=0).float()
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, pos_weight=pos_weight, reduction="none")
    return masked_mean(loss, labels >= 0)


def _same_shape(logits: Tensor, labels: Tensor) -> None:
    """Refuse what broadcasting would silently accept."""
    if logits.shape != labels.shape:
        raise InputError(
            f"labels of the logits' shape {tuple(logits.shape)}", tuple(labels.shape), "give (B, L) for both"
        )


def require_scalar(part: nn.Module, value: object) -> Tensor:
    """Return what a loss or a term gave as a loss; one of the user's own may give something else, which fails later.

    Raises:
        InputError: It is no scalar tensor.
    """
    if isinstance(value, Tensor) and not value.ndim:
        return value
    got = f"one of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise InputError(f"a scalar tensor from {type(part).__name__}.forward", got, "return a mean over known labels")


class Loss(nn.Module):
    """Base of all classification losses; a loss of your own derives from it and implements `forward`.

    Examples:
        >>> import torch
        >>> from ibca_lightning.losses import Loss, masked_mean
        >>> class SquaredError(Loss):
        ...     def forward(self, logits, labels):
        ...         return masked_mean((logits.float().sigmoid() - labels).square(), labels >= 0)
        >>> SquaredError()(torch.zeros(1, 2), torch.tensor([[1, -1]]))  # (0.5 - 1)^2
        tensor(0.2500)
    """

    @property
    def needs_labels(self) -> bool:
        """Whether the loss wants `see_labels` before it is first used."""
        return False

    def see_labels(self, labels: Tensor) -> None:
        """Take what the loss wants to know of the training split's labels (N, L) in {0, 1, -1}; here, nothing."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, L) with labels (B, L) in {0, 1, -1}; returns a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward(logits, labels) -> scalar")


class MaskedBCE(Loss):
    """Binary cross-entropy over the known labels: `masked_bce` as a module.

    Args:
        pos_weight: One factor a label for the positives' term, from the training split; `balanced` for negatives over
            positives among its known labels; None for 1.
        max_pos_weight: Bound of `balanced`, at least 1: factors lie between 1 / max_pos_weight and it, because a factor
            of thousands on a handful of pictures ends in noise.

    Raises:
        InputError: The bound is below 1.

    Examples:
        >>> import torch
        >>> from ibca_lightning.losses import MaskedBCE
        >>> loss = MaskedBCE("balanced")
        >>> loss.see_labels(torch.tensor([[1], [0], [0], [0]]))  # the training split; `ibca fit` shows it
        >>> loss(torch.zeros(1, 1), torch.tensor([[1]]))  # 3 log 2
        tensor(2.0794)
    """

    pos_weight: Tensor | None

    def __init__(
        self, pos_weight: Sequence[float] | Literal["balanced"] | None = None, max_pos_weight: float = 20.0
    ) -> None:
        super().__init__()
        if max_pos_weight < 1:
            raise InputError("max_pos_weight of at least 1", max_pos_weight, "correct MaskedBCE")
        self.balanced, self.max_pos_weight = pos_weight == "balanced", max_pos_weight
        given = None if pos_weight is None or isinstance(pos_weight, str) else list(pos_weight)
        # Configuration, not state: it comes from the YAML or the data again, so the checkpoint does not need it.
        weight = None if given is None else torch.tensor(given, dtype=torch.float32)
        self.register_buffer("pos_weight", weight, persistent=False)

    @property
    def needs_labels(self) -> bool:
        """Whether `pos_weight` is to be balanced."""
        return self.balanced

    def see_labels(self, labels: Tensor) -> None:
        """Weigh the positives of each class as much as its negatives, of the labels (N, L) of the training split.

        1 for a class without a positive or without a negative, of which nothing can be said.
        """
        positives, negatives = (labels == 1).sum(0).float(), (labels == 0).sum(0).float()
        ratio = (negatives / positives.clamp(min=1)).clamp(1 / self.max_pos_weight, self.max_pos_weight)
        self.pos_weight = torch.where((positives > 0) & (negatives > 0), ratio, 1.0)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `masked_bce`.

        Raises:
            InputError: The weights are to be balanced and no labels were seen, or the shapes do not agree.
        """
        if self.balanced and self.pos_weight is None:
            raise InputError(
                "pos_weight balanced in a run on a data module, whose training labels it is made of", "none",
                "call see_labels(labels), or give one number a class",
            )  # fmt: skip
        return masked_bce(logits, labels, self.pos_weight)


class LogitAdjustedBCE(Loss):
    """Binary cross-entropy of z + strength log(pi / (1 - pi)), with pi the share of positives of a class in training.

    What is predicted is z, as if every class were there as often as not: rare classes are found, and probabilities are
    too high by the odds that were taken out; `model.calibration: platt` puts them back. Menon et al., "Long-tail
    learning via logit adjustment", ICLR 2021, arXiv 2007.07314, who have one softmax; ours is for each label by itself.
    There the adjustment is one number a class: a bias could learn to undo it, so the order of pictures within a class,
    and with it AP, changes only by where training begins.

    pi = (P + 1) / (P + N + 2) of the known labels, so that a class without a positive has one, too.

    Args:
        strength: >= 0; 0 is the masked BCE, 1 takes the prior out.

    Raises:
        InputError: The strength is negative.

    Examples:
        >>> import torch
        >>> from ibca_lightning.losses import LogitAdjustedBCE
        >>> loss = LogitAdjustedBCE()
        >>> loss.see_labels(torch.tensor([[1], [0], [0], [0]]))  # the training split: pi = 1/3, odds of 1/2
        >>> loss(torch.zeros(1, 1), torch.tensor([[1]]))  # log(1 + 2)
        tensor(1.0986)
    """

    log_odds: Tensor | None

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        if strength < 0:
            raise InputError("LogitAdjustedBCE's strength >= 0", strength, "0 turns it off")
        self.strength = strength
        self.register_buffer("log_odds", None, persistent=False)  # as `pos_weight` of the BCE

    @property
    def needs_labels(self) -> bool:
        """Yes: they make the prior."""
        return True

    def see_labels(self, labels: Tensor) -> None:
        """Count positives and negatives of each class of the labels (N, L) of the training split."""
        positives, negatives = ((labels == value).sum(0).double() for value in (1, 0))
        self.log_odds = ((positives + 1) / (negatives + 1)).log().float()

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, L) with labels (B, L) in {0, 1, -1}; returns a scalar.

        Raises:
            InputError: No labels were seen, or the shapes do not agree.
        """
        if self.log_odds is None:
            raise InputError("the training labels for LogitAdjustedBCE's prior", "none", "call see_labels(labels)")
        return masked_bce(logits.float() + self.strength * self.log_odds, labels)


class GeneralisedCE(Loss):
    """Generalised cross-entropy: (1 - p_t^q) / q, with p_t the probability given to the true value.

    Between the BCE (q to 0) and the absolute error (q = 1), which a wrong label pulls less. For labels with noise.
    Source: Zhang & Sabuncu, NeurIPS 2018, arXiv 1805.07836, who have one softmax; ours is for each label by itself.

    Args:
        q: In (0, 1].

    Raises:
        InputError: The value is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.losses import GeneralisedCE
        >>> GeneralisedCE(q=1.0)(torch.zeros(1, 1), torch.tensor([[1]]))  # 1 - 0.5
        tensor(0.5000)
    """

    def __init__(self, q: float = 0.7) -> None:
        super().__init__()
        if not 0 < q <= 1:
            raise InputError("GeneralisedCE's q in (0, 1]", q, "try 0.7, or the loss bce")
        self.q = q

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, L) with labels (B, L) in {0, 1, -1}; returns a scalar."""
        _same_shape(logits, labels)
        signed = torch.where(labels == 1, logits.float(), -logits.float())
        return masked_mean(-torch.expm1(self.q * F.logsigmoid(signed)) / self.q, labels >= 0)


class AsymmetricLoss(Loss):
    """Asymmetric loss: negatives are focused harder than positives, and very easy ones are dropped.

    -y (1 - p)^gamma_pos log p - (1 - y) p_m^gamma_neg log(1 - p_m), with p_m = max(p - clip, 0).
    Source: Ridnik et al., ICCV 2021, arXiv 2009.14119. Theirs is a sum over labels, ours the mean over known labels.
    It is the masked BCE where both gammas and the clip are 0.

    Args:
        gamma_neg: Focusing of the negatives, >= 0.
        gamma_pos: Focusing of the positives, >= 0.
        clip: Probability in [0, 1) below which a negative costs nothing.

    Raises:
        InputError: A value is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.losses import AsymmetricLoss
        >>> AsymmetricLoss()(torch.zeros(1, 1), torch.tensor([[0]]))  # 0.45^4 times -log 0.55
        tensor(0.0245)
    """

    def __init__(self, gamma_neg: float = 4.0, gamma_pos: float = 1.0, clip: float = 0.05) -> None:
        super().__init__()
        if min(gamma_neg, gamma_pos) < 0 or not 0 <= clip < 1:
            got = f"{gamma_neg}, {gamma_pos}, {clip}"
            raise InputError("gamma_neg >= 0, gamma_pos >= 0 and clip in [0, 1)", got, "correct AsymmetricLoss")
        self.gamma_neg, self.gamma_pos, self.clip = gamma_neg, gamma_pos, clip

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, L) with labels (B, L) in {0, 1, -1}; returns a scalar."""
        _same_shape(logits, labels)
        logits = logits.float()
        log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
        # Powers as exponentials of logarithms: p^gamma has an infinite slope at p = 0 for gamma < 1.
        positive = -(self.gamma_pos * log_not_p).exp() * log_p
        if self.clip > 0:
            shifted = (logits.sigmoid() - self.clip).clamp(min=0)
            negative = -(self.gamma_neg * shifted.clamp(min=1e-8).log()).exp() * torch.log1p(-shifted)
        else:
            negative = -(self.gamma_neg * log_p).exp() * log_not_p
        return masked_mean(torch.where(labels == 1, positive, negative), labels >= 0)


class FocalLoss(Loss):
    """Focal loss: a_t (1 - p_t)^gamma BCE, with p_t the probability given to the true value.

    Source: Lin et al., ICCV 2017, arXiv 1708.02002. Theirs divides by the number of positives, ours by that of known
    labels. It is the masked BCE where gamma and smoothing are 0 and alpha and balance None.
    With `smoothing` s a label y counts as y (1 - s) + s / 2 throughout: that may cost calibration, so look at ECE too.
    With `balance` b, positives and negatives of a class weigh as (1 - b) / (1 - b^n), n their number in the training
    split, scaled to mean 1: the effective number of Cui et al., CVPR 2019, arXiv 1901.05555.

    Args:
        gamma: Focusing, >= 0.
        alpha: Weight in [0, 1] of the positives, 1 - alpha that of the negatives; None weighs both 1.
        smoothing: s, in [0, 1).
        balance: b, in [0, 1), such as 0.999; None weighs by alpha alone.

    Raises:
        InputError: A value is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.losses import FocalLoss
        >>> FocalLoss(gamma=2.0)(torch.zeros(1, 1), torch.tensor([[1]]))  # (1 - 0.5)^2 log 2
        tensor(0.1733)
    """

    class_weight: Tensor | None

    def __init__(
        self, gamma: float = 2.0, alpha: float | None = None, smoothing: float = 0.0, balance: float | None = None
    ) -> None:
        super().__init__()
        if gamma < 0 or (alpha is not None and not 0 <= alpha <= 1):
            raise InputError("gamma >= 0 and alpha in [0, 1] or null", f"{gamma}, {alpha}", "correct FocalLoss")
        if not 0 <= smoothing < 1 or (balance is not None and not 0 <= balance < 1):
            got = f"{smoothing}, {balance}"
            raise InputError("smoothing in [0, 1), and balance in [0, 1) or null", got, "correct FocalLoss")
        self.gamma, self.alpha, self.smoothing, self.balance = gamma, alpha, smoothing, balance
        self.register_buffer("class_weight", None, persistent=False)  # as `pos_weight` of the BCE

    @property
    def needs_labels(self) -> bool:
        """Whether classes are to be balanced."""
        return self.balance is not None

    def see_labels(self, labels: Tensor) -> None:
        """Count positives and negatives of each class; one that lacks either is not weighed."""
        if self.balance is not None:
            number = torch.stack([(labels == value).sum(0) for value in (0, 1)]).double()
            weight = (1 - self.balance) / (1 - self.balance ** number.clamp(min=1))
            weight = torch.where(number.amin(0) > 0, weight / weight.mean(0), 1.0)
            self.class_weight = weight.float()

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits (B, L) with labels (B, L) in {0, 1, -1}; returns a scalar.

        Raises:
            InputError: Classes are to be balanced and no labels were seen, or the shapes do not agree.
        """
        _same_shape(logits, labels)
        if self.balance is not None and self.class_weight is None:
            raise InputError("the training labels for FocalLoss's balance", "none", "call see_labels(labels)")
        log_p, log_not_p = F.logsigmoid(logits.float()), F.logsigmoid(-logits.float())
        target = labels.clamp(min=0).float() * (1 - self.smoothing) + self.smoothing / 2
        # Powers as exponentials of logarithms: p^gamma has an infinite slope at p = 0 for gamma < 1.
        missed = torch.logaddexp(log_p + (1 - target).log(), log_not_p + target.log())  # log(1 - p_t)
        loss = -(self.gamma * missed).exp() * (target * log_p + (1 - target) * log_not_p)
        if self.alpha is not None:
            loss = loss * (self.alpha * target + (1 - self.alpha) * (1 - target))
        if self.class_weight is not None:
            loss = loss * torch.where(labels == 1, self.class_weight[1], self.class_weight[0])
        return masked_mean(loss, labels >= 0)
