"""Weighting the gradient against losses whose terms are weighted themselves."""

import pytest
import torch
import torch.nn.functional as F

from ibca_lightning.heads.peers.causal.lff import weigh_gradient
from ibca_lightning.losses import AsymmetricLoss, FocalLoss, Loss, MaskedBCE, masked_bce

LABELS = torch.tensor([[1, 0, -1], [0, 1, 1]])


def logits(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_gradient_is_that_of_a_weighted_masked_bce() -> None:
    weight = torch.tensor([[0.0, 2.0, 5.0], [0.3, 1.0, 0.5]])
    ours, reference = logits(), logits()
    masked_bce(weigh_gradient(ours, weight), LABELS).backward()
    terms = F.binary_cross_entropy_with_logits(reference, LABELS.clamp(min=0).float(), reduction="none")
    ((weight * terms)[LABELS >= 0].sum() / 5).backward()
    torch.testing.assert_close(ours.grad, reference.grad)
    assert ours.grad is not None
    assert ours.grad[0, 0] == 0


@pytest.mark.parametrize("loss", [MaskedBCE(pos_weight=[1.0, 2.0, 3.0]), AsymmetricLoss(), FocalLoss()])
def test_any_element_wise_loss_keeps_its_value_and_has_its_gradient_scaled(loss: Loss) -> None:
    weight = torch.rand(2, 3, generator=torch.Generator().manual_seed(1))
    ours, plain = logits(), logits()
    weighted_value, value = loss(weigh_gradient(ours, weight), LABELS), loss(plain, LABELS)
    weighted_value.backward()
    value.backward()
    assert weighted_value.item() == value.item()
    assert plain.grad is not None
    torch.testing.assert_close(ours.grad, weight * plain.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_are_bit_for_bit_those_of_the_logits(dtype: torch.dtype) -> None:
    given = (100 * logits()).to(dtype)
    got = weigh_gradient(given, torch.full((2, 1), 1 / 3))
    assert got.dtype == dtype
    assert got.equal(given)


def test_no_gradient_flows_into_the_weight() -> None:
    weight = torch.ones(2, 3, requires_grad=True)
    weigh_gradient(logits(), weight).sum().backward()
    assert weight.grad is None
