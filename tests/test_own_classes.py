"""A head, a loss, a term and a data module of one's own, each in one short file; and use without the command line."""

import csv
import shutil
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import yaml

import ibca_lightning
from ibca_lightning import MultiLabelModule
from ibca_lightning.data import CSVDataModule
from ibca_lightning.heads import IBCAHead
from tests.command_line import contents, done, experiment, rows, written
from tests.data.drawn_pictures import draw

OWN = Path(__file__).parent / "own"


@pytest.fixture
def beside(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the two files, found because `ibca` was started there."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".")])
    for file in OWN.glob("my_*.py"):
        shutil.copy(file, here)
    return here


def findings(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        table = []
        for row in range(8):
            labels = [row % 2, row // 2 % 2]
            draw(root / split / f"{row}.png", labels, rng)
            words = [name for name, label in zip(("polyp", "ulcer"), labels, strict=True) if label]
            table.append([f"{split}/{row}.png", "+".join(words)])
        with (root / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["file", "findings"], *table])


@pytest.mark.parametrize("file", ["my_head.py", "my_data.py", "my_loss.py", "my_term.py"])
def test_the_examples_are_short(file: str) -> None:
    assert len([line for line in (OWN / file).read_text().splitlines() if line.strip()]) <= 15


def test_own_head_loss_term_and_data_through_fit_test_and_predict(beside: Path) -> None:
    findings(beside / "data")
    config = experiment(beside)
    config["model"]["init_args"]["head"] = {"class_path": "my_head.MaxHead", "init_args": {"dropout": 0.25}}
    config["model"]["init_args"]["loss"] = {"class_path": "my_loss.Hinge", "init_args": {"margin": 0.5}}
    config["model"]["init_args"]["terms"] = ["my_term.Sure"]
    config["data"] = {
        "class_path": "my_data.Findings",
        "init_args": {"root": "data", "image_size": 32, "batch_size": 4, "num_workers": 0},
    }
    written(beside / "own.yaml", config)
    done("fit", "--config", "own.yaml", "--run_dir", "run")
    kept = yaml.safe_load((beside / "run/config.yaml").read_text())
    assert kept["model"]["init_args"]["head"]["init_args"] == {"dropout": 0.25}
    assert kept["model"]["init_args"]["loss"] == {"class_path": "my_loss.Hinge", "init_args": {"margin": 0.5}}
    assert 0 < float(rows(beside / "run/metrics.csv")[-1]["train/terms/unsure"]) <= 0.025
    done("test", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt", "--data.batch_size", 3)
    tested = rows(beside / "run/test_predictions.csv")
    assert [row["id"] for row in tested] == [f"test/{row}.png" for row in range(8)]
    assert [(row["label:polyp"], row["label:ulcer"]) for row in tested[:4]] == [
        ("0", "0"), ("1", "0"), ("0", "1"), ("1", "1")
    ]  # fmt: skip
    done(
        "predict",
        "--ckpt_path",
        "run/checkpoints/best.ckpt",
        "--images",
        "data",
        "--output",
        "out",
        "--trust",
        "my_head",
    )
    predicted = {row["id"]: row for row in rows(beside / "out/predictions.csv")}
    for row in tested:
        for name in ("polyp", "ulcer"):
            assert float(predicted[row["id"]][name]) == pytest.approx(float(row[name]), abs=1e-4)


def test_from_a_notebook(tree: Path, here: Path) -> None:
    data = CSVDataModule(
        str(tree), val_csv="val.csv", test_csv="test.csv", image_dir="images", group_column="patient",
        exclude_columns=["sex", "age"], image_size=32, batch_size=4, num_workers=0,
    )  # fmt: skip
    model = MultiLabelModule(
        data.num_labels, data.class_names, image_size=data.image_size, preprocessing=data.preprocessing,
        backbone="test_resnet", pretrained=False, head=partial(IBCAHead, width=32),
    )  # fmt: skip
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    (logged,) = trainer.test(model, data, verbose=False)
    evaluation = model.evaluations["test"]
    assert logged["test/mAP"] == pytest.approx(evaluation.figures["metrics"]["mAP"])
    trainer.save_checkpoint("model.ckpt")
    assert list(contents(here)) == ["model.ckpt"]
    prediction = ibca_lightning.load("model.ckpt", device="cpu").predict(tree / "images" / evaluation.ids[0])
    assert prediction.names == ["A", "B", "C"]
    np.testing.assert_allclose(prediction.probabilities, evaluation.probabilities[0], atol=1e-4)


def test_a_head_alone_in_a_loop_of_ones_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = (OWN / "head_alone.py").read_text(encoding="utf-8")
    for large, small in (
        ('"resnet50", pretrained=True', '"test_resnet", pretrained=False'), ("224, 224", "64, 64"),
        ('"EX"], 20', '"EX"], 2'),
    ):  # fmt: skip
        assert large in code
        code = code.replace(large, small)
    made: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(code, "head_alone.py", "exec"), made)
    assert 0 < float(capsys.readouterr().out.removeprefix("mAP ")) <= 1
    assert torch.load("model.pt")["2.progress"] == 1
    made["head"].train()
    learnt = made["head"](torch.randn(2, made["backbone"].num_features, 2, 2), labels=torch.ones(2, 3).long())
    assert all(loss > 0 for loss in learnt.losses.values())
    assert set(learnt.losses) == {"bottleneck", "contrast"}
