"""`ibca export`: a file that answers as its checkpoint does, where this package is not installed."""

import itertools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import ibca_lightning
from ibca_lightning.heads import (
    AddGCNHead,
    AttentivePoolHead,
    EPHead,
    GAPHead,
    GCNHead,
    GLoRIHead,
    Head,
    IBCAHead,
    LPHead,
    MLDecoderHead,
)  # fmt: skip
from ibca_lightning.system.errors import DisagreementError
from ibca_lightning.use import exported
from ibca_lightning.use.deployable import Deployed, metadata
from ibca_lightning.use.exported import compare, runner
from tests.command_line import done, ibca
from tests.training import SIZE, Pictures, module, probabilities, save

NAMES = ["Microaneurysm, é", "b"]
CALIBRATION = {"kind": "platt", "scale": [2.0, 0.5], "offset": [0.1, -0.3]}
OWN = Path(__file__).parents[1] / "own"


def model(head: type[Head] = GAPHead) -> Any:
    """A model whose logits spread, so that a lost step of the preprocessing shows."""
    made = module(class_names=NAMES, head=head).eval()
    made.head.set_progress(1.0)
    made.thresholds = [0.5, 0.45]
    made.points = replace(made.points, calibration=CALIBRATION)
    return made


def calibrated(plain: torch.Tensor) -> np.ndarray:
    """By hand, from the plain sigmoid."""
    logits = torch.logit(plain.double()) * torch.tensor([2.0, 0.5]) + torch.tensor([0.1, -0.3])
    return (1 / (1 + (-logits).exp())).numpy()


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures(3, 2)


@pytest.fixture(scope="module", params=[IBCAHead, GAPHead, MLDecoderHead], ids=lambda head: head.__name__)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("export")
    made = model(request.param)
    result = done("export", "--ckpt_path", save(made, folder / "x.ckpt"), "--output", folder / "model.onnx")
    assert "agrees on 16 random pictures" in result.out
    assert "ms a picture" in result.out
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "x.ckpt"]
    return folder / "model.onnx", made


@pytest.mark.slow
def test_onnx_answers_as_the_model_for_a_batch_of_any_size(written: tuple[Path, Any], pictures: Pictures) -> None:
    import onnxruntime

    path, made = written
    session = onnxruntime.InferenceSession(path)
    expected = calibrated(probabilities(made, pictures))
    assert np.ptp(expected) > 1e-3, "or this test sees little"
    for rows in (slice(0, 1), slice(0, 3)):
        images = pictures.image[rows]
        found, decisions, attention = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, expected[rows], rtol=0, atol=1e-5)
        assert decisions.tolist() == (expected[rows] > [[0.5, 0.45]]).tolist()
        with torch.no_grad():
            np.testing.assert_allclose(attention, made(images).attention.numpy(), rtol=0, atol=1e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["class_names"]) == NAMES
    assert (json.loads(about["thresholds"]), json.loads(about["image_size"])) == ([0.5, 0.45], SIZE)
    assert json.loads(about["preprocessing"]) == {"resize": "stretch"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "head", [AddGCNHead, AttentivePoolHead, EPHead, GCNHead, GLoRIHead, LPHead], ids=lambda head: head.__name__
)
def test_the_newest_peers_are_exported_and_agree(head: type[Head], tmp_path: Path) -> None:
    result = done("export", "--ckpt_path", save(model(head), tmp_path / "x.ckpt"), "--output", tmp_path / "m.onnx")
    assert "agrees on 16 random pictures" in result.out


def photo(path: Path, height: int, width: int) -> Path:
    """A picture with fine detail, which another decoder or interpolation would give other pixels."""
    pixels = np.random.default_rng(height).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["picture.jpg", "picture.png"])
def test_the_readme_reads_a_file_and_runs_it_without_this_package(
    written: tuple[Path, Any], tmp_path: Path, name: str
) -> None:
    path, _ = written
    shutil.copy(path, tmp_path)
    code = (
        (OWN / "run_onnx.py").read_text(encoding="utf-8").replace("picture.jpg", photo(tmp_path / name, 300, 410).name)
    )
    script = "import sys\nfor name in ('torch', 'ibca_lightning', 'PIL'): sys.modules[name] = None\n"
    told = subprocess.run(
        [sys.executable, "-c", script + code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    expected = ibca_lightning.load(path.with_name("x.ckpt"), "cpu").predict(tmp_path / name)
    assert len(told) == len(NAMES)
    for label, line in enumerate(told):
        state, probability = line.removeprefix(f"{NAMES[label]}: ").split(" (")
        assert float(probability.split(")")[0]) == pytest.approx(expected.probabilities[label], abs=1e-4)
        assert state == ("present" if expected.decisions[label] else "absent")
        row, column = (int(part.split()[-1]) for part in line.rsplit("looked at ")[1].split(","))
        attention = expected.attention[label]
        assert attention[row, column] == pytest.approx(attention.max(), abs=1e-6)


@pytest.mark.parametrize("resize", ["stretch", "pad"])
def test_pictures_read_as_the_readme_shows_get_the_probabilities_of_predict(tmp_path: Path, resize: str) -> None:
    shown: dict[str, Any] = {}
    exec((OWN / "run_onnx.py").read_text(encoding="utf-8").split("\n\n\nsession = ")[0], shown)
    made = model()
    made.preprocessing = {"resize": resize}
    predictor = ibca_lightning.load(save(made, tmp_path / "x.ckpt"), "cpu")
    # Whole, and at 1/2, 1/4 and 1/8; where the least side of the rest is above half and below.
    for name, height, width in itertools.product(("a.jpg", "a.png"), (60, 64, 130, 300, 600), (97, 410)):
        file = photo(tmp_path / name, height, width)
        pixels = shown["read"](str(file), SIZE, resize).transpose(2, 0, 1)
        np.testing.assert_array_equal(pixels, predictor.see(file).image, err_msg=f"{name} of {height} x {width}")
        found = Deployed(predictor)(torch.from_numpy(pixels[None].copy()))[0][0]
        np.testing.assert_allclose(found.detach(), predictor.predict(file).probabilities, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("preprocessing", "words"),
    [
        ({"resize": "stretch"}, "1/8, else 1/4, else 1/2 of its size where that leaves a short side of 64 or more"),
        ({"resize": "stretch"}, "INTER_AREA where a side shrinks to half or less, else INTER_LINEAR, to 64 x 64"),
        ({"resize": "pad"}, "a long side of 64 and the short one in proportion"),
        ({"resize": "stretch", "bit_depth": "12"}, "the upper 8 of 12."),
        ({"resize": "stretch", "crop": "field_of_view"}, "Then the box of the lit disc is cut out"),
    ],
)
def test_the_metadata_say_how_a_file_becomes_the_input(
    tmp_path: Path, preprocessing: dict[str, str], words: str
) -> None:
    made = model()
    made.preprocessing = preprocessing
    about = metadata(ibca_lightning.load(save(made, tmp_path / "x.ckpt"), "cpu").spec)
    assert words in about["reading"]
    assert json.loads(about["preprocessing"]) == preprocessing


@pytest.mark.slow
def test_the_program_runs_on_torch_alone_and_real_pictures_are_compared_too(tmp_path: Path, pictures: Pictures) -> None:
    made = model()
    (tmp_path / "images").mkdir()
    for row, image in enumerate(pictures.image):
        cv2.imwrite(str(tmp_path / "images" / f"{row}.png"), image.permute(1, 2, 0).numpy())
    (tmp_path / "images" / "notes.txt").write_text("none")
    path = tmp_path / "model.pt2"
    result = done(
        "export", "--ckpt_path", save(made, tmp_path / "x.ckpt"), "--output", path, "--images", tmp_path / "images"
    )
    assert "agrees on 16 random and 3 given pictures" in result.out
    other = str(tmp_path / "images" / "notes.txt")
    assert f"note: 1 files are no pictures and are passed over: {other!r}" in result.err.splitlines()
    torch.save(pictures.image, tmp_path / "images.pt")
    script = (
        "import sys, json, torch; sys.modules['ibca_lightning'] = sys.modules['timm'] = None\n"
        "more = {'class_names': ''}\n"
        "program = torch.export.load('model.pt2', extra_files=more)\n"
        "print(json.dumps([program.module()(torch.load('images.pt'))[0].tolist(), json.loads(more['class_names'])]))"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    found, names = json.loads(told.stdout)
    np.testing.assert_allclose(found, calibrated(probabilities(made, pictures)), rtol=0, atol=1e-5)
    assert names == NAMES


def test_decisions_are_those_of_predict_next_to_a_threshold_too(tmp_path: Path, pictures: Pictures) -> None:
    made = model()
    near = ibca_lightning.load(save(made, tmp_path / "x.ckpt"), "cpu").forward(pictures.image[:1])[0][0].double()
    for thresholds in (near, near - 1e-12, near + 1e-12):
        made.thresholds = thresholds.tolist()
        predictor = ibca_lightning.load(save(made, tmp_path / "x.ckpt"), "cpu")
        decisions = Deployed(predictor)(pictures.image[:1])[1][0].tolist()
        picture = pictures.image[0].permute(1, 2, 0).numpy()
        assert decisions == predictor.predict(picture).decisions.tolist() == [bool((thresholds < near).all())] * 2


def test_a_file_that_disagrees_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Pictures) -> None:
    answer = runner(Deployed(ibca_lightning.load(save(model(), tmp_path / "x.ckpt"), "cpu")))
    monkeypatch.setattr("ibca_lightning.use.deployable.program_of", lambda predictor: None)
    wrong = (
        lambda program, spec, path: path.write_text("wrong"),
        lambda path: lambda images: [a + 2e-4 * (a.dtype != bool) for a in answer(images)],
    )
    monkeypatch.setitem(exported.KINDS, ".pt2", wrong)
    path = tmp_path / "model.pt2"
    path.write_text("an earlier one")
    result = ibca("export", "--ckpt_path", tmp_path / "x.ckpt", "--output", path, "--overwrite")
    assert (result.code, len(result.errors)) == (1, 1), result.err
    assert "probabilities differ from the checkpoint's by 0.0002" in result.errors[0]
    assert path.read_text() == "an earlier one"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pt2", "x.ckpt"]


def test_what_counts_as_agreement() -> None:
    one = [np.array([[0.2, 0.7]]), np.array([[False, True]]), np.full((1, 2, 2, 2), 0.25)]
    assert compare(one, one, [0.5, 0.5]) == (0, 0)
    assert compare(one, [one[0] + 9e-5, one[1], one[2]], [0.5, 0.5])[0] == pytest.approx(9e-5)
    assert compare(one, [one[0], np.array([[True, True]]), one[2]], [0.2 + 1e-5, 0.5]) == (0, 0)  # at its threshold
    for other, words in (
        ([one[0] + 2e-4, one[1], one[2]], "probabilities differ"),
        ([one[0] * np.nan, one[1], one[2]], "probabilities differ"),
        ([one[0], one[1], one[2] + 2e-4], "attention differ"),
        ([one[0], ~one[1], one[2]], "decides otherwise"),
        ([one[0], one[1], one[2][:, :1]], "attention of shape"),
    ):
        with pytest.raises(DisagreementError, match=words):
            compare(one, other, [0.5, 0.5])


def test_wrong_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("export", "--ckpt_path", save(model(), tmp_path / "x.ckpt"), "--output")
    (tmp_path / "old.onnx").write_text("an earlier one")
    for arguments, words in (
        ((tmp_path / "model.pt",), ".onnx or .pt2"),
        ((tmp_path / "old.onnx",), "--overwrite"),
        ((tmp_path / "x.ckpt/model.onnx",), "a file to write"),
        ((tmp_path / "model.onnx", "--images", tmp_path / "none"), "nothing there"),
        ((tmp_path / "model.onnx", "--batch_size", 0), "--batch_size"),
    ):
        result = ibca(*given, *arguments)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert words in result.errors[0]
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    result = ibca(*given, tmp_path / "model.onnx")
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "ibca-lightning[export]" in result.errors[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.onnx", "x.ckpt"]
    assert (tmp_path / "old.onnx").read_text() == "an earlier one"
