"""Whose mean and deviation pictures are normalised with: as told, or of the set that the weights are of; and said."""

import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import ibca_lightning
import ibca_lightning.model.backbone as backbone_file
from ibca_lightning import MultiLabelModule
from ibca_lightning.heads import GAPHead
from ibca_lightning.model.backbone import Backbone
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.model.network import load_network
from ibca_lightning.model.weights.normalisation import SETS, chosen, require_normalisation
from ibca_lightning.system.errors import InputError
from ibca_lightning.use.deployable import Deployed
from tests.training import Pictures, loader, module, save, trainer

OWN = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}


def of(backbone: Backbone) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return backbone.mean, backbone.std


@pytest.mark.parametrize("word", ["imagenet", "clip", "half"])
def test_each_word_is_its_set_and_auto_is_timms(word: str) -> None:
    model = module(normalisation=word)
    assert of(model.backbone) == SETS[word]
    torch.testing.assert_close(model._mean.flatten() / 255, torch.tensor(SETS[word][0]))
    torch.testing.assert_close(model._std.flatten() / 255, torch.tensor(SETS[word][1]))
    assert of(module(backbone="mobilenetv3_small_050").backbone) == SETS["imagenet"]
    assert of(module(backbone="test_vit").backbone) == SETS["half"]


@pytest.mark.parametrize(
    "wrong",
    [
        "caffe", {"mean": [0.5] * 3}, {"mean": [0.5] * 2, "std": [0.5] * 3}, {"mean": [0.5] * 3, "std": [0.5]},
        {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}, {"mean": [0.5] * 3, "std": [0.5, 0.5, 0.0]},
        {"mean": [0.5] * 3, "std": [0.5] * 3, "max": [1.0] * 3},
    ],
)  # fmt: skip
def test_what_is_no_normalisation_is_refused_in_one_line(wrong: object) -> None:
    with pytest.raises(InputError, match=r"model.normalisation auto, imagenet, .* each of 3 channels, got") as caught:
        module(normalisation=wrong)
    assert "\n" not in str(caught.value)


def test_other_channels_have_their_own_values_or_those_of_the_word() -> None:
    assert module(in_channels=1, normalisation="imagenet", preprocessing=None).spec.mean == pytest.approx([0.449])
    one = {"mean": [0.2], "std": [0.3]}
    assert module(in_channels=1, normalisation=one, preprocessing=None).spec.std == [0.3]


def test_a_checkpoint_holds_it_and_prediction_export_and_a_new_start_follow(tmp_path: Path) -> None:
    made = module(head=GAPHead, normalisation=OWN, thresholds="fixed").eval()
    path = save(made, tmp_path / "a.ckpt")
    assert (made.spec.mean, made.spec.std) == (OWN["mean"], OWN["std"])
    again = MultiLabelModule.load_from_checkpoint(path).eval()
    assert again.spec.as_dict() == made.spec.as_dict()
    images = Pictures(2).image
    with torch.no_grad():
        expected = made(images).logits
        for network in (again, load_network(read_checkpoint(path)), module(head=GAPHead, init_from=str(path)).eval()):
            assert [list(value) for value in of(network.backbone)] == [OWN["mean"], OWN["std"]]
            torch.testing.assert_close(network(images).logits, expected)
        told = module(head=GAPHead, init_from=str(path), normalisation="half")
        assert of(told.backbone) == SETS["half"]
    predictor = ibca_lightning.load(path, "cpu")
    torch.testing.assert_close(predictor.forward(images)[0], expected.sigmoid())
    torch.testing.assert_close(Deployed(predictor)(images)[0], expected.sigmoid())


def test_a_run_that_goes_on_keeps_that_of_its_checkpoint_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, model = module(head=GAPHead, normalisation=OWN), module(head=GAPHead, normalisation="half")
    trainer().test(first, loader(Pictures(4)), verbose=False)
    first.trainer.save_checkpoint(path := tmp_path / "a.ckpt")
    trainer().test(model, loader(Pictures(4)), ckpt_path=path, weights_only=True, verbose=False)
    assert (model.spec.mean, model.spec.std) == (OWN["mean"], OWN["std"])
    assert "normalised as the checkpoint's were, mean [0.1, 0.2, 0.3]" in caplog.text


@pytest.mark.parametrize(
    ("file", "taken", "said"),
    [
        ("RETFound_cfp_weights.pth", "imagenet", "those of RETFound, by the name of"),
        ("retfoundgreen_statedict.pth", "half", "those of RETFound-Green, by the name of"),
        ("models--microsoft--rad-dino/snapshots/1a/w.pth", "rad_dino", "those of RAD-DINO, by the name of"),
        ("BiomedCLIP/w.pth", "clip", "those of BiomedCLIP, by the name of"),
        ("flair_resnet.pth", "flair", "those of FLAIR, by the name of"),
        ("mae_pretrain_vit_base.pth", "imagenet", "those of MAE, by the name of"),
        ("dino_vitbase16_pretrain.pth", "imagenet", "those of DINO, by the name of"),
        ("retfound_study/rad-dino/w.pth", "rad_dino", "those of RAD-DINO, by the name of"),
        ("RETFound/BiomedCLIP.pth", "clip", "those of BiomedCLIP, by the name of"),
        ("w.pth", "half", "timm's of this backbone"),
    ],
)
def test_auto_knows_a_published_set_by_its_name_and_says_what_it_took(
    file: str, taken: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(timm.create_model("test_vit", img_size=64).state_dict(), path)
    options = {"image_size": 64, "checkpoint_path": str(path)}
    with caplog.at_level(logging.INFO, "ibca_lightning"):
        assert of(Backbone("test_vit", **options)) == SETS[taken]
    assert [said in line for line in caplog.messages] == [True]
    unknown = file == "w.pth"
    assert (caplog.records[0].levelname == "WARNING") is unknown
    assert ("if timm did not train it, give imagenet, clip, half or {mean, std}" in caplog.text) is unknown
    assert of(Backbone("test_vit", normalisation="clip", **options)) == SETS["clip"], "what is asked for wins"


@pytest.mark.parametrize(
    ("given", "file", "layout", "fetched", "said"),
    [
        ("clip", None, None, True, "as model.normalisation asks; auto would take mean 0.485, 0.456, 0.406, std"),
        (OWN, None, None, True, "mean 0.1, 0.2, 0.3, std 0.4, 0.5, 0.6, as model.normalisation asks"),
        ("imagenet", "w/BiomedCLIP/w.bin", "clip", False, "auto would take mean 0.481, 0.458, 0.408, std"),
        ("auto", "retfound_study/w.bin", "clip", False, "by the name of retfound_study/w.bin, but its keys are of"),
        ("imagenet", None, None, True, ""),
        ("clip", None, None, False, ""),  # no weights that could want other values
        ("clip", "w/BiomedCLIP/w.bin", "clip", False, ""),
        ("auto", "rad-dino/w.safetensors", "imagenet", False, ""),  # its keys are DINOv2's
        ("auto", "dino_vs_clip/ViT-B-16.pt", "clip", False, ""),  # a project that is called so
        ("auto", "w.bin", "clip", False, ""),
        ("auto", None, None, True, ""),
    ],
)
def test_values_that_the_weights_were_not_trained_with_do_not_pass_unsaid(
    given: Any, file: str | None, layout: str | None, fetched: bool, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"mean": SETS["imagenet"][0], "std": SETS["imagenet"][1]}
    require_normalisation(given, 3)
    mean, std = chosen(given, config, 3, file, layout, fetched)
    if given != "auto":
        assert (mean, std) == (SETS[given] if isinstance(given, str) else tuple(map(tuple, given.values())))
    assert [each.levelname for each in caplog.records if each.levelname != "INFO"] == (["WARNING"] if said else [])
    assert said in caplog.text


def test_a_backbone_of_fetched_weights_says_it(monkeypatch: pytest.MonkeyPatch, caplog: Any, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit", img_size=64).state_dict(), path := tmp_path / "w.pth")
    monkeypatch.setattr(backbone_file, "_source", lambda _: {"pretrained_cfg_overlay": {"file": str(path)}})
    Backbone("test_vit", image_size=64, normalisation="imagenet")
    assert "auto would take mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5: timm's of this backbone" in caplog.text


@pytest.mark.parametrize("file", ["dino_vs_vit/weights/augreg.pth", "my-dino-project/runs/a.pth", "mae_pretrain/a.pth"])
def test_a_project_called_like_a_method_says_nothing_of_its_weights(file: str) -> None:
    config = {"mean": SETS["half"][0], "std": SETS["half"][1]}
    assert chosen("auto", config, 3, file) == SETS["half"]
    assert chosen("auto", config, 3, "w/dino_vitbase16_pretrain.pth") == SETS["imagenet"]
