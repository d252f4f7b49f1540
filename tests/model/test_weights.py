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

import ibca_lightning.model.backbone as backbone_file
from ibca_lightning.model.backbone import Backbone
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
        "glu": "vit_large_patch16_reg4_chexfound", "siglip": "vit_base_patch16_siglip_224",
        "v3": "vit_small_patch16_dinov3", "clip": "vit_base_patch16_clip_quickgelu_224",
        "gelu": "vit_base_patch16_clip_224", "eva": "eva02_tiny_patch14_224",
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


def pooled(state: State) -> State:
    """With the attention pool of SigLIP's own network."""
    small = {"embed_dim": 32, "num_heads": 2, "depth": 1, "img_size": SIDE, "patch_size": 14}
    own = timm.create_model("vit_base_patch16_siglip_224", num_classes=0, **small).state_dict()
    pool = {key: value for key, value in own.items() if key.startswith("attn_pool.")}
    assert pool
    return state | pool


def dinov3(state: State, bias: float = 0.0) -> State:
    """DINOv3's names; biases of query, key and value, the key's masked."""
    names = {"gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma", "reg_token": "storage_tokens"}
    written = {key: value for key, value in state.items() if "rope" not in key and not key.endswith("_bias")}
    for old, new in names.items():
        written = {key.replace(old, new): value for key, value in written.items()}
    biases = {f"blocks.{block}.attn.qkv.bias": torch.full((96,), bias) for block in range(2)}
    return (
        written | biases | {f"{key}_mask": torch.ones(96) for key in biases} | junk("mask_token", "rope_embed.periods")
    )


OF_CLIP = {
    r"^patch_embed\.proj": "conv1", r"^norm_pre": "ln_pre", r"^norm\.": "ln_post.", r"norm([12])": r"ln_\1",
    r"^blocks\.": "transformer.resblocks.", r"attn\.qkv\.": "attn.in_proj_", r"attn\.proj": "attn.out_proj",
    r"mlp\.fc1": "mlp.c_fc", r"mlp\.fc2": "mlp.c_proj", "^cls_token$": "class_embedding",
    "^pos_embed$": "positional_embedding",
}  # fmt: skip


def openai(state: State) -> State:
    """OpenAI's names of its picture side, tokens without their first dimensions; and the text side."""
    written = dict(state)
    written["cls_token"], written["pos_embed"] = state["cls_token"][0, 0].clone(), state["pos_embed"][0].clone()
    for old, new in OF_CLIP.items():
        written = {re.sub(old, new, key): value for key, value in written.items()}
    text = junk("token_embedding.weight", "transformer.resblocks.0.ln_1.weight", "logit_scale")
    return below("visual.", written) | {"visual.proj": torch.ones(32, 4)} | text


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
    "SigLIP with its pool": (
        "siglip", lambda own: below("visual.trunk.", pooled(own)) | junk("logit_bias", "logit_scale"), None,
    ),
    "timm's file of SigLIP": ("siglip", pooled, None),
    "DINOv3": ("v3", dinov3, "imagenet"),
    "OpenAI's CLIP": ("clip", openai, "clip"),
    "EVA in training": ("eva", lambda own: own | junk("mask_token", "lm_head.weight"), None),
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
        ("timm's file of SigLIP", "interpolated from (1, 16, 32) to (1, 36, 32); left out attn_pool.*, a pool that"),
        ("OpenAI's CLIP", "as OpenAI's CLIP; left out token_embedding, transformer, logit_scale; position"),
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
    tokens = {"timm's file of SigLIP": "from (1, 16, 32) to (1, 36, 32)", "OpenAI's CLIP": "to (1, 37, 32)"}
    told = tokens.get(layout, "from (1, 17, 32) to (1, 37, 32)")
    assert f"position embeddings interpolated {told}" in caplog.messages[-1]


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


def test_a_file_of_several_networks_gives_the_teacher_or_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own, other, path = net("vit", 0).state_dict(), net("vit", 1).state_dict(), tmp_path / "w.pth"

    def taken(content: object) -> str:
        torch.save(content, path)
        caplog.clear()
        with caplog.at_level(logging.INFO, "ibca_lightning"):
            load(target := net("vit", 2), "vit", str(path))
        assert all(torch.equal(value, own[key]) for key, value in target.state_dict().items())
        return "; ".join(caplog.messages)

    for first, second in (("teacher", "student"), ("ema_model", "model"), ("encoder_q", "encoder_k")):
        said = taken(below(f"module.{second}.", other) | below(f"module.{first}.", own))
        assert f"took what is below module.{first}, left out module.{second}" in said
    said = taken(below("backbone.", own) | junk("adapter.weight", "backbone2.bias"))
    assert "took what is below backbone, left out adapter, backbone2" in said
    assert "took what is below module, left out fc" in taken(below("module.", own) | junk("fc.weight"))
    assert taken(below("backbone.", own)) == "", "nothing was left out"
    for key, beside in (("state_dict_ema", "state_dict"), ("model_ema", "model"), ("teacher", "student")):
        said = taken({key: own, beside: other, "optimizer": {"a": {}}, "epoch": 3})
        assert f"of {path} the weights below {key} are taken, and not {beside}" in said
    torch.save(below("fundus.", own) | below("oct.", other), path)
    with pytest.raises(InputError, match=r"one network that fits .* got 2, below fundus, oct; write the keys"):
        load(net("vit", 2), "vit", str(path))


def test_biases_that_the_backbone_has_no_place_for_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.pth"
    torch.save(dinov3(net("v3", 0).state_dict(), bias=0.5), path)
    with pytest.raises(InputError, match=r"biases of query and value .*use vit_small_patch16_dinov3_qkvb"):
        load(net("v3", 1), "vit_small_patch16_dinov3.lvd1689m", str(path))
    assert capsys.readouterr().out == "", "timm prints a line a block"


@pytest.mark.parametrize(("kind", "warned"), [("clip", False), ("gelu", True)])
def test_openais_weights_in_a_network_of_another_activation_are_told_of(
    kind: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(openai(net("clip", 0).state_dict()), tmp_path / "w.pth")
    load(net(kind, 1), kind, str(tmp_path / "w.pth"))
    assert ("has no QuickGELU" in caplog.text) is warned


def test_tables_of_relative_positions_that_are_interpolated_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 1), "num_classes": 0}
    source = timm.create_model("swin_tiny_patch4_window7_224", img_size=56, window_size=7, **small)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    with caplog.at_level(logging.INFO, "ibca_lightning"):
        for window, said in ((7, False), (14, True)):
            target = timm.create_model("swin_tiny_patch4_window7_224", img_size=112, window_size=window, **small)
            load(target, "swin", str(tmp_path / "w.pth"))
            told = "interpolated layers.0.blocks.0.attn.relative_position_bias_table and 1 more"
            assert (told in caplog.text) is said


def test_three_shapes_that_do_not_fit_are_named_and_the_others_counted(tmp_path: Path) -> None:
    torch.save(net("vit", 0, embed_dim=64).state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError) as caught:
        load(net("vit", 1), "vit", str(tmp_path / "w.pth"))
    assert "got size mismatch for cls_token (1, 1, 64) in place of (1, 1, 32), pos_embed (1, 17, 64) in" in str(
        caught.value
    )
    assert re.search(r"patch_embed\.proj\.weight \S+ 3, 14, 14\) in place of .* and \d\d more; use", str(caught.value))


@pytest.mark.parametrize(
    "keys", [["model", "state_dict"], ["module", "model", "state_dict"], ["net", "model_state_dict"], ["model"] * 3]
)
def test_weights_below_several_keys_are_found(keys: list[str], tmp_path: Path) -> None:
    source = net("vit", 0)
    content: object = source.state_dict()
    for key in reversed(keys):
        content = {key: content, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(content, tmp_path / "w.pth")
    load(made := net("vit", 1), "vit", str(tmp_path / "w.pth"))
    assert torch.equal(made.blocks[1].attn.qkv.weight, source.blocks[1].attn.qkv.weight)


@pytest.mark.parametrize("way", ["pretrained", "checkpoint_path"])
def test_a_norm_behind_timms_pool_comes_over_on_either_way(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = timm.create_model("test_vit2", img_size=64)
    torch.nn.init.normal_(source.fc_norm.weight)
    torch.save(source.state_dict(), path := tmp_path / "w.pth")
    monkeypatch.setattr(backbone_file, "_source", lambda _: {"pretrained_cfg_overlay": {"file": str(path)}})
    given = {"pretrained": True} if way == "pretrained" else {"checkpoint_path": str(path)}
    with caplog.at_level(logging.INFO, "ibca_lightning"):
        made = Backbone("test_vit2", image_size=64, feature_stride=16, **given)
    assert torch.equal(made.model.norm.weight, source.fc_norm.weight)
    assert torch.equal(made.model.blocks[1].attn.qkv.weight, source.blocks[1].attn.qkv.weight)
    assert "its norm of the pooled tokens" in caplog.text


def test_a_second_file_that_cannot_be_fetched_for_that_norm_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is made a second time, with timm's pool, to have its norm: the network may be gone meanwhile."""
    source = timm.create_model("test_vit2", img_size=64)
    torch.save(source.state_dict(), path := tmp_path / "w.pth")
    monkeypatch.setattr(backbone_file, "_source", lambda _: {"pretrained_cfg_overlay": {"file": str(path)}})
    create, fetched = timm.create_model, []

    def create_once(name: str, **options: Any) -> Any:
        if options.get("pretrained"):
            fetched.append(name)
            if len(fetched) > 1:
                raise OSError("the network is unreachable\nin two lines")
        return create(name, **options)

    monkeypatch.setattr(backbone_file.timm, "create_model", create_once)
    with pytest.raises(InputError, match=r"weights of test_vit2 .* got the network is unreachable; use"):
        Backbone("test_vit2", image_size=64, feature_stride=16, pretrained=True)
    assert len(fetched) == 2
