"""A run folder and a checkpoint from before the modules moved (`tests/before`) still serve."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import ibca_lightning
from ibca_lightning import MultiLabelModule
from ibca_lightning.heads import CSRAHead
from ibca_lightning.model.checkpoint import ModelSpec
from ibca_lightning.run.command_line.resumed_settings import changed_settings
from tests.command_line import done
from tests.datasets import fake_csv
from tests.training import trainer

BEFORE = Path(__file__).parent / "before"
SAVED = json.loads((BEFORE / "checkpoint.json").read_text())


@pytest.fixture
def checkpoint(here: Path) -> Path:
    """The checkpoint with fresh weights, and its data, in the current folder."""
    fake_csv.write(here / "data", rows=25)
    spec = ModelSpec.from_checkpoint(SAVED)
    made = MultiLabelModule(**spec.module_options())
    assert {name: list(weight.shape) for name, weight in made.state_dict().items()} == SAVED["weights"]
    assert list(made.state_dict()) == list(SAVED["weights"])
    path, run = here / "best.ckpt", trainer()
    run.strategy.connect(made)
    run.save_checkpoint(path, weights_only=True)
    torch.save(torch.load(path, weights_only=True) | {"ibca": SAVED["ibca"]}, path)
    return path


def test_its_checkpoint_is_loaded_and_its_head_has_the_public_name(checkpoint: Path) -> None:
    assert SAVED["ibca"]["head"]["class_path"] == "ibca_lightning.heads.csra.CSRAHead"
    predictor = ibca_lightning.load(checkpoint, "cpu")
    assert isinstance(predictor.model.head, CSRAHead)
    assert predictor.spec.head["class_path"] == "ibca_lightning.heads.CSRAHead"
    loaded = MultiLabelModule.load_from_checkpoint(checkpoint)
    assert loaded.spec.head["class_path"] == "ibca_lightning.heads.CSRAHead"
    images = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(loaded.eval()(images).logits, predictor.model(images).logits)


def test_its_configuration_tests_it_and_is_printed_with_public_names(checkpoint: Path) -> None:
    done("test", "--config", BEFORE / "config.yaml", "--ckpt_path", checkpoint, "--run_dir", "tested")
    assert Path("tested/test_predictions.csv").is_file()
    whole = yaml.safe_load(done("fit", "--config", BEFORE / "config.yaml", "--print_config").out)
    options = whole["data"]["init_args"]
    assert whole["model"]["class_path"] == "ibca_lightning.MultiLabelModule"
    assert whole["model"]["init_args"]["head"]["class_path"] == "ibca_lightning.heads.CSRAHead"
    assert whole["model"]["init_args"]["loss"]["class_path"] == "ibca_lightning.losses.AsymmetricLoss"
    assert whole["data"]["class_path"] == "ibca_lightning.data.CSVDataModule"
    assert options["labels"]["blank"] == "zero"


def test_a_class_may_be_given_by_its_old_path_on_the_command_line(checkpoint: Path) -> None:
    named = ("--model.head", "ibca_lightning.heads.gap.GAPHead", "--data.batch_size", "4")
    whole = yaml.safe_load(done("fit", "--config", BEFORE / "config.yaml", *named, "--print_config").out)
    assert whole["model"]["init_args"]["head"]["class_path"] == "ibca_lightning.heads.GAPHead"


def test_a_resumption_does_not_call_a_moved_class_a_changed_setting(here: Path) -> None:
    shutil.copy(BEFORE / "config.yaml", here)
    text = (BEFORE / "config.yaml").read_text()
    moved = text.replace("heads.csra.", "heads.").replace(".module.", ".").replace("data.csv_table.", "data.")
    assert changed_settings(str(here), moved) is None
    assert "model.head.class_path" in str(changed_settings(str(here), moved.replace("CSRAHead", "GAPHead")))
