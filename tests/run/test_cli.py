import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ibca_lightning import __version__
from ibca_lightning.run.callbacks.run_checkpoint import RunCheckpoint
from tests.command_line import contents, done, experiment, ibca, near, rows, written
from tests.metrics.test_multilabel import plain_metrics

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def config(tree: Path, tmp_path: Path) -> Path:
    return written(tmp_path / "experiment.yaml", experiment(tree))


@pytest.fixture
def own_run(run: Path, tmp_path: Path) -> Path:
    """A copy of the trained run to write into."""
    shutil.copytree(run, tmp_path / "own")
    return tmp_path / "own"


def options(run_dir: Path) -> Any:
    return yaml.safe_load((run_dir / "config.yaml").read_text())


def probabilities(path: Path) -> dict[str, list[float]]:
    return {row["id"]: [float(row[name]) for name in "ABC"] for row in rows(path)}


# --- fit -------------------------------------------------------------------------------------------------------------


def test_fit_writes_the_run_folder_and_nothing_else(config: Path, here: Path) -> None:
    result = done("fit", "--config", config, "--run_dir", "runs/a")
    assert [path.name for path in here.iterdir()] == ["runs"]
    files = {path for path in contents(here / "runs/a") if not path.startswith("attention/")}
    checkpoints = {f"checkpoints/{name}" for name in ("best.ckpt", "last.ckpt", "model_card.md")}
    assert files == {"config.yaml", "metrics.csv", "splits.csv"} | checkpoints
    pictures = list((here / "runs/a/attention").glob("val_*.png"))
    assert pictures
    assert "epoch 1/1, loss " in result.err
    assert "val mAP" in result.err
    assert "ibca test --config runs/a/config.yaml --ckpt_path runs/a/checkpoints/best.ckpt" in result.out
    assert [float(row["val/mAP"]) for row in rows(here / "runs/a/metrics.csv") if row["val/mAP"]]


def test_closing_lines_can_be_pasted_into_a_shell(config: Path, here: Path) -> None:
    result = done("fit", "--config", config, "--wandb", "offline", "--run_dir", "a run")
    assert "ibca test --config 'a run/config.yaml' --ckpt_path 'a run/checkpoints/best.ckpt'" in result.out
    assert result.out.startswith("Best validation, epoch 1 of 1: mAP ")
    sent = "wandb was off line: nothing was sent. a run/wandb holds the figures"
    assert sent in result.err
    assert "only `wandb sync 'a run/wandb'/offline-run-*` would send them" in result.err
    result = done("fit", "--config", config, "--run_dir", "trial", "--trainer.fast_dev_run", "true")
    assert "ibca test" not in result.out, "there is nothing to test"


def test_everything_but_the_data_has_a_default(config: Path, here: Path) -> None:
    only = written(here / "only.yaml", {"data": yaml.safe_load(config.read_text())["data"], "wandb": "disabled"})
    small = ("--model.backbone", "test_resnet", "--model.pretrained", "false", "--trainer.max_epochs", 1)
    done("fit", "--config", only, *small, "--run_dir", "a")
    model = options(here / "a")["model"]
    assert model["class_path"] == "ibca_lightning.MultiLabelModule"
    assert model["init_args"]["head"]["class_path"] == "ibca_lightning.heads.IBCAHead"


def test_default_run_folder_is_named_after_experiment_and_time(config: Path, here: Path) -> None:
    done("fit", "--config", config, "--model.head", "gap")
    (folder,) = (here / "runs" / "experiment").iterdir()
    time.strptime(folder.name, "%Y-%m-%d_%H-%M-%S")
    assert (folder / "config.yaml").is_file()


def test_saved_configuration_starts_a_new_run_of_the_same_figures(run: Path, here: Path) -> None:
    done("fit", "--config", run / "config.yaml", "--run_dir", "again")
    assert options(here / "again") == options(run)
    near(rows(here / "again/metrics.csv"), rows(run / "metrics.csv"), tolerance=1e-4)


def test_second_run_in_a_folder_is_refused_and_changes_nothing(own_run: Path, config: Path, here: Path) -> None:
    before = contents(own_run)
    result = ibca("fit", "--config", config, "--run_dir", own_run)
    assert result.code == 2
    assert result.err.startswith(f"error: --run_dir {own_run} without a run, got config.yaml, ")
    assert result.err.count("\n") == 1
    assert contents(own_run) == before


def test_checkpoint_of_one_run_does_not_open_the_folder_of_another(own_run: Path, run: Path, here: Path) -> None:
    before = contents(own_run)
    last = run / "checkpoints/last.ckpt"
    result = ibca("fit", "--config", run / "config.yaml", "--ckpt_path", last, "--run_dir", own_run)
    assert result.code == 2
    assert contents(own_run) == before


def test_resume_goes_on_in_the_same_folder(own_run: Path, here: Path) -> None:
    config = (own_run / "config.yaml").read_bytes()
    before = rows(own_run / "metrics.csv")
    last = own_run / "checkpoints/last.ckpt"
    done("fit", "--config", own_run / "config.yaml", "--ckpt_path", last, "--trainer.max_epochs", 3)
    after = rows(own_run / "metrics.csv")
    assert after[: len(before)] == before
    assert {row["epoch"] for row in after} == {"0", "1", "2"}
    assert (own_run / "config.yaml").read_bytes() == config
    assert torch.load(last, weights_only=True)["epoch"] == 2
    assert list(here.iterdir()) == []
    assert not list(own_run.glob("checkpoints/*-v1.ckpt"))


def test_best_score_survives_a_moved_run_but_not_a_new_one(own_run: Path, tmp_path: Path) -> None:
    states = torch.load(own_run / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    state = next(value for name, value in states.items() if "val/monitor" in name)
    assert state["best_model_score"] > 0
    moved = RunCheckpoint(str(own_run / "checkpoints"), "best", "val/monitor")
    moved.load_state_dict(state)
    assert moved.best_model_path == str(own_run / "checkpoints/best.ckpt")
    assert (moved.best_model_score, moved.kth_value) == (state["best_model_score"], state["kth_value"])
    assert moved.best_k_models == {moved.best_model_path: state["best_model_score"]}
    new = RunCheckpoint(str(tmp_path / "new/checkpoints"), "best", "val/monitor")
    new.load_state_dict(state)
    assert (new.best_model_score, new.best_model_path) == (None, "")


def test_checkpoint_outside_a_run_starts_a_folder_of_its_own(run: Path, config: Path, here: Path) -> None:
    shutil.copy(run / "checkpoints/last.ckpt", here / "given.ckpt")
    (here / "config.yaml").write_text("model: {init_args: {layer_decay: 0.5}}\n")  # of something else
    done("fit", "--config", config, "--ckpt_path", "given.ckpt", "--trainer.max_epochs", 3)
    assert sorted(path.name for path in here.iterdir()) == ["config.yaml", "given.ckpt", "runs"]


@pytest.mark.parametrize("head", ["gap", "ibca"])
def test_second_config_changes_the_head(head: str, config: Path, here: Path) -> None:
    (here / "head.yaml").write_text(f"model: {{init_args: {{head: {head}}}}}")
    done("fit", "--config", config, "--config", "head.yaml", "--run_dir", "a")
    chosen = options(here / "a")["model"]["init_args"]["head"]["class_path"]
    assert chosen.rpartition(".")[2] == f"{head.upper()}Head"
    done("test", "--config", "a/config.yaml", "--ckpt_path", "a/checkpoints/best.ckpt")


def test_every_override_of_the_contract(config: Path, tree: Path, here: Path) -> None:
    backbone = here / "weights.pth"
    import timm

    torch.save(timm.create_model("test_resnet").state_dict(), backbone)
    given = {
        "--model.backbone": "test_resnet", "--model.pretrained": "true", "--model.checkpoint_path": backbone.name,
        "--model.feature_stride": "[16, 32]", "--model.freeze_backbone": "true", "--data.augment": "none",
        "--data.image_size": "64", "--data.batch_size": "3", "--data.num_workers": "1", "--data.root": str(tree),
        "--data.test_csv": "null", "--trainer.max_epochs": "1", "--trainer.gradient_clip_val": "1.0",
        "--seed_everything": "7", "--run_dir": "a",
    }  # fmt: skip
    done("fit", "--config", config, *(f"{name}={value}" for name, value in given.items()))
    kept = options(here / "a")
    found = {"--seed_everything": kept["seed_everything"], "--run_dir": "a"}
    for section, values in (("model", kept["model"]["init_args"]), ("data", kept["data"]["init_args"])):
        found |= {f"--{section}.{name}": value for name, value in values.items()}
    found |= {f"--trainer.{name}": value for name, value in kept["trainer"].items()}
    assert {name: found[name] for name in given} == {name: yaml.safe_load(value) for name, value in given.items()}


# --- test, validate, predict -----------------------------------------------------------------------------------------


def test_figures_equal_those_recomputed_from_the_predictions(run: Path) -> None:
    table = rows(run / "test_predictions.csv")
    assert list(table[0]) == ["id", "A", "B", "C", "label:A", "label:B", "label:C"]
    scores = [[float(row[name]) for name in "ABC"] for row in table]
    labels = [[int(row[f"label:{name}"]) for name in "ABC"] for row in table]
    assert {value for row in labels for value in row} == {0, 1, -1}
    result = json.loads((run / "test_metrics.json").read_text())
    expected = plain_metrics(scores, labels, 3)
    assert {name: result["metrics"][name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert (result["samples"], result["defined_classes"]) == (len(table), 3)
    assert set(result) >= {"metrics", "per_class", "tuned", "intervals", "defined_classes", "samples"}
    assert all(value is None or isinstance(value, (int, float)) for value in result["metrics"].values())
    for at, name in enumerate("ABC"):
        column = [row[at] for row in labels]
        counts = {"positives": column.count(1), "negatives": column.count(0), "unknown": column.count(-1)}
        assert {key: result["per_class"][name][key] for key in counts} == counts


def test_predictions_are_the_test_set_in_order(run: Path, tree: Path) -> None:
    table, given = rows(run / "test_predictions.csv"), rows(tree / "test.csv")
    assert [row["id"] for row in table] == [row["image"] for row in given]
    digits = (run / "test_predictions.csv").read_text().splitlines()[1].split(",")[1]
    assert len(digits.lstrip("0.")) >= 7


def test_test_writes_beside_the_checkpoint_and_leaves_the_configuration(own_run: Path, tree: Path, here: Path) -> None:
    for name in ("test_metrics.json", "test_predictions.csv", "test_groups.csv"):
        (own_run / name).unlink()
    before = contents(own_run)
    external = own_run.parent / "external.csv"
    external.write_text("".join((tree / "test.csv").read_text().splitlines(keepends=True)[:6]))
    result = done(
        "test", "--config", own_run / "config.yaml", "--ckpt_path", own_run / "checkpoints/best.ckpt",
        "--data.test_csv", external,
    )  # fmt: skip
    after = contents(own_run)
    assert after.keys() - before.keys() >= {"test_metrics.json", "test_predictions.csv", "test_groups.csv"}
    renewed = ("attention", "checkpoints/model_card.md")
    assert {name: after[name] for name in before if not name.startswith(renewed)} == {
        name: value for name, value in before.items() if not name.startswith(renewed)
    }
    assert list(here.iterdir()) == []
    assert "mAP" in result.out
    assert str(own_run / "test_metrics.json") in result.out.replace("\n", "")
    assert json.loads((own_run / "test_metrics.json").read_text())["samples"] == 5


def test_the_closing_table_leads_with_map_and_shows_the_own_thresholds_beside_one_half(run: Path, here: Path) -> None:
    result = done(
        "test", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/best.ckpt", "--run_dir", "here"
    )
    figures = json.loads(Path("here/test_metrics.json").read_text())
    (line,) = (line for line in result.out.splitlines() if line.split()[:1] == ["CF1"])
    shown = [f"{figures[kind]['CF1']:.4f}" for kind in ("tuned", "metrics")]
    assert [cell for cell in line.split() if cell[0].isdigit()][:1] == shown[:1]
    assert line.split()[-1] == shown[1]
    low, high = figures["intervals"]["mAP"]
    assert re.search(
        rf"test: mAP {figures['metrics']['mAP']:.4f} \[{low:.3f}, {high:.3f}\], 0\.\d+ by chance, over 3 classes",
        result.out,
    )
    assert result.out.index("mAP") < result.out.index("CF1")
    few = [name for name, own in figures["thresholds"].items() if own["few"]]
    assert few, "or this test sees nothing"
    assert f"fewer than 10 positives of the validation set: {', '.join(few)}" in result.out.replace("\n", " ")


def test_run_dir_takes_the_results_elsewhere(run: Path, here: Path) -> None:
    before = contents(run)
    done("test", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/best.ckpt", "--run_dir", "other")
    assert contents(run) == before
    files = {name for name in contents(here / "other") if not name.startswith("attention/")}
    assert files == {"test_metrics.json", "test_predictions.csv", "test_groups.csv", "model_card.md"}
    near(*(json.loads((folder / "test_metrics.json").read_text()) for folder in (here / "other", run)))
    for name in ("test_predictions.csv", "test_groups.csv"):
        near(rows(here / "other" / name), rows(run / name))


def test_validate_gives_the_figures_of_training_and_leaves_its_predictions(own_run: Path, here: Path) -> None:
    before = contents(own_run)
    result = done("validate", "--config", own_run / "config.yaml", "--ckpt_path", own_run / "checkpoints/best.ckpt")
    best = max(float(row["val/mAP"]) for row in rows(own_run / "metrics.csv") if row["val/mAP"])
    assert f"{best:.4f}" in result.out
    after, left = contents(own_run), {"val_metrics.json", "val_predictions.csv", "val_groups.csv"}
    assert {name: data for name, data in after.items() if name not in left} == before
    assert after.keys() - before.keys() == left
    assert json.loads(after["val_metrics.json"])["metrics"]["mAP"] == pytest.approx(best, abs=1e-6)
    validated = {row["id"] for row in rows(own_run / "splits.csv") if row["split"] == "val"}
    assert {row["id"] for row in rows(own_run / "val_predictions.csv")} == validated
    assert list(here.iterdir()) == []


def test_predict_from_a_configuration_agrees_with_test(own_run: Path, here: Path) -> None:
    said = done("predict", "--config", own_run / "config.yaml", "--ckpt_path", own_run / "checkpoints/best.ckpt").err
    assert "note: thresholds that rest on fewer than 10 positives of the validation set: A (2)" in said
    columns = ["A", "B", "C", "decision:A", "decision:B", "decision:C", "threshold:A", "threshold:B", "threshold:C"]
    assert list(rows(own_run / "predictions.csv")[0]) == ["id", *columns]
    predicted = probabilities(own_run / "predictions.csv")
    tested = probabilities(own_run / "test_predictions.csv")
    assert list(predicted) == list(tested)
    assert [*predicted.values()] == [pytest.approx(value, abs=1e-4) for value in tested.values()]


@pytest.mark.parametrize("batch_size", [1, 16])
def test_predict_on_pictures_agrees_with_test(batch_size: int, run: Path, tree: Path, here: Path) -> None:
    done(
        "predict", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", tree / "images", "--output", "out/deep",
        "--batch_size", batch_size,
    )  # fmt: skip
    predicted, tested = probabilities(here / "out/deep/predictions.csv"), probabilities(run / "test_predictions.csv")
    assert len(predicted) == 30
    for picture, expected in tested.items():
        assert predicted[picture] == pytest.approx(expected, abs=1e-4)
    assert [path.name for path in here.iterdir()] == ["out"]
    assert set(contents(here)) == {"out/deep/predictions.csv", "out/deep/predict.json"}


def test_predict_on_one_picture_and_without_the_run(run: Path, tree: Path, here: Path) -> None:
    shutil.copy(run / "checkpoints/best.ckpt", here / "model.ckpt")
    picture, expected = next(iter(probabilities(run / "test_predictions.csv").items()))
    done("predict", f"--ckpt_path={here / 'model.ckpt'}", f"--images={tree / 'images' / picture}", "--output=.")
    assert probabilities(here / "predictions.csv") == {Path(picture).name: pytest.approx(expected, abs=1e-4)}


# --- wandb -----------------------------------------------------------------------------------------------------------


def test_wandb_runs_off_line_inside_the_run_folder(config: Path, here: Path) -> None:
    result = done("fit", "--config", config, "--wandb", "auto", "--run_dir", "a")
    assert [path.name for path in here.iterdir()] == ["a"]
    assert len([line for line in result.err.splitlines() if "wandb sync" in line]) == 1
    (offline,) = (here / "a/wandb").glob("offline-run-*")
    assert list(offline.glob("*.wandb"))
    assert len(list((offline / "files/media/table/val").iterdir())) == 1, "the classes' figures are one table"
    second = done("test", "--config", "a/config.yaml", "--ckpt_path", "a/checkpoints/best.ckpt")
    assert "wandb sync" in second.err
    assert len(list((here / "a/wandb").glob("offline-run-*"))) == 2, "the second command has a wandb run of its own"


@pytest.mark.usefixtures("fresh_wandb")
def test_wandb_that_is_not_set_up_is_wrong_input(config: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    result = ibca("fit", "--config", config, "--run_dir", "a", "--wandb", "online")
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "--wandb offline" in result.errors[0]
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    result = ibca("fit", "--config", config, "--run_dir", "a", "--wandb", "auto")
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "sometimes" in result.errors[0]
    assert not (here / "a").exists()


def test_wandb_off_leaves_no_folder(run: Path) -> None:
    assert not (run / "wandb").exists()


# --- the command itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["fitt"], ["fit", "--help"]])
def test_answers_at_once(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom ibca_lightning.cli import main\ncode = main(sys.argv[1:])\n"
        "heavy = {'torch', 'lightning', 'numpy', 'jsonargparse', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, cwd=REPOSITORY
    )
    assert result.returncode == (0 if arguments[-1:] in (["--help"], ["--version"]) else 2), result.stderr
    if arguments == ["--version"]:
        assert result.stdout == f"ibca {__version__}\n"
    if arguments == ["fitt"]:
        assert result.stderr.endswith("try ibca fit\n")


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_help_is_one_screen_and_leads_to_every_option(command: str) -> None:
    screen = done(command, "--help").out
    assert "--run_dir" in screen
    assert len(screen.splitlines()) <= 32
    assert max(map(len, screen.splitlines())) <= 80
    assert "--trainer.max_steps" in done(command, "--help", "trainer").out
    assert "--data.mask_dir" in done(command, "--help", "data").out


@pytest.mark.parametrize(
    ("about", "option"), [((), "--model.ema_decay"), (("csra",), "--head.width"), (("FocalLoss",), "--loss.gamma")]
)
def test_help_of_a_model_a_head_and_a_loss(about: tuple[str, ...], option: str) -> None:
    text = done("fit", "--help", "model", *about).out
    assert option in text
    assert "--trainer." not in text


def test_help_of_predicting_pictures_is_the_first_that_is_shown() -> None:
    for options in (("--help",), ("--images", "--help")):
        text = done("predict", *options).out
        assert all(option in text for option in ("--images", "--output", "--tta", "--config"))


def test_an_experiment_needs_no_option_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("ibca_lightning.run.lightning_cli.run_lightning", lambda arguments: seen.append(arguments) or 0)
    done("fit", "endo", "--data.root", "x")
    done("fit", "--config", "endo", "--data.root", "x")
    assert seen[0] == seen[1] == ["fit", "--config", "endo", "--data.root", "x"]


def test_debug_shows_the_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ibca_lightning.system.errors import InputError

    with pytest.raises(InputError):
        ibca("fit", "--config", "no.yaml", "--debug")
    monkeypatch.setenv("IBCA_DEBUG", "1")
    with pytest.raises(InputError):
        ibca("fit", "--config", "no.yaml")
    monkeypatch.setenv("IBCA_DEBUG", "0")
    assert ibca("fit", "--config", "no.yaml").code == 2


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_by_a_signal(sent: signal.Signals, code: int, config: Path, here: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ibca_lightning.cli", "fit", "--config", str(config), "--run_dir", "a",
         "--trainer.max_epochs", "100000"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        # A shell starts its background jobs with SIGINT ignored, and the suite may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        for line in process.stderr or ():
            if line.startswith("epoch 2/"):
                break
        process.send_signal(sent)
        _, rest = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == code, rest
    assert len([line for line in rest.splitlines() if line.startswith("error: stopped by ")]) == 1
    assert "Traceback" not in rest
    assert (here / "a/checkpoints/last.ckpt").is_file()
