"""A run folder as `ibca fit` and `ibca test` leave it, made without training: for the tests of the report."""

from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.evaluation import evaluate
from ibca_lightning.metrics.store import SampleFacts, Stored
from ibca_lightning.run.result_files import write_evaluation
from tests.training import checkpoint

EVIL = '<b>&"\'</td><script>document.title="evil"</script>'
NAMES = [EVIL, "EX", "HE", "never"]
PICTURES, SIZE = 40, 64
THRESHOLDS = [0.3, 0.6, 0.5, 0.5]


def picture_id(row: int) -> str:
    return f"jane<i>&{row // 2}/{row:02d}.png"


def probabilities() -> np.ndarray:
    """(40, 4)."""
    values = np.random.default_rng(0).uniform(0.05, 0.95, (PICTURES, len(NAMES)))
    return values.astype(np.float32)


def labels() -> np.ndarray:
    """(40, 4), about a tenth of the third class unknown, the last class never there."""
    generator = np.random.default_rng(1)
    given = (generator.uniform(size=(PICTURES, len(NAMES))) < 0.4).astype(np.int8)
    given[generator.uniform(size=PICTURES) < 0.2, 2] = -1
    given[:, 3] = 0
    return given


def write(folder: Path, sets: tuple[str, ...] = ("test",)) -> Path:
    """Write the run into `folder/run`, its pictures into `folder/images`, masks into `folder/masks`."""
    run = folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "attention").mkdir()
    checkpoint(run / "checkpoints" / "best.ckpt", 0, NAMES)
    settings = {
        "model": {"init_args": {"backbone": "test_resnet", "head": {"class_path": "a.GAPHead"}, "note": EVIL}},
        "data": {"class_path": "CSVDataModule", "init_args": {"root": "/home/jane/data", "image_size": SIZE}},
        "long": list(range(60)),  # more than a screen shows of it
    }
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    (run / "metrics.csv").write_text(
        "epoch,step,train/loss_epoch,train/loss_step,val/loss,val/mAP\n"
        "0,1,,0.9,,\n0,3,,,0.8,0.25\n0,3,0.7,,,\n1,7,,,0.6,0.5\n1,7,0.5,,,\n"
    )
    cv2.imwrite(str(run / "attention" / "test_jane.png"), np.full((40, 90, 3), 80, np.uint8))
    logits = torch.from_numpy(probabilities()).logit()
    for at, name in enumerate(sets):
        stored = Stored(torch.arange(PICTURES), logits.roll(at, 0), torch.from_numpy(labels()), {})
        facts, rows = SampleFacts(), range(PICTURES)
        facts.update({
            "index": torch.arange(PICTURES), "id": [picture_id(row) for row in rows],
            "group": [f"jane{row // 2}" for row in rows], "subgroup": {"sex": ["FM"[row % 2] for row in rows]},
        })  # fmt: skip
        result = evaluate(
            name, stored, facts, NAMES, OperatingPoints(THRESHOLDS, None, [30, 9, 30, 30]), intervals=True
        )
        if at == 0:
            write_evaluation(run, result)
        if len(sets) > 1:
            write_evaluation(run, result, f".{name}")
    generator = np.random.default_rng(2)
    for row in range(PICTURES):
        for kind in ("images", "masks"):
            (folder / kind / picture_id(row)).parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (30, 45, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / picture_id(row)), pixels)
        mask = np.zeros((30, 45), np.uint8)
        mask[5:20, 10:30] = sum(1 << label for label in range(4) if labels()[row, label] == 1)
        cv2.imwrite(str(folder / "masks" / picture_id(row)), mask)
    return run
