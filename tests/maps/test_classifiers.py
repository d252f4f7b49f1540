"""The classifiers of `ibca probe` against scikit-learn, and what becomes of unknown labels."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from ibca_lightning.maps.classifiers import PROBES, logistic, nearest, ridge

N, M, D = 60, 25, 6


def drawn(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors, labels of three classes that hang on them, and further vectors."""
    generator = torch.Generator().manual_seed(seed)
    x, others = torch.randn(N, D, generator=generator), torch.randn(M, D, generator=generator)
    noise = torch.randn(N, 3, generator=generator)
    return x, (x[:, :3] + 0.7 * noise > 0.3).to(torch.int8), others


def test_ridge_is_that_of_scikit_learn() -> None:
    x, labels, others = drawn()
    found = dict(ridge(x, labels, others))
    for penalty in (10.0, 0.1, 1e-4):
        theirs = Ridge(alpha=penalty * N, solver="cholesky").fit(x.double().numpy(), labels.double().numpy() * 2 - 1)
        expected = torch.from_numpy(theirs.predict(others.double().numpy())).float()
        torch.testing.assert_close(found[f"penalty {penalty:g}"], expected, rtol=0, atol=1e-5)


def test_logistic_is_that_of_scikit_learn() -> None:
    x, labels, others = drawn()
    found = dict(logistic(x, labels, others))
    for penalty in (3.0, 0.1, 0.01):
        for at in range(3):
            theirs = LogisticRegression(C=1 / (penalty * N), tol=1e-8, max_iter=1000).fit(x.numpy(), labels[:, at])
            expected = torch.from_numpy(theirs.decision_function(others.numpy())).float()
            torch.testing.assert_close(found[f"penalty {penalty:g}"][:, at], expected, rtol=0, atol=2e-3)


def test_neighbours_vote_as_those_of_scikit_learn_do() -> None:
    x, labels, others = drawn()
    found = dict(nearest(x, labels, others))
    assert list(found) == ["k = 50", "k = 20", "k = 10", "k = 5", "k = 3"], "as many as there are pictures"
    for k in (50, 3):
        theirs = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07)).fit(x, labels)
        share = np.stack([own[:, 1] for own in theirs.predict_proba(others)], axis=1)
        prior = (labels.double().sum(0) + 1) / (N + 2)
        expected = (k * torch.from_numpy(share) + prior) / (k + 1)
        torch.testing.assert_close(found[f"k = {k}"].sigmoid().double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PROBES)
def test_an_unknown_label_is_left_out_of_its_class_alone(name: str) -> None:
    x, labels, others = drawn()
    unknown = labels.clone()
    unknown[:7, 0] = -1
    whole, left, without = (
        dict(PROBES[name](x[rows:], own[rows:], others)) for rows, own in ((0, labels), (0, unknown), (7, labels))
    )
    for setting in list(whole)[1:]:  # the largest k is another one of fewer pictures
        torch.testing.assert_close(left[setting][:, 1:], whole[setting][:, 1:], rtol=0, atol=2e-3)
        torch.testing.assert_close(left[setting][:, 0], without[setting][:, 0], rtol=0, atol=2e-3)
        assert (left[setting][:, 0] - whole[setting][:, 0]).abs().max() > 0.01


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("value", [-1, 0, 1])
def test_a_class_of_one_value_and_one_picture_are_no_fault(name: str, value: int) -> None:
    x, labels, others = drawn()
    labels[:, 2] = value
    for count in (N, 1):
        for logits in dict(PROBES[name](x[:count], labels[:count], others)).values():
            assert logits.shape == (M, 3)
            assert logits.isfinite().all()
            torch.testing.assert_close(logits[:, 2], logits[:1, 2].expand(M), rtol=0, atol=0.01)  # by sums of votes
