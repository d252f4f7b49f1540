import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

import ibca_lightning
from ibca_lightning.data import CSVDataModule
from ibca_lightning.heads import IBCAHead
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.run.callbacks.results import WriteResults
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_csv
from tests.training import Pictures, best, loader, module, save, trainer


@pytest.fixture(scope="module", params=["stretch", "pad"])
def run(request, tmp_path_factory):
    """A model fitted and tested on files: its checkpoint, the picture folder, and test_predictions.csv by id."""
    folder = tmp_path_factory.mktemp(request.param)
    fake_csv.write(folder / "data", rows=25)
    data = CSVDataModule(
        root=str(folder / "data"), train_csv="train.csv", val_csv="val.csv", test_csv="test.csv", image_dir="images",
        group_column="patient", exclude_columns=["sex", "age"], image_size=64, batch_size=8, num_workers=0,
        augment="none", resize=request.param,
    )  # fmt: skip
    model = module(
        head=IBCAHead, class_names=data.class_names, preprocessing=data.preprocessing, backbone="mobilenetv3_small_050"
    )
    checkpoint = ModelCheckpoint(folder, filename="best", monitor="val/monitor", mode="max")
    fit = trainer(callbacks=[checkpoint, WriteResults(folder)])
    fit.fit(model, data)
    fit.test(model, data)
    with open(folder / "test_predictions.csv", newline="", encoding="utf-8") as file:
        expected = {row["id"]: [float(row[name]) for name in data.class_names] for row in csv.DictReader(file)}
    return folder / "best.ckpt", folder / "data" / "images", expected


def test_a_file_an_image_and_an_array_are_predicted_as_in_the_test(run):
    path, folder, expected = run
    predictor = ibca_lightning.load(path, device="cpu")
    assert len(expected) == 5
    for name, row in expected.items():
        pixels = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
        for picture in (folder / name, str(folder / name), Image.fromarray(pixels), pixels):
            found = predictor.predict(picture)
            assert found.probabilities == pytest.approx(row, abs=1e-4)
            assert found.probabilities.dtype == np.float32
            assert found.attention.shape == (3, 2, 2)
            assert found.attention.sum((1, 2)) == pytest.approx(np.ones(3), abs=1e-5)
            assert found.names == ["A", "B", "C"]


def test_normalised_features_are_predicted_as_the_module_evaluates_them(tmp_path):
    pictures = Pictures(16)
    model = module(head=IBCAHead, normalise_features=True, freeze_backbone=True)
    trainer(max_epochs=2, callbacks=[best(tmp_path)]).fit(model, loader(pictures), loader(pictures))
    predictor = ibca_lightning.load(tmp_path / "best.ckpt", device="cpu")
    saved = read_checkpoint(tmp_path / "best.ckpt")["state_dict"]
    twin = module(head=IBCAHead, normalise_features=True, seed=1).eval()
    twin.load_state_dict(saved)
    with torch.no_grad():
        expected = twin(pictures.image).logits.sigmoid()
        twin.feature_norm.reset_running_stats()
        assert (twin(pictures.image).logits.sigmoid() - expected).abs().max() > 1e-3, "or this test sees nothing"
    torch.testing.assert_close(predictor.forward(pictures.image)[0], expected, rtol=0, atol=1e-6)


def test_a_module_built_without_preprocessing_predicts_stretched_pictures(tmp_path):
    class_names, picture = ["A", "B", "C"], np.full((30, 60, 3), 7, np.uint8)
    for preprocessing in (None, {}):
        save(module(class_names=class_names, preprocessing=preprocessing), tmp_path / "x.ckpt")
        if preprocessing is None:
            assert ibca_lightning.load(tmp_path / "x.ckpt", device="cpu").predict(picture).names == class_names
        else:  # files of before
            with pytest.raises(InputError, match=r"preprocessing=data\.preprocessing"):
                ibca_lightning.load(tmp_path / "x.ckpt", device="cpu")


def test_decisions_are_by_the_stored_thresholds(run, tmp_path):
    path, folder, expected = run
    name, row = next(iter(expected.items()))
    checkpoint = read_checkpoint(path)
    checkpoint["ibca"]["thresholds"] = [row[0] - 1e-3, row[1] + 1e-3, row[2] - 1e-3]
    torch.save(checkpoint, tmp_path / "x.ckpt")
    assert ibca_lightning.load(tmp_path / "x.ckpt", "cpu").predict(folder / name).decisions.tolist() == [
        True,
        False,
        True,
    ]


def test_the_orientation_of_a_photograph_counts_in_a_file_and_in_an_image(run, tmp_path):
    path, folder, expected = run
    predictor = ibca_lightning.load(path, device="cpu")
    image = Image.open(folder / next(iter(expected))).convert("RGB")
    upright = predictor.predict(image).probabilities
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert predictor.predict(tmp_path / "turned.png").probabilities == pytest.approx(upright, abs=1e-4)
    assert predictor.predict(Image.open(tmp_path / "turned.png")).probabilities == pytest.approx(upright, abs=1e-4)


def test_what_is_no_rgb_picture_of_bytes_is_refused(run):
    predictor = ibca_lightning.load(run[0], device="cpu")
    for wrong in (
        np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32),
        np.zeros((3, 8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8), torch.zeros(8, 8, 3), None,
        Image.fromarray(np.zeros((8, 8), np.uint16)), Image.fromarray(np.zeros((8, 8), np.float32)),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"uint8 RGB array|8-bit"):
            predictor.predict(wrong)
    with pytest.raises(InputError, match="no_such"):
        predictor.predict("no_such.png")


@pytest.mark.parametrize("bias", [None, torch.zeros(9)], ids=["missing", "of another shape"])
def test_weights_that_do_not_fit_their_record_are_refused(bias, run, tmp_path):
    checkpoint = read_checkpoint(run[0])
    del checkpoint["state_dict"]["head.bias"]
    if bias is not None:
        checkpoint["state_dict"]["head.bias"] = bias
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=r"x\.ckpt .*head\.bias"):
        ibca_lightning.load(tmp_path / "x.ckpt")


def test_a_device_that_is_not_there_is_named(run):
    for device in ("cuda:99", "no_such"):
        with pytest.raises(InputError, match=f"a device of this machine.*{device}"):
            ibca_lightning.load(run[0], device)


@pytest.mark.slow
def test_the_readme_uses_a_model_from_python(run, tmp_path):
    path, folder, expected = run
    name, row = next(iter(expected.items()))
    (tmp_path / "best.ckpt").write_bytes(path.read_bytes())
    cv2.imwrite(str(tmp_path / "picture.png"), cv2.imread(str(folder / name)))
    script = Path(__file__).parents[1] / "own" / "use_model.py"
    told = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    *lines, looked = told.stdout.splitlines()
    thresholds = read_checkpoint(path)["ibca"]["thresholds"]
    for line, label, probability, threshold in zip(lines, "ABC", row, thresholds, strict=True):
        shown, state = line.removeprefix(f"{label}: ").split(", ")
        assert float(shown) == pytest.approx(probability, abs=1e-4)
        assert state == ("present" if probability > threshold else "absent")
    assert looked.startswith("A was looked for")
    assert looked.endswith("of (2, 2)")


def test_importing_the_package_brings_no_torch():
    check = "import sys, ibca_lightning; print([m for m in ('torch', 'lightning', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(ibca_lightning.__all__) >= {"MultiLabelModule", "load"}
    with pytest.raises(AttributeError, match="nothing"):
        _ = ibca_lightning.nothing
