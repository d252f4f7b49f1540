"""The contract of the heads, for the options of the newest peers that its own tests do not set."""

from functools import partial

import pytest
import torch

from ibca_lightning.heads import AttentivePoolHead, EPHead, GLoRIHead, Head, LPHead
from ibca_lightning.losses import masked_bce
from tests.heads.contract import BATCH, CHANNELS, HEIGHT, LABELS, WIDTH, features, labels

BUILT = {
    "lp, embeddings as queries": partial(LPHead, use="queries"),
    "glori, with the class token": partial(GLoRIHead, class_token=True),
    "attentive_pool, a width for each query": partial(AttentivePoolHead, width=0),
    "ep, narrower": partial(EPHead, width=16),
}


@pytest.fixture(params=BUILT)
def head(request: pytest.FixtureRequest) -> Head:
    torch.manual_seed(0)
    return BUILT[request.param](CHANNELS, LABELS)


def test_every_parameter_has_a_finite_gradient_and_maps_sum_to_one(head: Head) -> None:
    output = head.train()(features(), labels())
    assert output.logits.shape == (BATCH, LABELS)
    assert output.attention.shape == (BATCH, LABELS, HEIGHT, WIDTH)
    torch.testing.assert_close(output.attention.sum((-2, -1)), torch.ones(BATCH, LABELS), rtol=0, atol=1e-5)
    (masked_bce(output.logits, labels()) + sum(output.losses.values())).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_dead_features_get_the_same_attention_everywhere(head: Head) -> None:
    attention = head.eval()(torch.zeros(BATCH, CHANNELS, HEIGHT, WIDTH)).attention
    torch.testing.assert_close(attention, torch.full_like(attention, 1 / (HEIGHT * WIDTH)))


def test_half_precision_is_finite(head: Head) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = head.eval()(features(scale=1e3).bfloat16())
    assert output.logits.isfinite().all()
    assert output.attention.dtype == torch.float32


@pytest.mark.slow
def test_export_with_any_batch_agrees(head: Head) -> None:
    program = torch.export.export(head.eval(), (features(),), dynamic_shapes={"features": {0: torch.export.Dim.AUTO}})
    exported, eager = program.module()(features(7)), head(features(7))
    torch.testing.assert_close(exported[0], eager.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(exported[1], eager.attention, rtol=0, atol=1e-6)
