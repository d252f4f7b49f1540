"""LfF against the authors' code (numbers made by it), hand-worked numbers and plain GAP."""

import math

import pytest
import torch

from ibca_lightning.errors import InputError
from ibca_lightning.heads import GAPHead, LfFHead
from ibca_lightning.heads.lff import generalised_cross_entropy, relative_difficulty
from ibca_lightning.losses import masked_bce, masked_mean
from tests.heads.contract import CHANNELS, LABELS, features, labels


def one_step(biased: torch.Tensor, debiased: torch.Tensor, truth: torch.Tensor) -> LfFHead:
    """A head of 2 labels after the backward pass of 2 pictures to which it gives these logits."""
    head = LfFHead(2, 2).train()
    x = torch.eye(2).reshape(2, 2, 1, 1)  # picture i is channel i, so that the weights are the logits
    head.biased.weight.data.copy_(biased.T)
    head.debiased.linear.weight.data.copy_(debiased.T)
    for layer in (head.biased, head.debiased.linear):
        layer.bias.data.zero_()
    output = head(x, truth)
    (masked_bce(output.logits, truth) + output.losses["biased"]).backward()
    return head


def test_step_is_that_of_the_reference() -> None:
    """Weights and gradients of a first step of alinlab/LfF, its two classes' logits being (0, x)."""
    biased = torch.tensor([[1.5, -0.5], [0.3, 2.0]])
    debiased = torch.tensor([[-1.0, 0.7], [0.0, 1.2]])
    truth = torch.tensor([[1, 0], [0, 1]])
    weight = torch.tensor([[0.1329746, 0.3005694], [0.5520865, 0.3252810]])
    gradient_b = torch.tensor([[-0.0277264, 0.0474110], [0.0552784, -0.0190870]])
    gradient_d = torch.tensor([[-0.0243031, 0.0502092], [0.0690108, -0.0188236]])
    torch.testing.assert_close(relative_difficulty(biased, debiased, truth), weight, rtol=0, atol=1e-6)
    head = one_step(biased, debiased, truth)
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
    logits, truth = torch.tensor([[size, -size]]), torch.tensor([[1, 1]])
    weight = relative_difficulty(logits, -logits, truth)
    assert weight.isfinite().all()
    assert ((weight >= 0) & (weight <= 1)).all()


def test_failures_of_the_biased_classifier_weigh_most() -> None:
    # the biased classifier is right on the first picture and wrong on the second; the debiased one does not know
    weight = relative_difficulty(torch.tensor([[4.0], [4.0]]), torch.zeros(2, 1), torch.tensor([[1], [0]]))
    assert weight[0] < 0.05
    assert weight[1] > 0.8


def test_prediction_is_that_of_the_debiased_gap() -> None:
    head, gap = LfFHead(CHANNELS, LABELS), GAPHead(CHANNELS, LABELS)
    gap.load_state_dict(head.debiased.state_dict())
    for training in (True, False):
        output, plain = head.train(training)(features(), labels()), gap(features())
        assert output.logits.equal(plain.logits)
        assert output.attention.equal(plain.attention)


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
