"""Two pictures of a case from a table to a prediction: joined, trained with the head `pair`, seen in views."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import ibca_lightning
from ibca_lightning.data import CSVDataModule
from ibca_lightning.heads import GCNHead, PairHead
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.system.errors import DataWarning
from tests.command_line import done, experiment, refused, rows, written

NAMES = ("new", "old")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on pairs in which `new` is a square that only the current picture has."""
    root = tmp_path_factory.mktemp("pairs")
    rng, table = np.random.default_rng(0), []
    (root / "images").mkdir()
    for case in range(24):
        cells = {"prior": f"{case}a.png", "current": f"{case}b.png", "part": ("train", "val", "test")[case % 3]}
        for at, name in enumerate(("prior", "current")):
            pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            if case // 3 % 2 == at:
                pixels[8:16, 8:16] = 250
            Image.fromarray(pixels).save(root / "images" / cells[name])
        table.append({**cells, "new": case // 3 % 2, "old": 1 - case // 3 % 2})
    with (root / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    config = experiment(root, split_column="part", image_columns=["prior", "current"], join_images=True, pair_pixels=32)
    for name in ("val_csv", "test_csv", "group_column", "exclude_columns"):
        del config["data"]["init_args"][name]
    config["data"]["init_args"] |= {"image_size": 64, "resize": "pad"}
    config["model"]["init_args"] |= {"head": {"class_path": "pair", "init_args": {"head": "csra", "width": 8}},
                                     "feature_stride": 8}  # fmt: skip
    experiment_file = written(root / "pairs.yaml", config)
    done("fit", "--config", experiment_file, "--run_dir", root / "run")
    return root / "run"


def test_the_checkpoint_holds_the_head_of_the_branches_and_that_there_are_two_pictures(run: Path) -> None:
    record = read_checkpoint(run / "checkpoints/best.ckpt")["ibca"]
    assert (record["preprocessing"]["resize"], record["preprocessing"]["pair"]) == ("pad", "yes")
    assert record["head"]["class_path"] == "ibca_lightning.heads.PairHead"
    assert record["head"]["init_args"]["head"]["class_path"] == "ibca_lightning.heads.CSRAHead"
    model = ibca_lightning.load(run / "checkpoints/best.ckpt", "cpu").model
    assert isinstance(model.head, PairHead)


def test_the_test_of_the_run_and_a_prediction_of_joined_pictures_agree(run: Path, here: Path) -> None:
    checkpoint = run / "checkpoints/best.ckpt"
    done("test", "--config", run / "config.yaml", "--ckpt_path", checkpoint, "--run_dir", "tested")
    tested = {row["id"]: row for row in rows(Path("tested/test_predictions.csv"))}
    assert len(tested) == 8
    pairs = run.parent / "pairs/32"
    images = [pairs / name for name in tested]
    done("predict", "--ckpt_path", checkpoint, "--images", *images, "--output", "plain")
    predicted = {row["id"]: row for row in rows(Path("plain/predictions.csv"))}
    for name, row in tested.items():
        assert [float(predicted[name][c]) for c in NAMES] == pytest.approx([float(row[c]) for c in NAMES], abs=1e-5)
    done("predict", "--ckpt_path", checkpoint, "--images", *images, "--output", "views", "--tta")
    model = ibca_lightning.load(checkpoint, "cpu")
    seen = torch.stack([model.see(path).image for path in images])
    views = [seen.unflatten(-1, (2, 32)).flip(axes).flatten(-2) for axes in ([], [-1], [-3], [-1, -3])]
    expected = torch.stack([model.forward(view)[0] for view in views]).mean(0)
    found = {row["id"]: [float(row[c]) for c in NAMES] for row in rows(Path("views/predictions.csv"))}
    np.testing.assert_allclose([found[path.name] for path in images], expected, atol=1e-5)
    refused("predict", "--ckpt_path", checkpoint, "--images", *images, "--output", "more", "--tta", 8,
            names=("--tta 4", "quarter turns"))  # fmt: skip


def test_maps_of_pairs_have_no_quarter_turns(run: Path, here: Path) -> None:
    maps = ("maps", "--config", run.parent / "pairs.yaml", "--model.freeze_backbone", "true", "--output", "stored")
    refused(*maps, names=("--views 4 or 1", "quarter turns"))
    done(*maps, "--views", 4)
    stage = np.load("stored/train.stage0.npy").astype(np.float32)
    # The square of the first case's prior picture stays in the left half, whatever the view.
    brightest = np.abs(stage - np.median(stage, (1, 3, 4), keepdims=True)).sum(2)
    halves = brightest[..., :4].sum((2, 3)), brightest[..., 4:].sum((2, 3))
    assert (np.sign(halves[0] - halves[1]) == np.sign(halves[0] - halves[1])[:, :1]).all()


def test_a_head_of_pairs_on_single_pictures_is_said(tree: Path, here: Path) -> None:
    config = written(here / "e.yaml", experiment(tree))
    with pytest.warns(DataWarning, match=r"two pictures side by side, and the data do not join any"):
        done("fit", "--config", config, "--run_dir", "a", "--model.head", "pair", "--model.head.head", "gcn")
    head = ibca_lightning.load("a/checkpoints/best.ckpt", "cpu").model.head.head
    assert isinstance(head, GCNHead)
    expected = GCNHead(8, 3)
    expected.see_labels(torch.from_numpy(CSVDataModule(**experiment(tree)["data"]["init_args"]).training_labels()))
    assert not torch.equal(expected.links, torch.eye(3))
    torch.testing.assert_close(head.links, expected.links)
    options = yaml.safe_load(Path("a/config.yaml").read_text())["model"]["init_args"]["head"]["init_args"]
    assert options["head"]["class_path"] == "ibca_lightning.heads.GCNHead"
