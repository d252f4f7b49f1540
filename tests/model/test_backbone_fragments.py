"""The backbones that come as a fragment: what a file says, what it is merged into, and that it can be built."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml

from ibca_lightning.heads import IBCAHead
from ibca_lightning.model.backbone import Backbone, _check_name
from ibca_lightning.model.weights.normalisation import SETS
from ibca_lightning.run.command_line.shipped import fragments, recipes
from tests.command_line import done, experiment, written

NAMES = [
    "aimv2", "biomedclip", "chexfound", "convnext", "dinov3_convnext_tiny", "dinov3_vits", "rad_dino", "resnet50",
    "retfound_dinov2", "retfound_mae", "siglip2", "swin",
]  # fmt: skip
RUN = ("dinov3_convnext_tiny", "dinov3_vits", "resnet50")  # small enough to be run; the others are on no device


def content(name: str) -> dict[str, dict[str, dict[str, Any]]]:
    return yaml.safe_load(fragments("backbones")[name].read_text())


@pytest.mark.parametrize("name", NAMES)
def test_each_says_licence_source_and_launch_and_names_what_timm_has(name: str) -> None:
    text = fragments("backbones")[name].read_text()
    head = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("#")]
    assert len(head[0].split(";")) == 2, "licence; source"
    (launch,) = (line for line in head if "ibca fit" in line)
    recipe = launch.split("--config ")[1].strip()
    assert recipe in recipes()
    assert f"--config backbones/{name}" in launch
    assert any(line.startswith("Get it: ") for line in head)
    assert any(line.startswith("Published: ") for line in head)
    model = content(name)["model"]["init_args"]
    _check_name(model["backbone"])
    if model["pretrained"]:
        assert timm.get_pretrained_cfg(model["backbone"]).has_weights
        assert model["checkpoint_path"] is None
        assert "FILE" not in launch
        assert model["normalisation"] == "auto", "or that of a fragment before it would stay"
    else:  # timm's own weights would be taken without a word
        assert model["checkpoint_path"]
        assert {"FILE"} <= {*launch.split()}
        assert (
            model["normalisation"] in ("imagenet", "clip") or tuple(model["normalisation"]["mean"]) in SETS["rad_dino"]
        )


def test_the_list_has_them_with_size_stride_licence_and_source() -> None:
    assert list(fragments("backbones")) == NAMES
    lines = done("list", "backbones").out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(len(line) <= 80 and "..." not in line for line in lines)
    assert lines[NAMES.index("convnext")].split(maxsplit=1)[1] == "384 px, strides 16, 32; Apache 2.0; by timm"
    assert lines[NAMES.index("retfound_mae")].split(maxsplit=1)[1].startswith("224 px, stride 16; CC BY-NC 4.0; ")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_is_merged_behind_an_experiment_and_built_with_ibca(name: str, tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree, image_size=64))
    weights = ("--model.pretrained", "false", "--model.checkpoint_path", "null")
    merged = done("fit", "--config", "e.yaml", "--config", f"backbones/{name}", *weights, "--print_config").out
    options = yaml.safe_load(merged)
    model, size = options["model"]["init_args"], options["data"]["init_args"]["image_size"]
    assert {
        **content(name)["model"]["init_args"],
        "pretrained": False,
        "checkpoint_path": None,
    }.items() <= model.items()
    assert size == content(name)["data"]["init_args"]["image_size"]
    with torch.device("cpu" if name in RUN else "meta"), torch.no_grad():
        backbone = Backbone(
            model["backbone"], pretrained=False, feature_stride=model["feature_stride"], image_size=size,
            normalisation=model["normalisation"],
        ).eval()  # fmt: skip
        stages = backbone.stages(torch.zeros(1, 3, size, size))
    head = IBCAHead(backbone.channels, 3).eval()
    output = head(backbone.combine([torch.zeros(stage.shape) for stage in stages]))
    strides = model["feature_stride"] if isinstance(model["feature_stride"], list) else [model["feature_stride"]]
    assert [tuple(stage.shape[-2:]) for stage in stages] == [(size // stride, size // stride) for stride in strides]
    assert output.logits.shape == (1, 3)
    assert output.attention.shape == (1, 3, *stages[0].shape[-2:])
