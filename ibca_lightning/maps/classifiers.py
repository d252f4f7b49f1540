"""k-NN, ridge and logistic regression of one vector a picture: nothing is drawn, and nothing is trained step by step.

Each gives the logits of other pictures under several settings, the strongest smoothing first, for the best one to be
chosen on validation. An unknown label (-1) is left out of its class alone.

Shapes: N training pictures, M others, D features, L labels.
"""
# ruff: noqa: N803, N806 - shape suffixes

from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Settings = Iterator[tuple[str, Tensor]]
_NEIGHBOURS = (200, 100, 50, 20, 10, 5, 3)
_TEMPERATURE = 0.07  # of similarities: Wu et al., CVPR 2018, arXiv 1805.01978
_PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)
_ROWS = 256  # of pictures that are compared with all others at once


def nearest(x_ND: Tensor, labels_NL: Tensor, others_MD: Tensor) -> Settings:
    """Nearest neighbours by cosine, k of them, with votes weighted by exp(cosine / 0.07).

    The mean picture of the class is one neighbour more, so that no probability is 0 or 1; it changes no order.

    Yields:
        `k = ...` and the log odds (M, L).

    Examples:
        >>> import torch
        >>> from ibca_lightning.maps.classifiers import nearest
        >>> x, labels = torch.eye(4), torch.tensor([[1], [1], [0], [0]])
        >>> dict(nearest(x, labels, x))["k = 3"].shape
        torch.Size([4, 1])
    """
    own, asked = F.normalize(x_ND), F.normalize(others_MD)
    numbers = [k for k in _NEIGHBOURS if k < len(own)] or [len(own)]
    logits = {k: torch.zeros(len(asked), labels_NL.shape[1]) for k in numbers}
    for rows, classes in _known_alike(labels_NL):
        votes = (labels_NL[rows][:, classes] == 1).float()
        prior = (votes.sum(0) + 1) / (len(rows) + 2)
        for start in range(0, len(asked), _ROWS):
            part = slice(start, start + _ROWS)
            similar, place = (asked[part] @ own[rows].T).topk(min(numbers[0], len(rows)))
            for k in numbers:
                weight = (similar[:, :k] / _TEMPERATURE).softmax(1)
                share = torch.einsum("mk,mkl->ml", weight, votes[place[:, :k]])
                logits[k][part, classes] = ((k * share + prior) / (k + 1)).logit()
    yield from ((f"k = {k}", own_logits) for k, own_logits in logits.items())


def ridge(x_ND: Tensor, labels_NL: Tensor, others_MD: Tensor) -> Settings:
    """Least squares on -1 and 1 with a penalty on the weights, in closed form and float64.

    Yields:
        `penalty ...` and the values (M, L), which are no log odds before they are calibrated.

    Examples:
        >>> import torch
        >>> from ibca_lightning.maps.classifiers import ridge
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> dict(ridge(x, torch.tensor([[0], [1]]), x))["penalty 1"]  # 1 / (1 + penalty)
        tensor([[-0.5000],
                [ 0.5000]])
    """
    width = x_ND.shape[1]
    values = {penalty: torch.zeros(len(others_MD), labels_NL.shape[1]) for penalty in _PENALTIES}
    for rows, classes in _known_alike(labels_NL):
        own, target = x_ND[rows].double(), (labels_NL[rows][:, classes] == 1).double() * 2 - 1
        middle, level = own.mean(0), target.mean(0)
        own -= middle
        asked = others_MD.double() - middle
        scatter, moment = own.T @ own / len(rows), own.T @ (target - level) / len(rows)
        for penalty in _PENALTIES:
            weight = torch.linalg.solve(scatter + penalty * torch.eye(width, dtype=torch.float64), moment)
            values[penalty][:, classes] = (asked @ weight + level).float()
    yield from ((f"penalty {penalty:g}", own_values) for penalty, own_values in values.items())


def logistic(x_ND: Tensor, labels_NL: Tensor, others_MD: Tensor) -> Settings:
    """Cross-entropy, each class the mean of its known labels, with a penalty on the weights; L-BFGS.

    A class without a positive or without a negative has the log odds of (P + 1) / (N + 1) in every picture.

    Yields:
        `penalty ...` and the logits (M, L).

    Examples:
        >>> import torch
        >>> from ibca_lightning.maps.classifiers import logistic
        >>> x = torch.tensor([[-1.0], [1.0]])
        >>> logits = dict(logistic(x, torch.tensor([[0], [1]]), x))
        >>> bool(logits["penalty 10"][1, 0] < logits["penalty 0.01"][1, 0])
        True
    """
    positives, negatives = (labels_NL == 1).sum(0), (labels_NL == 0).sum(0)
    usable = (positives > 0) & (negatives > 0)
    share_NL = ((labels_NL >= 0) & usable) / (positives + negatives).clamp(min=1)
    target_NL = (labels_NL == 1).float()
    bias_L = ((positives + 1) / (negatives + 1)).log().requires_grad_()
    weight_DL = torch.zeros(x_ND.shape[1], len(bias_L), requires_grad=True)
    for penalty in _PENALTIES:  # each begins where the one before has ended
        optimiser = torch.optim.LBFGS([weight_DL, bias_L], max_iter=100, line_search_fn="strong_wolfe")

        def closure(optimiser: torch.optim.LBFGS = optimiser, penalty: float = penalty) -> float:
            optimiser.zero_grad()
            losses_NL = F.binary_cross_entropy_with_logits(x_ND @ weight_DL + bias_L, target_NL, reduction="none")
            loss = (losses_NL * share_NL).sum() + penalty / 2 * weight_DL.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        yield f"penalty {penalty:g}", (others_MD @ weight_DL + bias_L).detach()


def _known_alike(labels_NL: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows that are known of some classes, and these classes: of a data set without unknown labels, all of both."""
    patterns, which = (labels_NL >= 0).unique(dim=1, return_inverse=True)  # type: ignore[no-untyped-call]
    for at, known in enumerate(patterns.T):
        if known.any():
            yield known.nonzero()[:, 0], (which == at).nonzero()[:, 0]


PROBES: Mapping[str, Callable[[Tensor, Tensor, Tensor], Settings]] = {
    "knn": nearest, "ridge": ridge, "logistic": logistic,
}  # fmt: skip
"""By name."""
