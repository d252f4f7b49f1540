"""Weights in the layouts that they are published in give the features of the network that they were written from.

The published files are not at hand: each layout was rebuilt from the project's code; small nets are written in it.
"""

import argparse
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from ibca_lightning.model.weights import architectures  # noqa: F401 - names for timm
from ibca_lightning.model.weights.files import load
from ibca_lightning.system.errors import InputError

State = dict[str, Tensor]
SIDE = 56
Write = Callable[[State], object]


def net(kind: str, seed: int, side: int = SIDE, **options: Any) -> Any:
    torch.manual_seed(seed)
    if kind == "resnet":
        return timm.create_model("resnet18", num_classes=0, **options).eval()
    name = {
        "vit": "vit_tiny_patch16_224", "ls": "vit_small_patch14_dinov2", "reg": "vit_small_patch14_reg4_dinov2",
        "glu": "vit_large_patch16_reg4_chexfound",
    }[kind]  # fmt: skip
    small = {"embed_dim": 32, "num_heads": 2, "depth": 2, "img_size": side, "patch_size": 14}
    if kind == "glu":
        small["mlp_ratio"] = 5.5
    made = timm.create_model(name, num_classes=0, global_pool="", **(small | options)).eval()
    with torch.no_grad():
        for value in made.parameters():
            value.add_(torch.randn_like(value) * 0.1)  # norms, scales and tokens too, each its own
    return made


def below(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def junk(*keys: str) -> State:
    return {key: torch.ones(2) for key in keys}


def embedded(state: State, names: dict[str, str]) -> State:
    """Transformers' names; q, k and v apart."""
    written: State = {}
    for key, value in state.items():
        for old, new in names.items():
            key = re.sub(old, new, key)
        if "attn.qkv" in key:
            parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
            written |= {key.replace("attn.qkv", f"attention.attention.{name}"): part.clone() for name, part in parts}
        else:
            written[key] = value
    return written


EMBEDDINGS = {
    r"^(cls_token|register_tokens)$": r"embeddings.\1", "^pos_embed$": "embeddings.position_embeddings",
    r"^patch_embed\.proj": "embeddings.patch_embeddings.projection", r"^norm\.": "layernorm.",
    r"^blocks\.": "encoder.layer.", r"attn\.proj": "attention.output.dense",
}  # fmt: skip
OF_VIT = EMBEDDINGS | {
    "norm1": "layernorm_before", "norm2": "layernorm_after", r"mlp\.fc1": "intermediate.dense",
    r"mlp\.fc2": "output.dense",
}  # fmt: skip
OF_DINOV2 = EMBEDDINGS | {r"ls([12])\.gamma": r"layer_scale\1.lambda1"}
MASK = {"embeddings.mask_token": torch.ones(1, 32)}


def apart(state: State) -> State:
    """Register tokens as DINOv2 has them: the class token has a position of its own."""
    rest = dict(state)
    position = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(3))
    rest["register_tokens"] = rest.pop("reg_token")
    rest["cls_token"] = rest["cls_token"] - position
    rest["pos_embed"] = torch.cat([position, rest["pos_embed"]], dim=1)
    return rest


def chunked(state: State) -> State:
    return {re.sub(r"^blocks\.(\d+)", r"blocks.0.\1", key): value for key, value in state.items()}


def swiglu(state: State) -> State:
    """DINOv2's names of its SwiGLU."""
    return {key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): value for key, value in state.items()}


def teacher(state: State) -> object:
    heads = junk("dino_head.mlp.0.weight", "ibot_head.last_layer.weight")
    student = below("backbone.", {key: torch.zeros_like(value) for key, value in state.items()})
    return {"student": student, "teacher": below("backbone.", state | junk("mask_token")) | heads}


DECODER = junk("mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_blocks.0.norm1.weight")
LAYOUTS: dict[str, tuple[str, Write, str | None]] = {  # the net, its layout, whose normalisation the keys tell
    "timm": ("vit", lambda own: own, None),
    "torchvision": ("resnet", lambda own: own | junk("fc.weight", "fc.bias"), None),
    "RETFound (MAE)": ("vit", lambda own: {"model": own | DECODER, "args": argparse.Namespace(lr=1.0)}, "imagenet"),
    "fine-tuned MAE": (
        "vit", lambda own: {"model": {re.sub(r"^norm\.", "fc_norm.", k): v for k, v in own.items()}}, None,
    ),
    "DINO": (
        "vit",
        lambda own: {"teacher": below("backbone.", own) | junk("head.mlp.0.weight", "head.last_layer.weight_g")},
        "imagenet",
    ),
    "DINOv2": ("ls", lambda own: own | junk("mask_token"), "imagenet"),
    "RETFound (DINOv2)": ("ls", teacher, "imagenet"),
    "CheXFound": ("glu", lambda own: teacher(chunked(swiglu(apart(own)))), "imagenet"),
    "DINOv2 with registers": ("reg", lambda own: teacher(chunked(apart(own))), "imagenet"),
    "both nets of DINOv2 in one": (
        "ls",
        lambda own: {
            "model": below("student.backbone.", {k: v * 0 for k, v in own.items()})
            | below("teacher.backbone.", own | junk("mask_token"))
        },
        "imagenet",
    ),
    "RAD-DINO (Hugging Face DINOv2)": ("ls", lambda own: embedded(own, OF_DINOV2) | MASK, "imagenet"),
    "Hugging Face DINOv2 with registers": ("reg", lambda own: embedded(apart(own), OF_DINOV2) | MASK, "imagenet"),
    "Hugging Face ViT": (
        "vit", lambda own: below("vit.", embedded(own, OF_VIT)) | junk("classifier.weight", "vit.pooler.dense.bias"),
        None,
    ),
    "Hugging Face ViTMAE": (
        "vit", lambda own: below("vit.", embedded(own, OF_VIT)) | junk("decoder.decoder_embed.weight"), "imagenet",
    ),
    "BiomedCLIP": (
        "vit",
        lambda own: below("visual.trunk.", own)
        | junk("visual.head.proj.weight", "text.transformer.embeddings.word_embeddings.weight", "logit_scale"),
        "clip",
    ),
    "SigLIP in open_clip": ("vit", lambda own: below("visual.trunk.", own) | junk("logit_bias", "logit_scale"), None),
    "FLAIR": (
        "resnet",
        lambda own: below("vision_model.model.", own)
        | junk("vision_model.projection_head_vision.projection.weight", "text_model.model.pooler", "logit_scale"),
        "flair",
    ),
    "compiled, of DDP": ("vit", lambda own: {"model_ema": below("module._orig_mod.", own)}, None),
    "an encoder's": ("vit", lambda own: {"student": below("encoder.", own)}, None),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_features_of_the_net_that_it_was_written_from(layout: str, tmp_path: Path) -> None:
    kind, write, published = LAYOUTS[layout]
    source, target = net(kind, 0), net(kind, 1)
    torch.save(write(source.state_dict()), tmp_path / "w.pth")
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = source.forward_features(images)
        assert not torch.allclose(target.forward_features(images), expected, atol=1e-2)
        assert load(target, kind, str(tmp_path / "w.pth")) == published
        torch.testing.assert_close(target.forward_features(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("RETFound (MAE)", "as MAE; left out mask_token, decoder_pos_embed, decoder_embed and 1 more; position"),
        ("RETFound (DINOv2)", "as DINOv2; left out mask_token, dino_head, ibot_head; position"),
        ("BiomedCLIP", "as open_clip (BiomedCLIP); left out visual.head, text, logit_scale; position"),
    ],
)
def test_what_is_left_out_or_interpolated_is_said(
    layout: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind, write, _ = LAYOUTS[layout]
    torch.save(write(net(kind, 0).state_dict()), tmp_path / "w.pth")
    with caplog.at_level(logging.INFO, "ibca_lightning"):
        load(net(kind, 1, side=84), kind, str(tmp_path / "w.pth"))
    assert said in caplog.messages[-1]
    assert "position embeddings interpolated from (1, 17, 32) to (1, 37, 32)" in caplog.messages[-1]


def test_the_network_of_chexfound_has_the_shapes_that_its_configuration_gives() -> None:
    with torch.device("meta"):
        made = timm.create_model("vit_large_patch16_reg4_chexfound", img_size=512, num_classes=0)
    shapes = {name: tuple(value.shape) for name, value in made.state_dict().items()}
    assert shapes["blocks.23.mlp.fc1.weight"] == (5472, 1024)  # w12: two layers of (4096 * 2 / 3, to 8s) rows
    assert shapes["blocks.23.mlp.fc2.weight"] == (1024, 2736)
    assert shapes["pos_embed"] == (1, 1024, 1024)
    assert shapes["reg_token"] == (1, 4, 1024)
    assert shapes["patch_embed.proj.weight"] == (1024, 3, 16, 16)


def test_what_does_not_fit_is_named_with_the_nearest_layout(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"

    def refused(content: object, kind: str) -> str:
        torch.save(content, path)
        with pytest.raises(InputError) as caught:
            load(net(kind, 1), kind, str(path))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    spoilt = net("resnet", 0).state_dict()
    spoilt["bn1.bias"][2] = torch.nan
    assert "finite weights of resnet in" in (said := refused(spoilt, "resnet"))
    assert "got NaN or infinity in bn1.bias" in said
    dinov2 = embedded(net("ls", 0).state_dict(), OF_DINOV2) | MASK
    said = refused(dinov2, "resnet")
    assert "got no conv1.weight, bn1.weight, bn1.bias and 97 more and unexpected cls_token, pos_embed" in said
    assert "nearest to Hugging Face DINOv2" in said
    del dinov2["encoder.layer.1.attention.attention.key.weight"]
    said = refused(dinov2, "ls")
    assert (
        "got no blocks.1.attn.qkv.weight and unexpected blocks.1.attn.query.weight, blocks.1.attn.value.weight" in said
    )
    assert "nearest to MAE" in refused(net("vit", 0).state_dict() | junk("mask_token"), "resnet")
    assert "no other known layout" in refused(net("resnet", 0).state_dict(), "vit")
