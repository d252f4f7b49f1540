"""A run that is stopped, by whatever and wherever, ends as if it had not been."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ibca_lightning.data.loader import make_loader
from ibca_lightning.data.sampling import EpochSampler
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.run.checkpoint_files import WholeCheckpointIO
from ibca_lightning.run.command_line.resumed_settings import changed_settings
from ibca_lightning.system.errors import InputError
from tests.command_line import REPOSITORY, contents, done, experiment, ibca, of_two_processes, rows, written


class Killed(BaseException):
    """Ends a run in this process about as abruptly as kill -9 does."""


def same(one: Any, two: Any, where: str = "") -> None:
    """Equal to the bit, however deep."""
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert list(one) == list(two), where
        for key in one:
            same(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for at, (first, second) in enumerate(zip(one, two, strict=True)):
            same(first, second, f"{where}.{at}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    else:
        assert one == two, where


def same_run(one: Path, two: Path) -> None:
    """Checkpoints equal to the bit, and the same rows of figures.

    It is promised of a resumed run, and holds: the same batches, in the same order, on the same number of threads.
    """
    for name in ("last", "best"):
        first, second = (read_checkpoint(run / f"checkpoints/{name}.ckpt") for run in (one, two))
        for key in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "ibca"):
            same(first[key], second[key], f"{name}.{key}")
        assert ("current_model_state" in first) == ("current_model_state" in second)
        same(first.get("current_model_state"), second.get("current_model_state"), name)
        kept = [
            {k: v for k, v in c["callbacks"].items() if k.startswith(("RunEarlyStopping", "AveragedWeights"))}
            for c in (first, second)
        ]
        same(*kept)
    tables = [rows(run / "metrics.csv") for run in (one, two)]
    assert [[(k, bool(v)) for k, v in row.items()] for row in tables[0]] == [
        [(k, bool(v)) for k, v in row.items()] for row in tables[1]
    ]
    for first, second in zip(*tables, strict=True):
        assert [float(v) for v in first.values() if v] == pytest.approx([float(v) for v in second.values() if v])
    assert (one / "splits.csv").read_text() == (two / "splits.csv").read_text()
    assert not list(two.glob("**/.*.ckpt"))


def once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: Callable[..., bool], then: Any) -> None:
    """Do something before a method, the first time that a condition holds."""
    original, happened = getattr(owner, name), []

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not happened and when(self, *args):
            happened.append(True)
            then()
        return original(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, method)


def kill() -> None:
    raise Killed


def at_step(step: int) -> Callable[..., bool]:
    return lambda module, *_: module.global_step == step


def in_epoch(epoch: int) -> Callable[..., bool]:
    return lambda module, *_: module.current_epoch == epoch and not module.trainer.sanity_checking


def send(*signals: signal.Signals) -> Callable[[], None]:
    def now() -> None:
        for number in signals:
            assert signal.getsignal(number) is not signal.SIG_DFL, "this would end the tests"
            signal.raise_signal(number)

    return now


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """A shell starts its background jobs with SIGINT ignored, and the suite may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def half_written(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], None]:
    """Let a checkpoint of this number be written by half, and then this happen."""

    def prepare(number: int, error: BaseException) -> None:
        original, saved = Path.write_bytes, []

        def write_bytes(path: Path, data: Any) -> int:
            if path.name.endswith(".last.ckpt"):
                saved.append(path)
                if len(saved) == number:
                    original(path, bytes(data[: len(data) // 2]))
                    raise error
            return original(path, data)

        monkeypatch.setattr(Path, "write_bytes", write_bytes)

    return prepare


HARD = {
    "model.head": {"class_path": "IBCAHead", "init_args": {"gradual": 1.0}}, "model.ema_decay": 0.7,
    "model.early_stopping_patience": 10, "data.balanced_sampling": True, "data.batch_size": 2, "data.num_workers": 0,
    "data.fold": 1, "data.folds": 3,
}  # fmt: skip
OTHER = {
    "model.scheduler": {"class_path": "torch.optim.lr_scheduler.ReduceLROnPlateau",
                        "init_args": {"mode": "min", "patience": 0, "threshold": 10.0}},
    "model.unfreeze_at_epoch": 1, "model.layer_decay": 0.75,
    "data.batch_size": 2, "data.num_workers": 2, "trainer.accumulate_grad_batches": 2,
    "trainer.val_check_interval": 3,
}  # fmt: skip


def configured(tree: Path, path: Path, options: dict[str, Any]) -> Path:
    config = experiment(tree)
    for key, value in options.items():
        section, _, name = key.partition(".")
        (config[section] if section == "trainer" else config[section]["init_args"])[name] = value
    config["trainer"] |= {"max_epochs": 3, "log_every_n_steps": 1}
    return written(path, config)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [HARD, OTHER], ids=["ema balanced ibca fold", "plateau accumulated workers unfrozen"]
)
def test_a_run_stopped_again_and_again_ends_as_if_it_had_not_been(
    options: dict[str, Any], tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch, half_written: Any
) -> None:
    config = configured(tree, here / "e.yaml", options)
    saving = ("--save_every_n_steps", 2)
    done("fit", "--config", config, "--run_dir", "whole", *saving)
    steps = read_checkpoint(here / "whole/checkpoints/last.ckpt")["global_step"]
    per_epoch = steps // 3
    start = ("fit", "--config", config, "--run_dir", "run", *saving)
    resume = ("fit", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/last.ckpt")
    last = here / "run/checkpoints/last.ckpt"

    def killed(command: tuple[Any, ...], owner: Any, name: str, when: Callable[..., bool]) -> None:
        with monkeypatch.context() as patch:
            once(patch, owner, name, when, kill)
            with pytest.raises(Killed):
                ibca(*command)

    killed(start, MultiLabelModule, "training_step", at_step(3))  # within the first epoch
    assert 0 < read_checkpoint(last)["global_step"] < per_epoch
    killed(resume, MultiLabelModule, "on_validation_epoch_end", in_epoch(0))
    killed(resume, MultiLabelModule, "optimizer_step", at_step(per_epoch + 1))  # within the second
    assert read_checkpoint(last)["global_step"] == per_epoch, "the first epoch's end was not saved"
    half_written(1, Killed())  # while it is being written
    before = last.read_bytes()
    with pytest.raises(Killed):
        ibca(*resume)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    (last.parent / ".0123abcd.last.ckpt").write_bytes(before[:100])  # what kill -9 would have left
    assert last.read_bytes() == before
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 143)):
        step = read_checkpoint(last)["global_step"] + 1
        with monkeypatch.context() as patch:
            once(patch, MultiLabelModule, "training_step", at_step(step), send(number))
            result = ibca(*resume)
        assert (result.code, len(result.errors)) == (code, 1), result.err
        assert "ibca fit --config run/config.yaml --ckpt_path run/checkpoints/last.ckpt" in result.err
        assert read_checkpoint(last)["global_step"] > step, "the step was not finished and saved"
    done(*resume)
    same_run(here / "whole", here / "run")


@pytest.mark.slow
def test_two_processes_of_which_one_is_asked_to_stop_go_on_as_if_it_had_not_been(tree: Path, here: Path) -> None:
    config = configured(tree, here / "e.yaml", HARD)
    environment = of_two_processes()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.run.ddp_resume_run", str(config)],
            env=environment | {"LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        for process in processes:
            output = process.communicate(timeout=500)[0]
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
    same_run(here / "whole", here / "part")


def test_ctrl_c_twice_stops_at_once(tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once(monkeypatch, MultiLabelModule, "training_step", at_step(1), send(signal.SIGINT, signal.SIGINT))
    result = ibca("fit", "--config", configured(tree, here / "e.yaml", {}), "--run_dir", "run")
    assert (result.code, len(result.errors)) == (130, 1), result.err
    assert not list(here.glob("run/checkpoints/*.ckpt"))


@pytest.mark.parametrize("command", ["test", "predict", "validate"])
def test_a_command_that_does_not_train_is_ended_at_once(
    command: str, run: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, MultiLabelModule, "_outputs", lambda *_: True, send(signal.SIGTERM))
    result = ibca(
        command, "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/best.ckpt", "--run_dir", "a"
    )
    assert (result.code, result.errors) == (143, ["error: stopped by SIGTERM"])


def test_a_full_disk_stops_the_run_with_one_line_and_leaves_the_last_good_checkpoint(
    tree: Path, here: Path, half_written: Any
) -> None:
    half_written(2, OSError(errno.ENOSPC, "No space left on device", "last.ckpt"))
    result = ibca("fit", "--config", configured(tree, here / "e.yaml", {}), "--run_dir", "run")
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "make room" in result.errors[0]
    assert "Traceback" not in result.err
    assert read_checkpoint(here / "run/checkpoints/last.ckpt")["epoch"] == 0
    assert sorted(path.name for path in (here / "run/checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_checkpoint_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for owner, name in ((Path, "write_bytes"), (os, "fsync"), (Path, "replace")):
        once_more = getattr(owner, name)

        def noted(*args: Any, name: str = name, call: Any = once_more) -> Any:
            calls.append(name)
            return call(*args)

        monkeypatch.setattr(owner, name, noted)
    WholeCheckpointIO().save_checkpoint({"a": torch.ones(2)}, tmp_path / "last.ckpt")
    assert calls == ["write_bytes", "fsync", "replace", "fsync"]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["a"].sum() == 2
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.fixture
def own_run(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "own")
    return tmp_path / "own"


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--model.optimizer", "torch.optim.SGD", "the optimiser's state"),
        ("--model.backbone_lr_scale", "0.1", "the learning rates"),
        ("--model.freeze_backbone", "true", "the optimiser's state"),
        ("--model.layer_decay", "0.5", "the learning rates"),
        ("--seed_everything", "3", "the seed"),
        ("--model.head", "CSRAHead", "head"),
    ],
)
def test_a_setting_that_the_checkpoint_would_override_is_refused(
    option: str, value: str, named: str, own_run: Path, here: Path
) -> None:
    before = contents(own_run)
    last = own_run / "checkpoints/last.ckpt"
    for folder in ((), ("--run_dir", "other")):
        result = ibca("fit", "--config", own_run / "config.yaml", "--ckpt_path", last, option, value, *folder)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert named in result.errors[0]
    assert contents(own_run) == before
    assert not Path("other").exists()


def test_an_option_that_is_newer_than_the_run_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {init_args: {backbone: resnet50}}\n")
    now = "model: {init_args: {backbone: resnet50, layer_decay: null, unfreeze_at_epoch: null}}\n"
    assert changed_settings(str(tmp_path), now) is None
    with pytest.raises(InputError, match=r"model.layer_decay unset as in .*, got 0.5"):
        changed_settings(str(tmp_path), now.replace("layer_decay: null", "layer_decay: 0.5"))


def test_a_setting_that_applies_from_here_on_is_said(own_run: Path, here: Path) -> None:
    resume = ("fit", "--config", own_run / "config.yaml", "--ckpt_path", own_run / "checkpoints/last.ckpt")
    assert "note:" not in done(*resume).err
    result = done(*resume, "--data.batch_size", 3, "--save_every_n_steps", 1)
    (note,) = [line for line in result.err.splitlines() if line.startswith("note:")]
    assert note.endswith("data.batch_size 3 (was 4)")


def test_batches_of_another_size_are_refused_within_an_epoch(tree: Path) -> None:
    def loader(batch_size: int) -> Any:
        sampler = EpochSampler(range(20), seed=1)  # type: ignore[arg-type]
        return make_loader(list(range(20)), batch_size, 0, sampler=sampler)  # type: ignore[arg-type]

    one = loader(4)
    given = [batch.tolist() for batch in one]
    iterator = iter(one)
    one.sampler.set_epoch(0)
    assert [next(iterator).tolist() for _ in range(2)] == given[:2]
    other = loader(4)
    other.load_state_dict(one.state_dict())
    assert [batch.tolist() for batch in other] == given[2:]
    assert sorted(row for batch in other for row in batch.tolist()) == list(range(20)), "the next epoch is whole"
    with pytest.raises(InputError, match="batches of 4 over all processes"):
        loader(5).load_state_dict(one.state_dict())


@pytest.mark.slow
def test_an_early_stopped_run_does_not_go_on(tree: Path, here: Path) -> None:
    options = {
        "model.early_stopping_patience": 1,
        "model.optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.0}},
    }
    done("fit", "--config", configured(tree, here / "e.yaml", options), "--run_dir", "run", "--trainer.max_epochs", 9)
    before = read_checkpoint("run/checkpoints/last.ckpt")
    assert before["epoch"] < 8
    done("fit", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/last.ckpt")
    assert read_checkpoint("run/checkpoints/last.ckpt")["global_step"] == before["global_step"]
    more = ("--model.early_stopping_patience", 2)
    result = done("fit", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/last.ckpt", *more)
    assert "model.early_stopping_patience 2 (was 1)" in result.err
    assert read_checkpoint("run/checkpoints/last.ckpt")["epoch"] > before["epoch"]


@pytest.mark.slow
def test_the_wandb_run_is_taken_up(tree: Path, here: Path) -> None:
    config = configured(tree, here / "e.yaml", {})
    done("fit", "--config", config, "--run_dir", "run", "--wandb", "offline", "--trainer.max_epochs", 1)
    resume = ("--ckpt_path", "run/checkpoints/last.ckpt", "--wandb", "offline", "--trainer.max_epochs", 2)
    done("fit", "--config", "run/config.yaml", *resume)
    ids = [folder.name.rpartition("-")[2] for folder in (here / "run/wandb").glob("offline-run-*")]
    assert len(ids) == 2
    assert set(ids) == {(here / "run/wandb/fit_id").read_text()}


@pytest.mark.slow
def test_the_run_of_a_wandb_agent_is_taken_up(tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tree, here / "e.yaml", {})
    with monkeypatch.context() as agent:
        agent.setenv("WANDB_RUN_ID", "abc12345")
        agent.setenv("WANDB_PROJECT", "ward7")
        more = ("--run_dir", "run", "--wandb", "offline", "--trainer.max_epochs", 1)
        assert "wandb project ward7, as the environment says" in done("fit", "--config", config, *more).err
    assert "wandb_project: ward7" in Path("run/config.yaml").read_text()
    resume = ("--ckpt_path", "run/checkpoints/last.ckpt", "--wandb", "offline", "--trainer.max_epochs", 2)
    done("fit", "--config", "run/config.yaml", *resume)
    ids = [folder.name.rpartition("-")[2] for folder in (here / "run/wandb").glob("offline-run-*")]
    assert ids == ["abc12345"] * 2


class WaitsToBeKilled(Callback):
    """Keeps a run from ending before the test has seen it begin."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if "WAIT_TO_BE_KILLED" in os.environ and trainer.global_step == 10:
            signal.pause()


@pytest.mark.slow
def test_kill_9_within_an_epoch(tree: Path, here: Path) -> None:
    waits = [{"class_path": "tests.run.test_resume.WaitsToBeKilled"}]
    options = {"data.num_workers": 2, "data.batch_size": 2, "model.ema_decay": 0.9, "trainer.callbacks": waits}
    config = configured(tree, here / "e.yaml", options)
    saving = ("--save_every_n_steps", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "ibca_lightning.cli", "fit", "--config", str(config), "--run_dir", "run", *saving],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        # As many threads as go on with it here: another number adds up in another order.
        env=os.environ | {
            "OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": str(REPOSITORY), "WAIT_TO_BE_KILLED": "1"
        },
    )  # fmt: skip
    try:
        while not (here / "run/checkpoints/last.ckpt").exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.001)
    finally:
        process.kill()
        process.communicate()
    assert read_checkpoint(here / "run/checkpoints/last.ckpt")["global_step"] <= 10
    done("fit", "--config", config, "--run_dir", "whole", *saving)
    done("fit", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/last.ckpt")
    same_run(here / "whole", here / "run")
