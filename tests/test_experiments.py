"""Every YAML of experiments/ trains and tests on a fake tree with the real file names."""

import json
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

from ibca_lightning.run.command_line.shipped import SPACES, recipes
from ibca_lightning.run.command_line.short_names import NAMES
from ibca_lightning.search.space import checked_space
from tests.command_line import done, rows
from tests.datasets import (
    fake_chest_mnist,
    fake_chest_xray14,
    fake_chexpert,
    fake_derm7pt,
    fake_endo,
    fake_galar,
    fake_idrid,
    fake_idrid_tiles,
    fake_medfm_chestdr,
    fake_mured,
    fake_odir5k,
    fake_padchest,
    fake_rfmid,
    fake_vindr_cxr,
)

FOLDER = Path(__file__).parents[1] / "experiments"
EXPERIMENTS = list(recipes())
SMALL = (
    "--model.backbone=test_resnet", "--model.pretrained=false", "--data.image_size=64", "--data.batch_size=8",
    "--data.num_workers=0", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--wandb=disabled",
)  # fmt: skip
MAPS = {  # stored maps, and the experiment whose pictures they are of
    "idrid_maps": "idrid_tiles", "scm_maps": "scm",
    **{f"{name}_marks": name for name in ("edd2020", "idrid_tiles", "chula_rbc12")},
}  # fmt: skip
TREES: dict[str, Callable[[Path], None]] = {
    "endo": fake_endo.write, "mured": fake_mured.write, "idrid_tiles": fake_idrid_tiles.write,
    "medfm_chestdr": fake_medfm_chestdr.write, "rfmid": fake_rfmid.write, "chest_xray14": fake_chest_xray14.write,
    "chexpert": fake_chexpert.write, "odir5k": fake_odir5k.write,
    "padchest": fake_padchest.write, "vindr_cxr": fake_vindr_cxr.write, "galar": fake_galar.write,
    "chest_mnist": fake_chest_mnist.write, "derm7pt": fake_derm7pt.write,
    "idrid": fake_idrid.write, "idrid_fine_tuned": fake_idrid_tiles.write, "edd2020": fake_idrid_tiles.write,
    "chula_rbc12": fake_idrid_tiles.write,
}  # fmt: skip
MORE = {  # what a recipe for the whole set leaves too little of in a fake tree
    "chest_mnist": ("--data.size=28",),
    "chexpert": ("--data.val_fraction=0.3",),
    "galar": ("--data.stride=2",),
    "idrid": ("--data.tile=60", "--data.tile_pixels=32"),
    "padchest": ("--data.min_positives=5",),
}
DRAWN = {"scm": ("--data.train_size=16", "--data.val_size=16", "--data.test_size=16")}  # needs no files


def source(name: str, root: Path) -> tuple[str, ...]:
    """Write the fake tree of an experiment; return the options that lead to it."""
    if name in MAPS:
        pictures, model = MAPS[name], yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["model"]["init_args"]
        given = ("--config", FOLDER / f"{pictures}.yaml", f"--model.feature_stride={model['feature_stride']}")
        marks = ("--data.marks.rho=0.6",) if name.endswith("_marks") else ()
        done("maps", *given, *SMALL, *source(pictures, root / "pictures"), *marks, "--output", root)
        return (f"--data.root={root}",)
    if name in DRAWN:
        return DRAWN[name]
    assert name in TREES, f"write a fake tree for experiments/{name}.yaml and name it here"
    TREES[name](root)
    return (f"--data.root={root}", *MORE.get(name, ()))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_fits_and_tests(name: str, here: Path) -> None:
    options = source(name, here / "data")
    # A recipe may validate every few epochs only; this run has one.
    once = "--trainer.check_val_every_n_epoch=1"
    done("fit", "--config", FOLDER / f"{name}.yaml", "--run_dir", "run", *SMALL, once, *options)
    assert [float(row["val/mAP"]) for row in rows(here / "run/metrics.csv") if row["val/mAP"]]
    done("test", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt")
    results = sorted(path.name for path in (here / "run").glob("test_metrics*.json"))
    marked = name in ("scm", "scm_maps") or name.endswith("_marks")
    if marked:
        sets = ["independent", "reversed", "same"]
        assert results == ["test_metrics.independent.json", "test_metrics.json", "test_metrics.reversed.json",
                           "test_metrics.same.json"]  # fmt: skip
        assert [(here / "run" / f"test_predictions.{test}.csv").is_file() for test in sets] == [True] * 3
        for kind in ("metrics.json", "predictions.csv"):
            prefix, _, end = kind.partition(".")
            first = (here / f"run/test_{prefix}.same.{end}").read_bytes()
            assert (here / f"run/test_{kind}").read_bytes() == first
    else:
        assert results == ["test_metrics.json"]
    metrics = json.loads((here / "run/test_metrics.json").read_text())["metrics"]
    assert 0 < metrics["mAP"] <= 1
    masks = ("scm", "idrid", "edd2020", "chula")
    assert ("pixel_AP" in metrics) == any(known in name for known in masks), "where there are masks"
    assert ("spurious_energy" in metrics) == marked
    assert bool(list((here / "run/attention").glob("*.png"))) == (name not in MAPS), "where there are pictures"
    assert {path.name for path in here.iterdir()} <= {"data", "run"}


def test_every_head_has_a_space_of_its_own_options() -> None:
    spaces = yaml.safe_load((FOLDER / SPACES).read_text())
    assert spaces.keys() == NAMES["model.head"].keys()
    for name, space in spaces.items():
        options = [key.removeprefix("model.head.") for key in checked_space(space, name) if key != "model.optimizer.lr"]
        assert len(options) <= 3, "few enough for the trials that every head gets"
        assert set(options) <= set(resolve_name(NAMES["model.head"][name])(8, 2).options)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_header_says_how_to_launch(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    header = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    text = "\n".join(header)
    assert f"ibca fit --config experiments/{name}.yaml" in text
    assert "Override:" in text
