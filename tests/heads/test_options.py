"""The contract of the heads, for options that its own tests do not set, and the ends of what options may be."""

from functools import partial

import pytest
import torch

from ibca_lightning import heads
from ibca_lightning.heads import AttentivePoolHead, EPHead, GLoRIHead, Head, LPHead
from ibca_lightning.losses import masked_bce
from tests.heads.contract import BATCH, CHANNELS, HEIGHT, LABELS, WIDTH, features, labels

BUILT = {
    "lp, embeddings as queries": partial(LPHead, use="queries"),
    "glori, with the class token": partial(GLoRIHead, class_token=True),
    "attentive_pool, a width for each query": partial(AttentivePoolHead, width=0),
    "ep, narrower": partial(EPHead, width=16),
}

# The least that each option may be, and the most of one that has a largest value.
ENDS: dict[str, dict[str, float]] = {
    "AddGCNHead": {"hidden": 1},
    "AttVIBHead": {"latent": 1, "beta": 0},
    "AttentivePoolHead": {"width": 0, "ffn": 1, "num_heads": 1, "dropout": 0},
    "CALHead": {"maps": 1, "effect": 0, "scale": 0.1},
    "CGMVAEHead": {"latent": 1, "embedding": 1, "kl": 0, "contrast": 0, "dropout": 0},
    "CTranHead": {"width": 0, "layers": 1, "label_mask": 0, "most_given": 0, "ffn": 1, "num_heads": 1, "dropout": 0},
    "CaaMHead": {"environments": 2, "invariance": 0, "reduction": 1},
    "EPHead": {"queries": 1},
    "GCNHead": {"hidden": 1, "weight": 0, "threshold": 1},
    "IBCAHead": {"width": 1, "num_heads": 1, "evidence_attention": 0, "hidden": 0, "dropout": 0, "alignment": 0,
                 "latent": 1, "background": 1, "bottleneck": 0, "contrast": 0, "gradual": 1, "class_components": 1},
    "IDAHead": {"num_heads": 1, "layers": 0, "feed_forward": 0, "width": 0},
    "LPHead": {"embedding_size": 1},
    "LfFHead": {"q": 1},
    "MLDecoderHead": {"width": 0, "groups": 1, "ffn": 1, "num_heads": 1, "dropout": 0},
    "PairHead": {"width": 0},
    "Query2LabelHead": {"width": 0, "encoder_layers": 0, "decoder_layers": 1, "ffn": 1, "num_heads": 1, "dropout": 0},
    "TSFormerHead": {"width": 0, "layers": 1, "ffn": 1, "num_heads": 1, "dropout": 0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "option", "value"), [(name, *end) for name, options in ENDS.items() for end in options.items()]
)
def test_the_ends_of_what_an_option_may_be_are_allowed_and_learn(name: str, option: str, value: float) -> None:
    torch.manual_seed(0)
    head = getattr(heads, name)(CHANNELS, LABELS, **{option: value}).train()
    head.see_labels(labels())
    head.set_progress(1.0)
    output = head(features(), labels())
    (masked_bce(output.logits, labels()) + sum(output.losses.values())).backward()
    assert output.logits.isfinite().all()
    assert all(own.grad.isfinite().all() for own in head.parameters() if own.grad is not None)


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
