"""The README's minimal YAML and every shipped recipe have learnt something after their first epoch.

An average of weights that begins with the untrained ones, a warm-up that is too long or a loss that stands still make
a good recipe look dead. Everything but data, backbone and length of the run is the recipe's: 320 pictures and a ResNet
of a few thousand weights, from scratch, so that it costs seconds.
"""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import pytest
import yaml

from ibca_lightning.run.command_line.shipped import recipes
from tests.command_line import done, rows, written

NAMES, EACH = ("red", "green", "blue"), {"train": 320, "val": 80}
CLEAR = 0.35  # above chance; without a warm-up of their average, the recipes that have one come to 0.2 to 0.27
MINIMAL: dict[str, Any] = {"model": {"init_args": {"head": {"class_path": "IBCAHead"}}}}


class FirstEpoch(pl.Callback):
    """Ends a run of many epochs behind its first: schedules, averages and ramps are those of the whole run."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = True


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey noise with discs: one of each colour that is a label of the picture, each present in a third."""
    root, generator = tmp_path_factory.mktemp("discs"), np.random.default_rng(0)
    for split, count in EACH.items():
        table: list[list[object]] = [["image", *NAMES]]
        for row in range(count):
            labels = generator.random(3) < 1 / 3
            pixels = generator.integers(90, 150, (64, 64, 3)).astype(np.uint8)
            for at in np.flatnonzero(labels).tolist():
                colour = [40, 40, 40]
                colour[2 - at] = 250
                x, y = generator.integers(12, 52, 2).tolist()
                cv2.circle(pixels, (x, y), 11, colour, -1)
            cv2.imwrite(str(root / f"{split}{row}.png"), pixels)
            table.append([f"{split}{row}.png", *labels.astype(int)])
        with (root / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(table)
    return root


def models() -> dict[str, dict[str, Any]]:
    """The README's, and what the recipes have for a model and a trainer, each once, by the names of its recipes."""
    contents = {name: yaml.safe_load(Path(path).read_text()) for name, path in recipes().items()}
    parts = {"minimal": MINIMAL} | {name: {k: own[k] for k in ("model", "trainer")} for name, own in contents.items()}
    names: dict[str, list[str]] = {}
    for name, part in parts.items():
        names.setdefault(json.dumps(part, sort_keys=True), []).append(name)
    return {" ".join(own): json.loads(text) for text, own in names.items()}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", models())
def test_the_first_epoch_beats_chance_clearly(recipe: str, discs: Path, here: Path) -> None:
    part = models()[recipe]
    model = part["model"]["init_args"] | {"backbone": "test_resnet", "pretrained": False}
    trainer = part.get("trainer", {}) | {
        "accelerator": "cpu", "check_val_every_n_epoch": 1, "precision": "32-true",
        "callbacks": [{"class_path": f"{__name__}.FirstEpoch"}],
    }  # fmt: skip
    data = {"root": str(discs), "val_csv": "val.csv", "image_size": 64, "batch_size": 8, "num_workers": 0}
    config = written(here / "recipe.yaml", {
        "model": {"class_path": "MultiLabelModule", "init_args": model},
        "data": {"class_path": "CSVDataModule", "init_args": data},
        "trainer": trainer, "wandb": "disabled",
    })  # fmt: skip
    done("fit", "--config", config, "--run_dir", "run")
    (reached,) = (float(row["val/mAP"]) for row in rows(here / "run/metrics.csv") if row["val/mAP"])
    with (discs / "val.csv").open() as file:
        labels = np.array([[int(row[name]) for name in NAMES] for row in csv.DictReader(file)])
    assert reached > labels.mean() + CLEAR, "chance is the mean share of positives"
