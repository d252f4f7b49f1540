"""Options of the data through whole runs: a label space, a crop and a fold reach the checkpoint, test and predict."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ibca_lightning.model.checkpoint import read_checkpoint
from tests.command_line import done, experiment, rows, written
from tests.data.pictures.test_field_of_view import fundus

COUNT = 24  # pictures, two a patient


@pytest.fixture
def config(here: Path) -> Path:
    """Fundus pictures off centre with the classes `Nodule` and `Mass`, in train.csv and test.csv."""
    (here / "data/images").mkdir(parents=True)
    lines = ["image,patient,Nodule,Mass"]
    for at in range(COUNT):
        image = fundus(120, 180, (60, 60 + at), 45, at)
        deep = image[..., ::-1].astype(np.uint16) * (16 if at % 4 else 3)  # 12 bits, of which some pictures use 10
        cv2.imwrite(str(here / f"data/images/{at:02d}.png"), deep)
        lines.append(f"{at:02d}.png,p{at // 2:02d},{at // 2 % 2},{int(at // 2 % 3 == 0)}")
    (here / "data/train.csv").write_text("\n".join(lines[:17]) + "\n")
    (here / "data/test.csv").write_text("\n".join([lines[0], *lines[17:]]) + "\n")
    return written(here / "e.yaml", experiment(Path("data"), exclude_columns=[], val_csv=None))


@pytest.mark.slow
def test_label_space_crop_and_fold_in_fit_test_and_predict(config: Path, here: Path) -> None:
    options = ("--data.label_space", "[lung nodule,Hernia,Mass]", "--data.label_aliases", '{"Nodule": "lung nodule"}')
    crop, fold = ("--data.crop", "field_of_view"), ("--data.fold", 1, "--data.folds", 4)
    done("fit", "--config", config, "--run_dir", "run", *options, *crop, *fold)
    run = here / "run"
    spec = read_checkpoint(run / "checkpoints/best.ckpt")["ibca"]
    assert spec["class_names"] == ["lung nodule", "Hernia", "Mass"]
    assert spec["preprocessing"] == {"resize": "stretch", "crop": "field_of_view", "bit_depth": "12"}

    split = {row["id"]: row["split"] for row in rows(run / "splits.csv")}
    validated = {name for name, part in split.items() if part == "val"}
    assert len(validated) == 4  # of 16 pictures
    assert {f"{at:02d}.png" for at in range(16, COUNT)} == {name for name, part in split.items() if part == "test"}
    done("fit", "--config", config, "--run_dir", "again", *options, *crop, "--data.fold", 0, "--data.folds", 4)
    assert not validated & {row["id"] for row in rows(here / "again/splits.csv") if row["split"] == "val"}

    given = ("--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/best.ckpt")
    done("test", *given)
    figures = json.loads((run / "test_metrics.json").read_text())["per_class"]
    test = rows(here / "data/test.csv")
    for name, column in (("lung nodule", "Nodule"), ("Mass", "Mass")):
        assert figures[name]["positives"] == sum(int(row[column]) for row in test)
        assert figures[name]["AP"] is not None
    assert figures["Hernia"]["positives"] == 0
    assert figures["Hernia"]["AP"] is None

    # What predict does to a folder is what test did to the rows of a table; without the crop it is another picture.
    done("predict", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", "data/images", "--output", "out")
    assert "the model was trained with" not in done("test", *given, "--run_dir", "alike").err
    uncut = done("test", *given, "--run_dir", "uncut", "--data.crop", "none")
    assert "the model was trained with" in uncut.err
    found, tested, other = (
        {row["id"]: np.array([float(row[name]) for name in spec["class_names"]]) for row in rows(Path(file))}
        for file in ("out/predictions.csv", "run/test_predictions.csv", "uncut/test_predictions.csv")
    )
    assert len(tested) == len(test)
    for name in tested:
        assert found[name] == pytest.approx(tested[name], abs=1e-5)
    assert max(np.abs(tested[name] - other[name]).max() for name in tested) > 1e-4
