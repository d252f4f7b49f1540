"""Pictures of five channels, or one, through every command: trained, tested, predicted, explained, exported."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import ibca_lightning
from ibca_lightning.system.errors import InputError
from tests.command_line import done, ibca
from tests.training import module

SIDE = 64
FIT = (
    "--model.backbone", "test_resnet", "--model.pretrained", "false", "--model.head", "GAPHead",
    "--data.image_size", SIDE,
    "--data.num_workers", 0, "--trainer.max_epochs", 1, "--wandb", "disabled", "--data.batch_size", 4,
    "--trainer.accelerator", "cpu",
)  # fmt: skip


def write(folder: Path, channels: int) -> Path:
    """A table, and a picture for each of its rows."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for split in ("train", "val", "test"):
        rows = [(f"{split}{at}.{'tif' if channels == 1 else 'npz'}", at % 2) for at in range(6)]
        for name, _ in rows:
            pixels = random.integers(0, 256, (SIDE, SIDE, channels), dtype=np.uint8)
            path = folder / "images" / name
            if channels == 1:
                cv2.imwrite(str(path), pixels)
            else:
                np.savez_compressed(path, pixels)
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("image", "polyp"), *rows])
    return folder


def data(folder: Path) -> tuple[object, ...]:
    return (
        "--data", "CSVDataModule", "--data.root", folder, "--data.image_dir", "images", "--data.test_csv", "test.csv",
        "--data.val_csv", "val.csv",
    )  # fmt: skip


@pytest.mark.parametrize(("channels", "option"), [(5, "--model.in_channels"), (1, "--data.in_channels")])
def test_a_run_of_pictures_of_other_channels_from_fit_to_export(tmp_path, channels, option):
    folder, run = write(tmp_path / "data", channels), tmp_path / "run"
    done("check", *data(folder), "--data.in_channels", channels, "--output", tmp_path / "check", "--num_workers", 0)
    done("fit", *data(folder), *FIT, "--run_dir", run, option, channels)
    checkpoint = run / "checkpoints" / "best.ckpt"
    predictor = ibca_lightning.load(checkpoint, "cpu")
    assert predictor.spec.preprocessing == {"resize": "stretch", "in_channels": str(channels)}
    assert predictor.spec.in_channels == channels
    again = ("--config", run / "config.yaml", "--ckpt_path", checkpoint)
    done("test", *again)
    with open(run / "test_predictions.csv", newline="", encoding="utf-8") as file:
        tested = {row["id"]: float(row["polyp"]) for row in csv.DictReader(file)}
    done("predict", "--ckpt_path", checkpoint, "--images", folder / "images", "--output", tmp_path / "predicted")
    with open(tmp_path / "predicted" / "predictions.csv", newline="", encoding="utf-8") as file:
        predicted = {row["id"]: float(row["polyp"]) for row in csv.DictReader(file)}
    assert {name: predicted[name] for name in tested} == pytest.approx(tested, abs=1e-5)
    name = next(iter(tested))
    done("explain", "--ckpt_path", checkpoint, "--images", folder / "images" / name, "--output", tmp_path / "maps",
         "--classes", "polyp")  # fmt: skip
    assert Image.open(next((tmp_path / "maps").glob("*.png"))).mode == "RGB"
    written = ("--output", tmp_path / "model.pt2", "--images", folder / "images")
    exported = done("export", "--ckpt_path", checkpoint, *written)
    assert "agrees on 16 random and 18 given pictures" in exported.out
    done("faithfulness", *again, "--pairs", 2, "--steps", 2)
    assert json.loads((run / "faithfulness.json").read_text())["pictures"] == 2
    done("report", run, "--images", folder / "images")


def test_what_does_not_fit_is_one_line(tmp_path):
    folder = write(tmp_path / "data", 5)
    wrong = ibca("fit", *data(folder), *FIT, "--run_dir", tmp_path / "run", "--data.in_channels", 4)
    assert wrong.code == 2
    assert len(wrong.errors) == 1
    assert all(said in wrong.errors[0] for said in ("images", ".npz", "(H, W, 4)", "5)", "data.in_channels")), (
        wrong.errors
    )
    five = ("--run_dir", tmp_path / "run", "--data.in_channels", 5)
    both = ibca("fit", *data(folder), *FIT, *five, "--model.in_channels", 4)
    assert both.code == 2
    assert "model.in_channels 5, as the data have, got 4" in both.errors[0]


def test_weights_and_normalisation_become_those_of_the_channels_as_in_timm(tmp_path):
    rgb = module()
    torch.save(rgb.backbone.model.state_dict(), tmp_path / "w.pth")
    first = rgb.backbone.model.conv1[0].weight
    for channels in (1, 2, 5):
        other = module(checkpoint_path=str(tmp_path / "w.pth"), in_channels=channels, preprocessing=None)
        weight = other.backbone.model.conv1[0].weight
        expected = first.sum(1, keepdim=True) if channels == 1 else first[:, [0, 1, 2, 0, 1][:channels]] * 3 / channels
        torch.testing.assert_close(weight, expected)
        assert other.spec.in_channels == len(other.spec.std) == channels
        assert other.preprocessing == {"resize": "stretch", "in_channels": str(channels)}
    assert "in_channels" not in rgb.preprocessing
    mean = module(backbone="mobilenetv3_small_050", in_channels=1, preprocessing=None).spec.mean
    assert mean == pytest.approx([(0.485 + 0.456 + 0.406) / 3])
    mean = module(backbone="mobilenetv3_small_050", in_channels=5, preprocessing=None).spec.mean
    assert mean == [0.485, 0.456, 0.406, 0.485, 0.456]
    with pytest.raises(InputError, match="in_channels of at least 1"):
        module(in_channels=0)
