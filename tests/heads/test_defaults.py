"""What a head is without options: the numbers that the results in experiments/ stand on where a recipe says nothing."""

from typing import Any

import pytest
import torch

from ibca_lightning.heads import Head, PairHead
from tests.heads.contract import CHANNELS, HEADS, LABELS, features, labels

DEFAULTS: dict[str, dict[str, Any]] = {
    "AddGCNHead": {"hidden": 256},
    "AttVIBHead": {"latent": 256, "beta": 0.01, "width": 0},
    "AttentivePoolHead": {"width": 256, "num_heads": 8, "ffn": 512, "dropout": 0.1},
    "CALHead": {"maps": 32, "effect": 1.0, "scale": 10.0, "width": 0},
    "CGMVAEHead": {"latent": 64, "embedding": 2048, "kl": 6.0, "contrast": 1.0, "dropout": 0.5},
    "CSRAHead": {"residual_weight": 1.0, "temperature": 1.0, "width": 0},
    "CTranHead": {"width": 256, "num_heads": 4, "ffn": 512, "layers": 1, "dropout": 0.1, "label_mask": 1.0,
                  "most_given": 0.75},
    "CaaMHead": {"environments": 4, "invariance": 5e4, "reduction": 16, "width": 0},
    "EPHead": {"queries": 32, "width": 0},
    "GAPHead": {"width": 0},
    "GCNHead": {"hidden": 256, "threshold": 0.4, "weight": 0.25, "width": 0},
    "GLoRIHead": {"width": 256, "num_heads": 8, "ffn": 512, "dropout": 0.1, "class_token": False},
    "IBCAHead": {"width": 256, "num_heads": 4, "evidence_attention": 1.0, "hidden": 128, "dropout": 0.2,
                 "alignment": 1.0, "latent": 16, "background": 8, "bottleneck": 1e-3, "contrast": 0.2,
                 "intervention": True, "gradual": 0.5, "class_components": 1},
    "IDAHead": {"num_heads": 4, "layers": 1, "feed_forward": 0, "width": 256},
    "LPHead": {"class_embeddings": None, "use": "weights", "embedding_size": 512},
    "LfFHead": {"q": 0.7, "width": 0},
    "MILAttentionHead": {"init_std": 0.02, "width": 0},
    "MLDecoderHead": {"width": 256, "num_heads": 8, "ffn": 512, "groups": 100, "dropout": 0.1},
    "PairHead": {"fusion": "three", "width": 256},
    "Query2LabelHead": {"width": 256, "num_heads": 4, "ffn": 512, "encoder_layers": 0, "decoder_layers": 2,
                        "dropout": 0.1, "positions": True},
    "TSFormerHead": {"width": 256, "num_heads": 4, "ffn": 512, "layers": 2, "dropout": 0.1},
}  # fmt: skip

# Deviation and mean of what is drawn at the start, with 64 channels and 40 labels; what torch itself draws is left out.
WIDE = 256**-0.5
STARTS: dict[str, dict[str, tuple[float, float]]] = {
    "AttentivePoolHead": {"query": (0.0625, 0)},
    "CALHead": {"weight": ((32 * 64 * 3) ** -0.5, 0)},
    "CSRAHead": {"weight": (64**-0.5, 0)},
    "CTranHead": {"embedding": (WIDE / 3**0.5, 0), "state": (WIDE / 3**0.5, 0), "classify.weight": (WIDE / 3**0.5, 0)},
    "CaaMHead": {"weight": (64**-0.5, 0), "norm.weight": (0, 0)},
    "EPHead": {"queries": (0.02, 0)},
    "GCNHead": {"embedding": (0.3, 0), "first": (WIDE / 3**0.5, 0), "second": (64**-0.5 / 3**0.5, 0)},
    "IBCAHead": {"evidence.weight": (WIDE, 0), "evidence.scale": (0, 1), "queries.query": (0.02, 0), "bias": (0, 0),
                 "attended.output": (0.02, 0), "mixture.mean": (0.05, 0), "mixture.raw_log_std": (0, 0),
                 "encoder.log_std.weight": (0.01, 0), "encoder.log_std.bias": (0, -1)},
    "IDAHead": {"weight": (WIDE, 0)},
    "LPHead": {"factor": (0, 1), "weight": (0, 0), "bias": (0, 0)},
    "MILAttentionHead": {"weight": (0.02, 0)},
    "MLDecoderHead": {"weight": (WIDE, 0), "decoder.attention.query.weight": (WIDE / 2**0.5, 0),
                      "decoder.attention.query.bias": (0, 0)},
    "TSFormerHead": {"tokens": ((40 * 3) ** -0.5, 0), "classify.weight": (WIDE / 3**0.5, 0)},
}  # fmt: skip


def step(head_class: type[Head], **options: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    head = head_class(CHANNELS, LABELS, **options).train()
    head.set_progress(0.3)
    output = head(features(), labels())
    return {"logits": output.logits, "attention": output.attention, **output.losses}


@pytest.mark.parametrize("head_class", HEADS, ids=lambda c: c.__name__)
def test_a_head_without_options_is_the_one_with_its_defaults(head_class: type[Head]) -> None:
    defaults = DEFAULTS[head_class.__name__]
    head = head_class(CHANNELS, LABELS)
    inner = {"head": {"class_path": "ibca_lightning.heads.ibca.IBCAHead", "init_args": DEFAULTS["IBCAHead"]}}
    options = inner | defaults if head_class is PairHead else defaults
    assert (head.options, head.channels, head.num_labels) == (options, CHANNELS, LABELS)
    torch.testing.assert_close(step(head_class), step(head_class, **defaults))


@pytest.mark.parametrize("head_class", [head for head in HEADS if head.__name__ in STARTS], ids=lambda c: c.__name__)
def test_weights_start_at_their_scale(head_class: type[Head]) -> None:
    torch.manual_seed(0)
    head = head_class(64, 40)
    for name, (deviation, mean) in STARTS[head_class.__name__].items():
        weight = head.get_parameter(name).detach()
        assert weight.std(correction=0).item() == pytest.approx(deviation, rel=0.12), name
        assert weight.mean().item() == pytest.approx(mean, abs=0.15 * deviation), name
