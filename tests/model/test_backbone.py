"""Every kind of timm model gives a map: shapes, values, gradients, weights, and what the user is told."""

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ibca_lightning.model.backbone as backbone_file
from ibca_lightning.model.backbone import Backbone
from ibca_lightning.system.errors import InputError

SIZE = 64
TINY = timm.list_models("test_*")
# plain maps, NHWC, a pool that cannot be switched off, tokens of every kind, a list as output, a final stride of 64
OTHERS = [
    "mobilenetv3_small_050",
    "mobilenetv2_050",
    "densenet121",
    "swin_tiny_patch4_window7_224",
    "efficientvit_b0",
    "inception_next_atto",
    "vit_small_patch16_dinov3",
    "deit_tiny_distilled_patch16_224",
    "xcit_nano_12_p8_224",
    "volo_d1_224",
    "levit_128s",
    "pit_ti_224",
    "efficientvim_m1",
]


def make(name: str, **options: object) -> Backbone:
    torch.manual_seed(0)
    return Backbone(name, pretrained=False, **{"image_size": SIZE, **options})  # type: ignore[arg-type]


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def without_gradient(backbone: Backbone) -> list[str]:
    """Trainable parameters that one backward pass leaves without a gradient: what makes DDP fail."""
    backbone.train()
    backbone(images()).square().sum().backward()
    return [name for name, p in backbone.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("name", [*TINY, *OTHERS])
def test_any_family_gives_a_map_of_the_declared_channels_by_default(name: str) -> None:
    backbone = make(name)
    features = backbone(images())
    assert features.shape[:2] == (2, backbone.channels)
    assert features.shape[2] == features.shape[3] >= SIZE // 32
    assert features.isfinite().all()
    assert not without_gradient(backbone)


@pytest.mark.parametrize(
    ("name", "stride"),
    [(n, s) for n in TINY for s in (32, 16, 8, [16, 32]) if not n.startswith("test_vit") or s in (32, 16)],
)
def test_nothing_of_a_usual_family_is_left_frozen(name: str, stride: int | list[int]) -> None:
    backbone = make(name, feature_stride=stride)
    assert all(p.requires_grad for p in backbone.parameters())
    assert not without_gradient(backbone)
    expected = 16 if name.startswith("test_vit") else stride if isinstance(stride, int) else min(stride)
    assert backbone(images(1)).shape == (1, backbone.channels, SIZE // expected, SIZE // expected)


def test_class_attention_is_frozen_because_the_map_does_not_use_it() -> None:
    frozen = {name.split(".")[1] for name, p in make("xcit_nano_12_p8_224").named_parameters() if not p.requires_grad}
    assert frozen == {"cls_token", "cls_attn_blocks"}


@pytest.mark.parametrize(("name", "channels_last"), [("test_resnet", False), ("test_mambaout", True)])
def test_final_map_is_the_model_without_pool_and_classifier(name: str, channels_last: bool) -> None:
    backbone = make(name).eval()
    plain = timm.create_model(name, num_classes=0, global_pool="").eval()
    plain.load_state_dict(backbone.model.state_dict())
    expected = plain(images())
    torch.testing.assert_close(backbone(images()), expected.permute(0, 3, 1, 2) if channels_last else expected)


@pytest.mark.parametrize(
    ("name", "prefix"), [("test_vit_relpos", 0), ("test_vit", 1), ("volo_d1_224", 1), ("vit_small_patch16_dinov3", 5)]
)
def test_tokens_become_a_grid_by_rows_without_prefix(name: str, prefix: int) -> None:
    backbone = make(name).eval()
    plain = timm.create_model(name, num_classes=0, global_pool="", img_size=SIZE).eval()
    plain.load_state_dict(backbone.model.state_dict())
    tokens = plain(images())[:, prefix:]
    features = backbone(images())
    assert features.shape == (2, tokens.shape[2], 4, 4)
    for row in range(4):
        for column in range(4):
            torch.testing.assert_close(features[:, :, row, column], tokens[:, 4 * row + column])


@pytest.mark.parametrize("name", ["test_resnet", "test_mambaout", "mobilenetv2_050", "efficientvit_b0"])
def test_several_strides_are_the_stages_resized_to_the_finest(name: str) -> None:
    backbone = make(name, feature_stride=[32, 8, 16]).eval()
    # timm's own extraction from a model of the same seed, with `features_only`
    torch.manual_seed(0)
    full = timm.create_model(name, num_classes=0)
    overlay = {"state_dict": full.state_dict()}
    stages = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, features_only=True, out_indices=(-3, -2, -1)
    ).eval()
    backbone.model.load_state_dict(full.state_dict(), strict=False)
    maps = [m.permute(0, 3, 1, 2) if name == "test_mambaout" else m for m in stages(images())]
    expected = torch.cat([maps[0], *(F.interpolate(m, size=(8, 8), mode="bilinear") for m in maps[1:])], dim=1)
    assert backbone.channels == expected.shape[1]
    torch.testing.assert_close(backbone(images()), expected)


def test_deepest_int_includes_the_last_convolution_and_a_list_does_not() -> None:
    assert make("mobilenetv2_100").channels == 1280
    assert make("mobilenetv2_100", feature_stride=[32]).channels == 320
    assert make("mobilenetv2_100", feature_stride=[16, 32]).channels == 96 + 320
    assert make("mobilenetv3_small_050").channels == 1024  # num_features says 288


def test_a_token_grid_serves_any_stride_that_is_not_finer() -> None:
    for stride in (16, 32, [16]):
        assert make("test_vit", feature_stride=stride)(images(1)).shape == (1, 64, 4, 4)


@pytest.mark.parametrize(
    ("name", "stride", "known"),
    [
        ("test_vit", 8, "[16]"),
        ("test_vit", [16, 32], "[16]"),
        ("test_convnext", 2, "[4, 8, 16, 32]"),
        ("test_resnet", [], "[2, 4, 8, 16, 32]"),
    ],
)
def test_impossible_stride_names_those_there_are(name: str, stride: int | list[int], known: str) -> None:
    with pytest.raises(InputError) as caught:
        make(name, feature_stride=stride)
    assert known in str(caught.value)
    assert f"got {stride}" in str(caught.value)


def test_mean_std_and_size_are_the_models_own() -> None:
    vit, mobilenet = make("test_vit"), make("mobilenetv2_050")
    assert vit.mean == vit.std == (0.5, 0.5, 0.5)
    assert mobilenet.mean == (0.485, 0.456, 0.406)
    assert mobilenet.std == (0.229, 0.224, 0.225)
    assert (vit.default_image_size, mobilenet.default_image_size) == (160, 224)


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_means_no_gradient_and_still_statistics(freeze: bool) -> None:
    model = nn.Sequential(make("test_resnet", freeze=freeze)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    output = model(images() + 3)
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert output.requires_grad is not freeze  # no graph, so no activations are kept
    assert bool(moved) is not freeze
    assert any(p.requires_grad for p in model.parameters()) is not freeze


def test_building_touches_neither_statistics_nor_later_random_numbers() -> None:
    backbone = make("test_resnet")
    drawn = torch.rand(())
    torch.manual_seed(0)
    plain = timm.create_model("test_resnet", num_classes=0, global_pool="")
    assert drawn == torch.rand(())
    assert all(module.training for module in backbone.modules())
    for key, value in plain.state_dict().items():
        assert torch.equal(value, backbone.model.state_dict()[key])


def scrambled(name: str, **options: object) -> dict[str, Tensor]:
    """Weights of a model with its classifier, with values that no initialisation gives."""
    torch.manual_seed(7)
    state: dict[str, Tensor] = timm.create_model(name, **options).state_dict()
    return {key: torch.rand_like(v) + 0.5 if v.is_floating_point() else v for key, v in state.items()}


@pytest.mark.parametrize("stride", [32, 16, [8, 16]])
@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "model.", "module.", "lightning"])
def test_one_weights_file_fits_every_stride_and_wrapper(tmp_path: Path, stride: int | list[int], wrapped: str) -> None:
    source = scrambled("test_resnet")
    content: dict[str, object] = dict(source)
    if wrapped == "state_dict":
        content = {"epoch": 3, "state_dict": source}
    elif wrapped == "lightning":
        own = {f"backbone.model.{key}": value for key, value in source.items()}
        content = {"epoch": 3, "state_dict": {**own, "head.weight": torch.ones(2), "loss.weight": torch.ones(2)}}
    elif wrapped != "plain":
        content = {wrapped + key: value for key, value in source.items()}
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    # `pretrained` stays True: the file wins, nothing is fetched
    backbone = Backbone("test_resnet", checkpoint_path=str(path), feature_stride=stride, image_size=SIZE)
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, source[key])


LAYOUTS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "a tutorial's": lambda own: {"epoch": 3, "model_state_dict": own, "optimizer_state_dict": {}},
    "a network's": lambda own: {"net": own},
    "DINO's": lambda own: {"student": {}, "teacher": prefixed("backbone.", own) | {"head.mlp.0.weight": torch.ones(2)}},
    "MoCo's": lambda own: {
        "state_dict": prefixed("module.encoder_q.", own) | prefixed("module.encoder_k.", zeros(own))
    },
    "an encoder's": lambda own: {"state_dict": prefixed("encoder.", own) | {"decoder.weight": torch.ones(2)}},
    "timm's train.py": lambda own: {"arch": "x", "state_dict": own, "args": argparse.Namespace(lr=1.0)},
}


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def zeros(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: torch.zeros_like(value) for key, value in state.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_common_layouts_of_weights(layout: str, tmp_path: Path) -> None:
    source = scrambled("test_resnet")
    torch.save(LAYOUTS[layout](source), tmp_path / "a.pth")
    backbone = Backbone("test_resnet", checkpoint_path=str(tmp_path / "a.pth"), image_size=SIZE)
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, source[key])


def test_what_a_file_holds_that_has_no_weights_to_be_found(tmp_path: Path) -> None:
    for content, said in (
        ({"epoch": 3, "my_weights": {"a": torch.ones(1)}}, "a dict without any among epoch, my_weights; use a"),
        ({"model": scrambled("test_resnet"), "when": datetime.date(2026, 1, 1)}, "an object datetime.date in 'when';"),
    ):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(InputError, match=said):
            Backbone("test_resnet", checkpoint_path=str(tmp_path / "a.pth"), image_size=SIZE)


def test_safetensors_file_of_a_vit_is_resized_to_the_image_size(tmp_path: Path) -> None:
    source = scrambled("test_vit", img_size=160)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(source, path)
    same = make("test_vit", checkpoint_path=str(path), image_size=160)
    assert torch.equal(same.model.pos_embed, source["pos_embed"])
    smaller = make("test_vit", checkpoint_path=str(path))
    assert smaller.model.pos_embed.shape == (1, 1 + 4 * 4, 64)
    assert torch.equal(smaller.model.blocks[3].attn.qkv.weight, source["blocks.3.attn.qkv.weight"])


def test_unfit_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"

    def refused() -> str:
        with pytest.raises(InputError) as caught:
            make("test_resnet", checkpoint_path=str(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in refused()
    path.write_text("junk")
    assert "plain tensors" in refused()
    torch.save({"epoch": 3}, path)
    assert "without any" in refused()
    torch.save(timm.create_model("test_convnext").state_dict(), path)
    assert "no conv1.0.weight, " in refused()
    assert "unexpected stem.0.weight, " in refused()
    state = timm.create_model("test_resnet").state_dict()
    del state["layer2.0.conv1.weight"]
    torch.save(state, path)
    assert "got no layer2.0.conv1.weight;" in refused()
    state["layer2.0.conv1.weight"] = torch.ones(1, 2, 3, 3)
    torch.save(state, path)
    assert "size mismatch for layer2.0.conv1.weight" in refused()


@pytest.mark.parametrize(
    ("name", "advice"), [("resnet5", "resnet50"), ("resnet18.none", "resnet18.a1_in1k"), ("my/net", "timm")]
)
def test_unknown_name_gets_near_ones(name: str, advice: str) -> None:
    with pytest.raises(InputError, match=advice):
        make(name)


class Unreachable:
    def head(self, url: str, timeout: float) -> None:
        raise ConnectionError("no route to the hub")


def test_no_network_is_told_at_once_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone_file.huggingface_hub, "get_session", Unreachable)
    monkeypatch.setattr(backbone_file.huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(
        InputError, match=r"no route to the hub.*--model.pretrained false.*--model.checkpoint_path FILE"
    ):
        Backbone("test_resnet", image_size=SIZE)
    with pytest.raises(InputError, match=r"no weights exist.*--model.pretrained false"):
        Backbone("coatnet_0_224", image_size=SIZE)


def test_no_network_is_no_matter_where_the_cache_has_the_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = scrambled("test_resnet")
    safetensors.torch.save_file(source, tmp_path / "model.safetensors")
    monkeypatch.setattr(backbone_file.huggingface_hub, "get_session", Unreachable)
    monkeypatch.setattr(
        backbone_file.huggingface_hub, "try_to_load_from_cache", lambda _, file, revision: str(tmp_path / file)
    )
    backbone = Backbone("test_resnet", image_size=SIZE)
    assert torch.equal(backbone.model.conv1[0].weight, source["conv1.0.weight"])


@pytest.mark.parametrize("name", ["crossvit_tiny_240", "halonet26t"])
def test_a_model_that_gives_no_map_says_so(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} to give a feature map .* 64 x 64 .*--data.image_size 2"):
        make(name)


@pytest.mark.parametrize(("name", "stride"), [("test_resnet", [16, 32]), ("test_vit", 32), ("test_mambaout", 32)])
def test_exported_program_agrees(name: str, stride: int | list[int]) -> None:
    backbone = make(name, feature_stride=stride).eval()
    program = torch.export.export(backbone, (images(),)).module()
    torch.testing.assert_close(program(images()), backbone(images()))


@pytest.mark.parametrize(
    ("name", "stride", "sides"),
    [
        ("test_resnet", [8, 16, 32], [8, 4, 2]),
        ("test_resnet", 32, [2]),
        ("swin_tiny_patch4_window7_224", 32, [2]),  # NHWC
        ("test_vit", 16, [4]),  # tokens
    ],
)
def test_stages_are_the_maps_before_they_are_resized(name: str, stride: int | list[int], sides: list[int]) -> None:
    backbone = make(name, feature_stride=stride).eval()
    stages = backbone.stages(images())
    assert [x.shape[-1] for x in stages] == sides
    assert sum(x.shape[1] for x in stages) == backbone.channels
    whole = backbone(images())
    torch.testing.assert_close(backbone.combine(stages), whole)
    for part, stage in zip(whole.split([x.shape[1] for x in stages], dim=1), stages, strict=True):
        torch.testing.assert_close(part, F.interpolate(stage, size=sides[0], mode="bilinear", align_corners=False))


def test_a_fingerprint_names_the_weights_and_nothing_else() -> None:
    backbone, other = make("test_resnet"), make("test_resnet").double().to(memory_format=torch.channels_last)
    first = backbone.fingerprint()
    assert len(first) == 16
    assert other.fingerprint() == first, "type and layout are no weights"
    backbone(images())  # BatchNorm's running statistics move, and with them the maps of evaluation
    assert backbone.fingerprint() != first
    with torch.no_grad():
        next(other.parameters())[0, 0, 0, 0] += 1e-3
    assert other.fingerprint() != first
