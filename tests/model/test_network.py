"""The network without Lightning: what it gives, and what it needs."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ibca_lightning
from ibca_lightning import MultiLabelModule
from ibca_lightning.heads import IBCAHead
from ibca_lightning.losses import MaskedBCE
from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.model.network import Network, load_network
from ibca_lightning.system.errors import InputError
from tests.training import Data, Pictures, module, save, trainer

ALONE = """
import sys
for name in ("lightning", "pytorch_lightning", "wandb", "torchmetrics"):
    sys.modules[name] = None  # as where it is not installed
import numpy as np, ibca_lightning
predictor = ibca_lightning.load(sys.argv[1], "cpu")
print(predictor.predict(np.full((80, 90, 3), 127, np.uint8)).probabilities.tolist())
from ibca_lightning.use.deployable import program_of
program_of(predictor)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = module(head=IBCAHead, normalise_features=True, feature_stride=[16, 32], thresholds="fixed")
    made.points = OperatingPoints([0.2, 0.3, 0.4])
    return save(made, tmp_path_factory.mktemp("network") / "a.ckpt")


@pytest.mark.slow
def test_prediction_and_export_work_without_lightning_and_wandb(checkpoint: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, checkpoint], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    picture = torch.full((80, 90, 3), 127, dtype=torch.uint8).numpy()
    expected = ibca_lightning.load(checkpoint, "cpu").predict(picture).probabilities
    assert json.loads(done.stdout) == pytest.approx(expected.tolist(), abs=1e-5)


def test_network_and_module_are_one_to_the_weights_and_the_logits(checkpoint: Path) -> None:
    network, whole = load_network(read_checkpoint(checkpoint)), MultiLabelModule.load_from_checkpoint(checkpoint).eval()
    assert list(network.state_dict()) == list(whole.state_dict())
    assert {name.partition(".")[0] for name in network.state_dict()} == {"backbone", "feature_norm", "head"}
    images = Pictures(3).image
    with torch.no_grad():
        expected = network(images)
        for output in (whole(images), network.classify(network.stages(images)), copy.deepcopy(network)(images)):
            torch.testing.assert_close(output.logits, expected.logits)
            torch.testing.assert_close(output.attention, expected.attention)
        stored = network.classify(network.stored([stage.half() for stage in network.stages(images)]))
    torch.testing.assert_close(stored.logits, expected.logits, rtol=0.01, atol=0.01)
    assert type(network) is Network


def test_a_module_comes_back_from_its_checkpoint_alone(checkpoint: Path) -> None:
    loaded = MultiLabelModule.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
    assert loaded.spec.as_dict() == read_checkpoint(checkpoint)["ibca"]
    trainer().test(loaded, datamodule=Data({"test": Pictures(6)}), verbose=False)
    scored = loaded.evaluations["test"].probabilities
    expected = ibca_lightning.load(checkpoint, "cpu").forward(Pictures(6).image)[0]
    torch.testing.assert_close(torch.as_tensor(scored), expected, rtol=0, atol=1e-5)


def test_what_a_checkpoint_does_not_hold_is_given_beside_it(checkpoint: Path, tmp_path: Path) -> None:
    loss = MaskedBCE(pos_weight=[1.0, 2.0, 3.0])
    loaded = MultiLabelModule.load_from_checkpoint(checkpoint, loss=loss, learning_rate=0.5)
    assert loaded.loss is loss
    assert loaded.learning_rate == 0.5
    with pytest.raises(InputError, match="a checkpoint file at"):
        MultiLabelModule.load_from_checkpoint(tmp_path / "none.ckpt")
