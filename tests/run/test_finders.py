"""`--find_batch_size` and `--find_lr`: what they find is used, said, and saved so that the run can be repeated."""

from types import SimpleNamespace

import pytest
import torch
import yaml
from jsonargparse import Namespace

from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.run import finders
from ibca_lightning.run import lightning_cli as lightning
from tests.command_line import done, experiment, ibca, written

TAKEN: list[int] = []


def too_large(most):
    """A training step that has memory for so many pictures."""
    step = MultiLabelModule.training_step

    def training_step(self, batch, batch_idx):
        TAKEN.append(len(batch["label"]))
        if len(batch["label"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return step(self, batch, batch_idx)

    return training_step


@pytest.mark.parametrize("fits", [4, 1])
def test_the_largest_batch_that_fits_is_found_used_said_and_saved(fits, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(finders, "memory_is_guarded", lambda trainer: True)
    monkeypatch.setattr(MultiLabelModule, "training_step", too_large(fits))
    config = written(tmp_path / "e.yaml", experiment(tree, image_size=64))
    TAKEN.clear()
    result = done("fit", "--config", config, "--run_dir", tmp_path / "run", "--find_batch_size", "true")
    assert f"found data.batch_size {fits}" in result.err
    assert max(TAKEN) == 2 * fits
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["data"]["init_args"]["batch_size"] == fits
    assert saved["find_batch_size"] is False
    if fits == 1:
        monkeypatch.setattr(MultiLabelModule, "training_step", too_large(0))
        none = ibca("fit", "--config", config, "--run_dir", tmp_path / "none", "--find_batch_size", "true")
        assert (none.code, "memory for a batch of one picture" in none.errors[0]) == (2, True)
        return
    # The saved run starts from the same model and random numbers, and takes the same steps.
    done("fit", "--config", tmp_path / "run" / "config.yaml", "--run_dir", tmp_path / "again")
    one, two = (read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("run", "again"))
    assert one["global_step"] == two["global_step"] > 0
    assert all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())


def test_a_learning_rate_is_found_used_said_and_saved(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(finders, "_STEPS", 30)
    config = written(tmp_path / "e.yaml", experiment(tree))
    result = done("fit", "--config", config, "--run_dir", tmp_path / "run", "--find_lr", "true")
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    rate = saved["model"]["init_args"]["learning_rate"]
    assert f"found model.learning_rate {rate:g}" in result.err
    assert finders._LOWEST < rate < 1
    assert saved["find_lr"] is False
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert {group["initial_lr"] for group in state["optimizer_states"][0]["param_groups"]} == {rate}
    assert state["epoch"] == 0
    done("fit", "--config", tmp_path / "run" / "config.yaml", "--run_dir", tmp_path / "again")
    again = read_checkpoint(tmp_path / "again" / "checkpoints" / "last.ckpt")
    assert all(torch.equal(value, again["state_dict"][name]) for name, value in state["state_dict"].items())


@pytest.mark.parametrize(
    ("option", "more", "named"),
    [
        ("find_batch_size", [], "a GPU for --find_batch_size, got a CPU"),
        ("find_lr", ["--ckpt_path", "CKPT"], "--find_lr at the start of a run, got --ckpt_path"),
    ],
)
def test_what_cannot_be_found_is_refused(option, more, named, run, tree, tmp_path):
    more = [run / "checkpoints" / "last.ckpt" if word == "CKPT" else word for word in more]
    config = written(tmp_path / "e.yaml", experiment(tree))
    result = ibca("fit", "--config", config, "--run_dir", tmp_path / "new", f"--{option}", "true", *more)
    assert result.code == 2
    assert named in result.errors[0]
    assert not (tmp_path / "new").exists()


def test_several_processes_would_each_find_something_else():
    config = Namespace(ckpt_path=None, find_batch_size=False, find_lr=True)
    with pytest.raises(lightning.InputError, match="--find_lr with one process, got 2"):
        finders.require_finding(SimpleNamespace(world_size=2), config)
