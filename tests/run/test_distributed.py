"""Two processes give what one gives (gloo, CPU)."""

import json
import os
import subprocess
import sys

import pytest
import torch

from ibca_lightning.model.checkpoint import read_checkpoint
from tests.command_line import done, experiment, near, of_two_processes, rows, written
from tests.datasets.fake_csv import write
from tests.run.ddp_run import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    one, two = (tmp_path_factory.mktemp(f"of_{processes}") for processes in (1, 2))
    command = [sys.executable, "-m", "tests.run.ddp_run", str(two), "2"]
    with subprocess.Popen(
        command, env=of_two_processes(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        main(one, 1)
        output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    assert "sync_dist" not in output  # Lightning's warning of figures that processes do not share
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("head", ["gap", "ibca"])
def test_thirteen_samples_are_tested_and_predicted_as_by_one_process(head, runs):
    near(*(json.loads((folder / head / "test_metrics.json").read_text()) for folder in runs))
    for file in ("test_predictions.csv", "predictions.csv"):
        one, two = (rows(folder / head / file) for folder in runs)
        assert len(one) == 13
        near(one, two)


@pytest.mark.slow
def test_two_processes_of_eight_take_the_steps_of_one_of_sixteen(runs):
    one, two = (torch.load(folder / "gap.pt", weights_only=True) for folder in runs)
    for name, value in one["state"].items():
        assert torch.allclose(value, two["state"][name], atol=1e-6), name
    assert "train/loss_epoch" in one["logged"]
    assert two["logged"] == pytest.approx(one["logged"], abs=1e-6)
    saved = [read_checkpoint(folder / "gap" / "best.ckpt")["ibca"] for folder in runs]
    assert saved[0]["thresholds"] == pytest.approx(saved[1]["thresholds"], abs=1e-6)
    assert saved[0]["calibration"]["kind"] == "temperature"
    assert list(saved[0]["calibration"]) == list(saved[1]["calibration"])
    for one, two in zip(*(own["calibration"].values() for own in saved), strict=True):
        assert one == two if isinstance(one, str) else one == pytest.approx(two, abs=1e-6)


@pytest.mark.slow
def test_a_backbone_that_learns_later_takes_the_same_steps_in_every_process(runs):
    one, two, other = (
        torch.load(folder / f"unfrozen{rank}.pt", weights_only=True)
        for folder, rank in ((runs[0], 0), (runs[1], 0), (runs[1], 1))
    )
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=1e-6), name
        assert torch.equal(two[name], other[name]), name


@pytest.mark.slow
@pytest.mark.parametrize(("row", "where"), [(1, "line 3"), (None, "header only")])
def test_wrong_input_of_the_second_process_or_of_both_gets_one_line_and_exit_2(row, where, tmp_path):
    write(tmp_path / "data")
    table = tmp_path / "data" / "val.csv"
    if row is None:  # each process meets it
        table.write_text(table.read_text().splitlines()[0])
    else:  # rank 0 reads rows 0, 2, ..., rank 1 the others
        (tmp_path / "data" / "images" / rows(table)[row]["image"]).write_bytes(b"junk")
    config = written(tmp_path / "e.yaml", experiment(tmp_path / "data"))
    options = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--run_dir", str(tmp_path / "run")]
    command = [sys.executable, "-m", "ibca_lightning.cli", "fit", "--config", str(config), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert result.returncode == 2, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert where in line
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FSDP needs a GPU")
def test_fsdp_trains_and_its_checkpoint_is_that_of_any_run(tree, here):
    config = written(here / "e.yaml", experiment(tree))
    options = ["--trainer.strategy", "fsdp", "--trainer.accelerator", "gpu", "--trainer.devices", "1"]
    done("fit", "--config", config, "--run_dir", "run", *options)
    done("test", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt", *options[4:])
