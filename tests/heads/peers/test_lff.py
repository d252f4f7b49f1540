"""LfF against the authors' code (numbers made by it), hand-worked numbers and plain GAP."""

import copy
import math

import pytest
import torch

from ibca_lightning.heads import GAPHead, LfFHead
from ibca_lightning.heads.peers.causal.lff import ShareOfLargest, generalised_cross_entropy
from ibca_lightning.losses import masked_bce, masked_mean
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features, labels


def head_with_logits(biased: torch.Tensor, debiased: torch.Tensor) -> tuple[LfFHead, torch.Tensor]:
    """A head and a batch of pictures, to which its two classifiers give these logits (B, L)."""
    pictures, num_labels = biased.shape
    head = LfFHead(pictures, num_labels).train()
    # picture i is channel i, so that the weights are the logits
    for layer, logits in ((head.biased, biased), (head.debiased.linear, debiased)):
        layer.weight.data.copy_(logits.T)
        layer.bias.data.zero_()
    return head, torch.eye(pictures).reshape(pictures, pictures, 1, 1)


def weights(head: LfFHead, x: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """What a training step multiplies the gradient of the logits by."""
    plain = head.debiased(x).logits
    output = head(x, truth).logits
    gradients = torch.autograd.grad(output.sum(), head.debiased.linear.weight)[0].T
    return gradients / torch.autograd.grad(plain.sum(), head.debiased.linear.weight)[0].T


def test_step_is_that_of_the_reference() -> None:
    """Weights and gradients of a first step of alinlab/LfF, each label a task whose two classes' logits are (0, x)."""
    biased = torch.tensor([[1.5, -0.5], [0.3, 2.0], [-0.6, 0.1], [0.8, -1.4]])
    debiased = torch.tensor([[-1.0, 0.7], [0.0, 1.2], [0.4, -0.9], [1.1, 0.2]])
    truth = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])
    weight = torch.tensor([[0.1625742, 0.5], [0.5935223, 0.4814773], [0.7190922, 0.5], [0.5, 0.3912236]])
    gradient_b = torch.tensor(
        [[-0.0138632, 0.0237055], [0.0276392, -0.0095435], [-0.0273279, -0.0264740], [0.0265962, 0.0148341]]
    )
    gradient_d = torch.tensor(
        [[-0.0148564, 0.0417617], [0.0370951, -0.0139313], [-0.0360726, -0.0444343], [0.0468913, 0.0268885]]
    )
    head, x = head_with_logits(biased, debiased)
    torch.testing.assert_close(weights(copy.deepcopy(head), x, truth), weight, rtol=0, atol=1e-6)
    output = head(x, truth)
    (masked_bce(output.logits, truth) + output.losses["biased"]).backward()
    assert head.biased.weight.grad is not None
    assert head.debiased.linear.weight.grad is not None
    # the reference multiplies the generalised cross-entropy by q once more
    torch.testing.assert_close(0.7 * head.biased.weight.grad.T, gradient_b, rtol=0, atol=1e-6)
    torch.testing.assert_close(head.debiased.linear.weight.grad.T, gradient_d, rtol=0, atol=1e-6)


def test_generalised_cross_entropy_by_hand() -> None:
    logit = torch.tensor([[math.log(3.0), math.log(3.0)]])  # p = 3/4
    got = generalised_cross_entropy(logit, torch.tensor([[1, 0]]), q=0.5)
    torch.testing.assert_close(got, torch.tensor([[2 - 2 * math.sqrt(0.75), 1.0]]))
    mean_absolute_error = generalised_cross_entropy(logit, torch.tensor([[1, 0]]), q=1.0)
    torch.testing.assert_close(mean_absolute_error, torch.tensor([[0.25, 0.75]]))


def test_generalised_cross_entropy_tends_to_the_cross_entropy() -> None:
    logits = 3 * torch.randn(4, LABELS, generator=torch.Generator().manual_seed(0))
    got = masked_mean(generalised_cross_entropy(logits, labels(), q=1e-4), labels() >= 0)
    torch.testing.assert_close(got, masked_bce(logits, labels()), rtol=1e-3, atol=0)


@pytest.mark.parametrize("size", [1e-30, 200.0])
def test_certain_classifiers_leave_finite_weights(size: float) -> None:
    logits = torch.tensor([[size, -size], [-size, size]])
    head, x = head_with_logits(logits, -logits)
    got = weights(head, x, torch.tensor([[1, 1], [-1, -1]]))
    assert got.isfinite().all()
    assert ((got[0] >= 0) & (got[0] <= 1)).all()


def test_failures_of_the_biased_classifier_weigh_most() -> None:
    # it is right about the first of two positives and wrong about the second; the debiased one does not know
    head, x = head_with_logits(torch.tensor([[4.0], [-4.0]]), torch.zeros(2, 1))
    got = weights(head, x, torch.tensor([[1], [1]]))
    assert got[0] < 0.05
    assert got[1] == pytest.approx(0.5)


def test_losses_are_shares_of_the_largest_of_their_class_and_value() -> None:
    share = ShareOfLargest(2, decay=0.5)
    first = share(torch.tensor([[4.0, 9.0], [2.0, 3.0], [1.0, 6.0]]), torch.tensor([[1, -1], [1, 1], [0, 1]]))
    torch.testing.assert_close(first[[0, 1, 2, 1, 2], [0, 0, 0, 1, 1]], torch.tensor([1.0, 0.5, 1.0, 0.5, 1.0]))
    assert first.isfinite().all()
    # the largest halve where their class and value come up: 4 to 2, 6 to 3; that of the first class's 0 stays 1
    second = share(torch.tensor([[1.0, 5.0], [-9.0, 1.5]]), torch.tensor([[1, 1], [-1, 1]]))
    torch.testing.assert_close(second[[0, 0, 1], [0, 1, 1]], torch.tensor([0.5, 1.0, 0.3]))
    torch.testing.assert_close(share.largest, torch.tensor([[1.0, 0.0], [2.0, 5.0]]))


def test_evaluation_leaves_the_largest_losses_alone() -> None:
    head = LfFHead(CHANNELS, LABELS).eval()
    head(features(), labels())
    head.train()(features())
    assert not head.biased_share.largest.any()


def test_prediction_is_that_of_the_debiased_gap() -> None:
    head, gap = LfFHead(CHANNELS, LABELS), GAPHead(CHANNELS, LABELS)
    gap.load_state_dict(head.debiased.state_dict())
    for training in (True, False):
        output, plain = head.train(training)(features(), labels()), gap(features())
        torch.testing.assert_close(output.logits, plain.logits)
        torch.testing.assert_close(output.attention, plain.attention)


def test_biased_loss_moves_the_biased_classifier_alone() -> None:
    head, x = LfFHead(CHANNELS, LABELS).train(), features().requires_grad_()
    head(x, labels()).losses["biased"].backward()
    assert x.grad is None
    assert head.debiased.linear.weight.grad is None
    assert head.biased.weight.grad is not None
    assert (head.biased.weight.grad != 0).any()


def test_unknown_labels_do_not_count() -> None:
    torch.manual_seed(0)
    head, truth = LfFHead(CHANNELS, LABELS).train(), labels()
    known = truth >= 0
    terms = generalised_cross_entropy(head.biased(features().mean((-2, -1))), truth, head.q)
    torch.testing.assert_close(head(features(), truth).losses["biased"], terms[known].mean())


@pytest.mark.parametrize("q", [0.0, -0.5, 1.5])
def test_wrong_options_are_refused(q: float) -> None:
    with pytest.raises(InputError, match=r"q in \(0, 1\]"):
        LfFHead(2, 1, q=q)
