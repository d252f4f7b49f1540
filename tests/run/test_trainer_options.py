"""Options of Lightning's trainer: those that fit a run do what was asked, the others are refused in our words."""

import logging
from pathlib import Path

import pytest
import yaml

from tests.command_line import Result, done, experiment, ibca, refused, rows, written


@pytest.fixture
def config(tree: Path, here: Path) -> Path:
    """An experiment on sound data, `e.yaml` in the current folder."""
    return written(here / "e.yaml", experiment(tree))


def fit(*options: object) -> Result:
    return done("fit", "--config", "e.yaml", "--run_dir", "r", *options)


# --- refused ---------------------------------------------------------------------------------------------------------

CALLBACK = "--trainer.callbacks+"
REFUSED: dict[str, tuple[str, str]] = {
    "a share of too few batches": ("--trainer.limit_train_batches 0.1", "at least one of 3 batches, got 0.1; give"),
    "a share of too few to validate": ("--trainer.limit_val_batches 0.1", "limit_val_batches (or overfit_batches)"),
    "an interval longer than an epoch": ("--trainer.val_check_interval 900", "the 3 batches of an epoch, got 900"),
    "barebones": ("--trainer.barebones true", "got trainer.barebones, with which it would do neither"),
    "a time without a form": ("--trainer.max_time 1h", "DD:HH:MM:SS, such as 00:12:00:00 for half a day, got 1h"),
    "a timer without a form": (f"{CALLBACK} Timer --trainer.callbacks.duration 1h", "a duration as DD:HH:MM:SS, such"),
    "a finder of batch sizes": (f"{CALLBACK} BatchSizeFinder", "got BatchSizeFinder; give --data.batch_size"),
    "a finder of rates": (f"{CALLBACK} LearningRateFinder", "got LearningRateFinder; give --data.batch_size"),
    "a way of pruning that is none": (
        f"{CALLBACK} ModelPruning --trainer.callbacks.pruning_fn nope", "options that ModelPruning takes, got The",
    ),
    "pruning with channels_last": (
        f"{CALLBACK} ModelPruning --trainer.callbacks.pruning_fn l1_unstructured", "give --model.channels_last false",
    ),
    "a figure that is none": (f"{CALLBACK} EarlyStopping --trainer.callbacks.monitor val/map", "did you mean val/mAP?"),
    "a callback without a logger": (
        f"{CALLBACK} LearningRateMonitor --trainer.logger false", "a logger for LearningRateMonitor, got none; leave",
    ),
    "no epoch": ("--trainer.max_epochs 0", "trainer.max_epochs above 0 for ibca fit, got 0; raise it"),
    "no step": ("--trainer.max_steps 0", "trainer.max_steps above 0"),
    "no batch": ("--trainer.limit_train_batches 0.0", "trainer.limit_train_batches above 0"),
    "a step of no batch": ("--trainer.accumulate_grad_batches 0", "accumulate_grad_batches of 1 or more, got 0"),
    "early stopping without a validation": (
        "--model.early_stopping_patience 3 --trainer.limit_val_batches 0", "got trainer.limit_val_batches 0; let it",
    ),
    "a logger that is not installed": ("--trainer.logger+ CometLogger", "got none; pip install comet"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, config: Path) -> None:
    options, said = REFUSED[case]
    refused("fit", "--config", "e.yaml", "--run_dir", "new", *options.split(), names=(said,))


# --- done ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", ["StochasticWeightAveraging --trainer.callbacks.swa_lrs 1e-3",
                "Timer --trainer.callbacks.duration 00:01:00:00",
        "ModelPruning --trainer.callbacks.pruning_fn l1_unstructured --model.channels_last false"],
)  # fmt: skip
def test_a_configuration_that_was_written_can_be_read_again(options: str, config: Path) -> None:
    fit(CALLBACK, *options.split())
    text = Path("r/config.yaml").read_text()
    assert "Unable" not in text
    assert options.split()[0] in text
    done("fit", "--config", "r/config.yaml", "--run_dir", "r2")
    assert yaml.safe_load(Path("r2/config.yaml").read_text()) == yaml.safe_load(text)


@pytest.mark.parametrize("bar", ["RichProgressBar", "TQDMProgressBar"])
def test_the_progress_bar_of_the_user_takes_the_place_of_ours(bar: str, config: Path) -> None:
    result = fit(CALLBACK, bar)
    assert "epoch 1/1, loss" not in result.err
    assert "Unable" not in Path("r/config.yaml").read_text()


def test_a_bar_that_is_asked_for_is_shown_without_a_terminal(config: Path) -> None:
    assert "Epoch 0: 100%" in (result := fit("--trainer.enable_progress_bar", "true")).err + result.out


def test_what_lightning_is_asked_to_say_is_said(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = "--trainer.profiler simple --trainer.enable_model_summary true"
    stopping = "EarlyStopping --trainer.callbacks.monitor val/mAP --trainer.callbacks.mode max"
    with caplog.at_level(logging.INFO, logger="root"):
        result = fit(*asked.split(), CALLBACK, *stopping.split(), "--trainer.callbacks.verbose", "true")
    assert "Trainable params" in result.out
    for said in ("Profiler Report", "Metric val/mAP improved"):
        assert said in caplog.text
    for unasked in ("GPU available", "Tip", "`Trainer.fit` stopped"):
        assert unasked not in caplog.text


def test_a_run_without_validation_says_so_and_names_the_last_checkpoint(config: Path) -> None:
    result = fit("--trainer.check_val_every_n_epoch", 5)
    assert "no best.ckpt, because nothing was validated; the weights of the end: r/checkpoints/last.ckpt" in result.out
    command = next(line for line in result.out.splitlines() if line.startswith("test it: ibca "))
    assert ibca(*command.removeprefix("test it: ibca ").split()).code == 0


def test_a_test_of_no_picture_is_refused(config: Path) -> None:
    command = ("test", "--config", "e.yaml", "--ckpt_path", "x.ckpt", "--run_dir", "new")
    refused(*command, "--trainer.limit_test_batches", 0, names=("limit_test_batches above 0 for ibca test",))


def test_a_trial_run_sets_the_limits_by_itself(config: Path) -> None:
    fit("--trainer.max_epochs", 0, "--trainer.fast_dev_run", "true")


def test_a_run_that_is_taken_up_has_at_least_the_epochs_that_are_done(config: Path) -> None:
    fit("--trainer.max_epochs", 2)
    again = ("fit", "--config", "e.yaml", "--run_dir", "new", "--ckpt_path", "r/checkpoints/last.ckpt")
    refused(*again, "--trainer.max_epochs", 1, names=("of at least the 2 epochs", "got 1; raise it"))
    done(*again, "--trainer.max_epochs", 2)


def test_a_scheduler_of_a_figure_that_is_none_names_the_nearest(config: Path) -> None:
    scheduler = ("--model.scheduler", "lightning.pytorch.cli.ReduceLROnPlateau", "--model.scheduler.monitor", "val/map")
    result = ibca("fit", "--config", "e.yaml", "--run_dir", "r", *scheduler)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "a figure of the run to monitor, got val/map; did you mean val/mAP?" in result.errors[0]


@pytest.mark.parametrize("option", ["--trainer.logger", "--trainer.logger+"])
def test_an_own_logger_is_added_to_those_of_the_run(option: str, config: Path) -> None:
    fit(option, "CSVLogger", "--trainer.logger.save_dir", "own")
    assert [row["val/mAP"] for row in rows(Path("r/metrics.csv")) if row["val/mAP"]]
    assert list(Path("own").rglob("metrics.csv"))


@pytest.mark.parametrize(
    "name",
    [
        "ReduceLROnPlateau",
        "StepLR --model.scheduler.step_size 1",
        "CosineAnnealingWarmRestarts --model.scheduler.T_0 1",
    ],
)
def test_a_scheduler_of_torch_by_its_name(name: str, config: Path) -> None:
    fit("--model.scheduler", *name.split(), "--trainer.limit_val_batches", 1)
    saved = yaml.safe_load(Path("r/config.yaml").read_text())["model"]["init_args"]["scheduler"]["class_path"]
    assert saved == f"torch.optim.lr_scheduler.{name.split()[0]}"
