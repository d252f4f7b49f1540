"""`ibca predict --images`: which pictures, what it writes, going on after a stop, several models and views."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openpyxl
import pytest
import torch

import ibca_lightning
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.model_files.model_record import model_record, require_archive
from ibca_lightning.system.options import require_folder
from ibca_lightning.use.model_options import say_few_positives
from ibca_lightning.use.picture_list import list_pictures
from ibca_lightning.use.predictor import Predictor
from tests.command_line import contents, done, experiment, ibca, near, rows, written

NAMES = ("A", "B", "C")


@pytest.fixture(scope="module")
def calibrated_run(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with Platt calibration and thresholds for a sensitivity, tested."""
    folder = tmp_path_factory.mktemp("calibrated")
    config = experiment(tree)
    config["model"]["init_args"] |= {"calibration": "platt", "thresholds": {"sensitivity": 0.8}}
    path = written(folder / "e.yaml", config)
    done("fit", "--config", path, "--run_dir", folder / "run")
    done("test", "--config", folder / "run/config.yaml", "--ckpt_path", folder / "run/checkpoints/best.ckpt")
    return folder / "run"


@pytest.fixture
def checkpoint(run: Path) -> Path:
    return run / "checkpoints/best.ckpt"


def predict(checkpoint: Path, images: object, *options: object, output: str = "out") -> Path:
    done("predict", "--ckpt_path", checkpoint, "--images", images, "--output", output, *options)
    return Path(output) / "predictions.csv"


def table(path: Path, ids: tuple[str, ...] | None = None) -> np.ndarray:
    found = {row["id"]: [float(row[name]) for name in NAMES] for row in rows(path)}
    return np.array([found[name] for name in (ids or sorted(found))])


# --- probabilities, decisions, thresholds -------------------------------------------------------------------------


def test_calibration_and_thresholds_of_the_checkpoint_agree_with_test(calibrated_run: Path, tree: Path, here: Path):
    spec = read_checkpoint(calibrated_run / "checkpoints/best.ckpt")["ibca"]
    assert spec["calibration"]["kind"] == "platt"
    assert spec["calibration"]["scale"] != [1, 1, 1]
    assert spec["threshold_rule"] == {"sensitivity": 0.8}
    path = predict(calibrated_run / "checkpoints/best.ckpt", tree / "images")
    tested = rows(calibrated_run / "test_predictions.csv")
    predicted = {row["id"]: row for row in rows(path)}
    header = [*NAMES, *(f"decision:{name}" for name in NAMES), *(f"threshold:{name}" for name in NAMES)]
    assert list(rows(path)[0]) == ["id", *header]
    for row in tested:
        for name, threshold in zip(NAMES, spec["thresholds"], strict=True):
            own = predicted[row["id"]]
            assert float(own[name]) == pytest.approx(float(row[name]), abs=1e-4)
            assert float(own[f"threshold:{name}"]) == threshold
            assert own[f"decision:{name}"] == str(int(float(own[name]) > threshold))
    result = json.loads((calibrated_run / "test_metrics.json").read_text())
    assert result["calibration"]["kind"] == "platt"
    assert result["calibration"]["ECE_uncalibrated"] != result["metrics"]["ECE"]
    low, high = result["calibration"]["intervals"]["ECE_uncalibrated"]
    assert low <= result["calibration"]["ECE_uncalibrated"] * 1.2
    assert high >= result["calibration"]["ECE_uncalibrated"] * 0.8
    val = [row for row in rows(tree / "val.csv") if row["A"] == "1"]
    assert result["thresholds"]["A"] == {"threshold": spec["thresholds"][0], "positives": len(val), "few": True}


def test_a_checkpoint_of_before_calibration_predicts_the_plain_sigmoid(checkpoint: Path, tree: Path, tmp_path: Path):
    old = read_checkpoint(checkpoint)
    for name in ("calibration", "threshold_rule", "threshold_positives"):
        del old["ibca"][name]
    torch.save(old, tmp_path / "old.ckpt")
    picture = next((tree / "images").rglob("*.png"))
    now, before = (ibca_lightning.load(path, "cpu").predict(picture) for path in (checkpoint, tmp_path / "old.ckpt"))
    assert now.probabilities.tolist() == before.probabilities.tolist()
    old["ibca"]["calibration"] = {"kind": "platt", "scale": [1.0], "offset": [0.0]}
    torch.save(old, tmp_path / "old.ckpt")
    result = ibca("predict", "--ckpt_path", tmp_path / "old.ckpt", "--images", picture, "--output", tmp_path / "o")
    assert result.code == 2
    assert "a calibration of 3 classes" in result.errors[0]


def test_views_and_ensembles_are_means(calibrated_run: Path, checkpoint: Path, tree: Path, here: Path):
    images = here / "pictures"
    images.mkdir()
    names = tuple(f"{i}.png" for i in range(3))
    for name, picture in zip(names, sorted((tree / "images").rglob("*.png")), strict=False):
        shutil.copy(picture, images / name)
    other = calibrated_run / "checkpoints/best.ckpt"
    models = [ibca_lightning.load(path, "cpu") for path in (checkpoint, other)]
    pixels = [[np.asarray(model.see(images / name).image) for name in names] for model in models]
    expected = []
    for model, own in zip(models, pixels, strict=True):
        views = [np.rot90(p, k, (1, 2))[:, :, ::m] for k in range(4) for m in (1, -1) for p in own]
        found = model.forward(torch.from_numpy(np.stack(views)))[0].numpy().reshape(8, len(names), -1)
        expected.append(found)
    plain = table(predict(checkpoint, images, output="one"), names)
    np.testing.assert_allclose(plain, expected[0][0], atol=1e-5)
    np.testing.assert_allclose(
        table(predict(checkpoint, images, "--tta", 8, output="8"), names), expected[0].mean(0), atol=1e-5
    )
    four = expected[0].reshape(4, 2, len(names), -1)[[0, 2]].mean((0, 1))  # no quarter turns
    np.testing.assert_allclose(table(predict(checkpoint, images, "--tta", output="4"), names), four, atol=1e-5)
    both = predict(checkpoint, images, "--ckpt_path", other, "--tta", 8, output="both")
    np.testing.assert_allclose(table(both, names), np.mean(expected, axis=0).mean(0), atol=1e-5)
    thresholds = np.mean([model.spec.thresholds for model in models], axis=0)
    assert [float(rows(both)[0][f"threshold:{name}"]) for name in NAMES] == pytest.approx(thresholds.tolist())


def test_an_ensemble_is_of_one_list_of_classes(checkpoint: Path, tree: Path, here: Path):
    other = read_checkpoint(checkpoint)
    other["ibca"]["class_names"] = ["A", "C", "B"]
    torch.save(other, "other.ckpt")
    result = ibca("predict", "--ckpt_path", checkpoint, "other.ckpt", "--images", tree / "images", "--output", "out")
    assert result.code == 2
    assert "A, C, B in other.ckpt" in result.errors[0]
    assert not Path("out").exists()


# --- which pictures -----------------------------------------------------------------------------------------------


def test_pictures_by_folder_pattern_and_table(tree: Path, here: Path):
    for name in ("s/a.png", "s/t/b.PNG", "s/.c.png", "s/d.txt", "e.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    for images, folder, ids in (
        ("s", "s", ["a.png", "t/b.PNG"]),
        ("s/a.png", "s", ["a.png"]),
        ("s/*.png", "s", ["a.png"]),
        ("**/*.[pP]*", "", ["s/a.png", "s/t/b.PNG"]),
        (f"{here}/*/t/?.PNG", str(here), ["s/t/b.PNG"]),
    ):
        found = list_pictures([images])
        assert (found.folders, found.files) == ([folder], {name: os.path.join(folder, name) for name in ids})
    Path("s/list.csv").write_text("file,x\na.png,1\n../e.jpg,2\na.png,3\n/data/f.png,4\n")
    found = list_pictures(["s/list.csv"], "file")
    assert found.files == {"a.png": "s/a.png", "../e.jpg": "s/../e.jpg", "/data/f.png": "/data/f.png"}
    assert list_pictures(["s/list.csv"], "file", "s/t").files["../e.jpg"] == "s/t/../e.jpg"
    book = openpyxl.Workbook()
    for row in (["image"], ["a.png"], ["../e.jpg"]):
        book.active.append(row)
    book.save("s/Befunde.xlsx")
    assert list_pictures(["s/Befunde.xlsx"]).files == {"a.png": "s/a.png", "../e.jpg": "s/../e.jpg"}
    Path("s/Befunde.ods").write_bytes(b"x")
    with pytest.raises(InputError, match=r"a table of paths as \.csv, \.xlsx or \.parquet, got s/Befunde\.ods"):
        list_pictures(["s/Befunde.ods"])
    several = list_pictures(["s/t", "s/a.png", "e.jpg", "s/*.png"])
    assert several.files == {"b.PNG": "s/t/b.PNG", "a.png": "s/a.png", "e.jpg": "e.jpg"}
    assert several.folders == ["s/t", "s", ""]
    Path("a.png").write_bytes(b"y")
    for wrong in (["s/*.bmp"], ["nowhere"], ["nowhere/*.png"], ["s/list.csv"], ["s", "nowhere"], ["s/a.png", "a.png"]):
        with pytest.raises(InputError):
            list_pictures(wrong)


def test_decisions_on_few_positives_are_told_of_in_some_model(capsys: pytest.CaptureFixture[str]) -> None:
    specs = (["a", "b"], [12, 10]), (["a", "b"], [4, 10]), (["a", "c"], [])
    models = [SimpleNamespace(spec=SimpleNamespace(class_names=n, threshold_positives=p)) for n, p in specs]
    say_few_positives(models[:1])
    assert capsys.readouterr().err == ""
    say_few_positives(models)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("of the validation set: a (4); these decisions are mostly chance")


@pytest.mark.parametrize("name", ["vorhersage.csv", "new/befunde.XLSX"])
def test_a_folder_to_write_in_has_no_name_of_a_file(name: str, here: Path) -> None:
    with pytest.raises(InputError, match=rf"a folder for the files, got {name}, a file by its name; leave the ending"):
        require_folder(name)
    Path(name).mkdir(parents=True)
    require_folder(name)


def test_weights_of_a_backbone_are_no_checkpoint_and_where_they_go_is_said(here: Path) -> None:
    Path("b.safetensors").write_bytes(bytes(64))
    for refuse in (lambda: require_archive("b.safetensors"), lambda: model_record({"conv1.weight": 0}, "b.pth")):
        with pytest.raises(InputError, match=r"weights of a backbone alone: --model\.checkpoint_path"):
            refuse()


# --- going on -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tree: Path, here: Path) -> Path:
    """Twelve pictures, two of which cannot be read, one of an awkward name."""
    folder = here / "pictures"
    folder.mkdir()
    names = [f"{i:02d}.png" for i in range(9)] + ['line\nbreak, "quoted".png']
    for name in names:
        shutil.copy(next((tree / "images").rglob("*.png")), folder / name)
    (folder / "03 broken.png").write_bytes((folder / "00.png").read_bytes()[:200])
    (folder / "07 empty.png").touch()
    return folder


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(pictures: Path, checkpoint: Path):
    command = ("predict", "--ckpt_path", checkpoint, "--images", pictures, "--output", "out", "--batch_size", 4)
    result = ibca(*command)
    assert result.code == 2
    assert len(result.errors) == 1
    assert "2 that cannot" in result.errors[0]
    assert len(rows(Path("out/predictions.csv"))) == 10
    failed = {row["id"]: row["reason"] for row in rows(Path("out/failed.csv"))}
    assert list(failed) == ["03 broken.png", "07 empty.png"]
    assert "truncated" in failed["03 broken.png"]
    assert "0 bytes" in failed["07 empty.png"]
    # Restored, they alone are done by the same command.
    before = Path("out/predictions.csv").read_bytes()
    for name in failed:
        shutil.copy(pictures / "00.png", pictures / name)
    assert "2 pictures, 10 were there" in done(*command).err
    assert Path("out/predictions.csv").read_bytes().startswith(before)
    assert len({row["id"] for row in rows(Path("out/predictions.csv"))}) == 12
    assert not Path("out/failed.csv").exists()


def test_rows_of_pictures_that_were_replaced_are_not_kept(pictures: Path, checkpoint: Path):
    for name in ("03 broken.png", "07 empty.png"):
        (pictures / name).unlink()
    command = ("predict", "--ckpt_path", checkpoint, "--images", pictures, "--output", "out")
    done(*command)
    assert "moved" not in done(*command).err
    before, written = Path("out/predictions.csv").read_bytes(), Path("out/predictions.csv").stat().st_mtime_ns
    os.utime(pictures / "02.png", ns=(written + 10**18, written + 10**18))  # of a clock that is wrong
    os.utime(pictures / "01.png", ns=(written + 1, written + 1))
    result = ibca(*command)
    assert result.code == 2
    assert (
        "predictions.csv was written, got 1 that are newer, such as 01.png; give another --output" in result.errors[0]
    )
    assert Path("out/predictions.csv").read_bytes() == before
    (pictures / "01.png").unlink()
    (pictures / "00.png").rename(pictures / "01.png")  # a moved one is as old as it was
    os.utime(pictures / "01.png", ns=(written - 1, written - 1))
    assert "got 2 moved or copied since, such as 01.png; touch that file if they are the same" in done(*command).err
    Path("out/predictions.csv").touch()
    assert "moved" not in done(*command).err


def test_rows_cut_anywhere_are_completed_and_none_is_doubled(pictures: Path, checkpoint: Path):
    ibca("predict", "--ckpt_path", checkpoint, "--images", pictures, "--output", "out")
    path = Path("out/predictions.csv")
    whole = path.read_bytes()
    last, expected = whole.rindex(b'"line\nbreak'), rows(path)
    # In the header, behind it, within an id of two lines, in the middle of a number, before the line end, at the end.
    for size in (0, 3, whole.index(b"\n") + 1, last + 7, last + 40, len(whole) - 1, len(whole)):
        path.write_bytes(whole[:size])
        ibca("predict", "--ckpt_path", checkpoint, "--images", pictures, "--output", "out")
        completed = path.read_bytes()
        assert completed.startswith(whole[: size if size == len(whole) else whole.rfind(b"\n", 0, size) + 1]), size
        near(rows(path), expected)  # the rest was predicted in a smaller batch


@pytest.mark.slow
def test_a_killed_process_is_taken_up(pictures: Path, checkpoint: Path):
    for i in range(200):
        shutil.copy(pictures / "00.png", pictures / f"more {i:03d}.png")
    command = [
        sys.executable, "-m", "ibca_lightning.cli", "predict", "--ckpt_path", str(checkpoint), "--images", "pictures",
        "--output", "out", "--batch_size", "1", "--device", "cpu",
    ]  # fmt: skip
    path, process = Path("out/predictions.csv"), subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") > 5):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGSTOP)
    kept = path.read_bytes()
    second = ibca(*command[3:])
    assert second.code == 2
    assert "a folder out that nobody writes into, got another run" in second.errors[0]
    assert path.read_bytes() == kept
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 5 < kept.count(b"\n") < 200, "or it was not stopped half way"
    result = ibca(*command[3:])
    assert result.code == 2, "two pictures cannot be read"
    assert path.read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])
    ids = [row["id"] for row in rows(path)]
    assert (len(ids), len(set(ids))) == (210, 210)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--tta", 8), "views"),
        (("--images", "pictures/sub"), "images"),
        (("--ckpt_path", "other.ckpt"), "checkpoints"),
    ],
    ids=["views", "pictures", "checkpoints"],
)
def test_rows_of_another_run_are_not_mixed(options: tuple[object, ...], named: str, pictures: Path, run: Path):
    (pictures / "sub").mkdir()
    shutil.copy(pictures / "00.png", pictures / "sub/00.png")
    shutil.copy(run / "checkpoints/best.ckpt", "best.ckpt")
    other = read_checkpoint("best.ckpt")
    other["ibca"]["thresholds"] = [0.1, 0.2, 0.3]
    torch.save(other, "other.ckpt")
    given = {"--ckpt_path": "best.ckpt", "--images": "pictures/*.png", "--output": "out"}
    ibca("predict", *(word for pair in given.items() for word in pair))
    before = contents(Path("out"))
    changed = given | dict([options])
    result = ibca("predict", *(word for pair in changed.items() for word in pair))
    assert result.code == 2
    assert f"predictions of the same {named} in out" in result.errors[0]
    assert contents(Path("out")) == before
    Path("out/predict.json").unlink()
    assert ibca("predict", *(word for pair in given.items() for word in pair)).code == 2
    assert Path("out/predictions.csv").read_bytes() == before["predictions.csv"]


def test_ids_with_formulas_and_commas_come_back_as_they_are(pictures: Path, checkpoint: Path):
    with open("list.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image"], ["pictures/00.png"], ["./pictures/01.png"], ["no, such.png"]])
    result = ibca("predict", "--ckpt_path", checkpoint, "--images", "list.csv", "--output", "out")
    assert result.code == 2
    assert [row["id"] for row in rows(Path("out/predictions.csv"))] == ["pictures/00.png", "./pictures/01.png"]
    assert [row["id"] for row in rows(Path("out/failed.csv"))] == ["no, such.png"]


def test_what_the_memory_does_not_hold_is_done_in_pieces(
    run: Path, tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("predict", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", tree / "images")
    command = (*given, "--device", "cpu", "--output")
    done(*command, "whole")
    outputs, tried = Predictor.outputs, list[int]()

    def full(self: Predictor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tried.append(len(images))
        if len(images) > holds:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return outputs(self, images)

    monkeypatch.setattr(Predictor, "outputs", full)
    holds = 5
    done(*command, "pieces", "--batch_size", "auto")
    near(rows(Path("whole/predictions.csv")), rows(Path("pieces/predictions.csv")))
    assert tried[:3] == [16, 8, 4]
    assert set(tried[3:]) <= {1, 2, 3, 4}, "found once"
    holds = 0
    result = ibca(*command, "none")
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "a device with memory for one picture, got cpu" in result.errors[0]
    model = ibca_lightning.load(str(run / "checkpoints/best.ckpt"), device="cpu")
    pictures = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(InputError):
        model.forward(pictures)
    holds = 5
    assert len(model.forward(pictures)[0]) == 4, "a model that is kept goes on when the memory is free"
