"""`ibca tune`: draws by hand, resuming with a stand-in for `ibca fit`, and one real search."""

import csv
import json
import math
import os
import random
import subprocess
import sys
import time
import uuid
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibca_lightning import __version__
from ibca_lightning.search import jobs
from ibca_lightning.search.job import held
from ibca_lightning.search.recipe import best_validation, config_value
from ibca_lightning.search.space import draw, read_space
from ibca_lightning.system.errors import InputError
from tests import light_worker
from tests.command_line import contents, done, ibca, rows, written

SPACE = {
    "model.optimizer.lr": {"log_uniform": [1e-3, 1e-1]},
    "model.head.latent": {"int_uniform": [4, 7]},
    "model.head.bottleneck": {"uniform": [0.0, 2.0]},
    "model.loss": {"choice": ["a", None, [1, 2]]},
}


def test_draws_follow_from_seed_trial_and_key() -> None:
    for seed, trial in ((0, 1), (3, 17)):
        drawn = draw(SPACE, seed, trial)
        u = {key: random.Random(f"{seed}/{trial}/{key}").random() for key in SPACE}
        assert drawn["model.optimizer.lr"] == pytest.approx(10 ** (-3 + 2 * u["model.optimizer.lr"]), rel=1e-5)
        assert drawn["model.head.latent"] == 4 + math.floor(4 * u["model.head.latent"])
        assert drawn["model.head.bottleneck"] == pytest.approx(2 * u["model.head.bottleneck"], rel=1e-5)
        assert drawn["model.loss"] == ["a", None, [1, 2]][math.floor(3 * u["model.loss"])]
        # Neither the other keys nor their order matter.
        for key, value in drawn.items():
            assert draw({key: SPACE[key]}, seed, trial) == {key: value}
    assert draw(SPACE, 0, 0) == {}, "the defaults"
    assert draw(SPACE, 0, 1)["model.optimizer.lr"] == 0.0118272, "the same on every machine, or nobody can add trials"


def test_draws_cover_the_space() -> None:
    drawn = [draw(SPACE, 0, trial) for trial in range(1, 201)]
    assert {d["model.head.latent"] for d in drawn} == {4, 5, 6, 7}
    assert {str(d["model.loss"]) for d in drawn} == {"a", "None", "[1, 2]"}
    below = sum(d["model.optimizer.lr"] < 1e-2 for d in drawn) / 200
    assert 0.4 < below < 0.6, "the middle of a log-uniform range is its geometric mean"
    assert len({d["model.optimizer.lr"] for d in drawn}) == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {log_uniform: [0, 1]}", "rising ends that fit log_uniform for a"),
        ("a: {uniform: [2, 1]}", "rising ends"),
        ("a: {int_uniform: [1, 2.5]}", "rising ends"),
        ("a: {uniform: [1]}", "two numbers for a"),
        ("a: {choice: 3}", "a list behind choice of a"),
        ("a: {normal: [0, 1]}", "one of choice, log_uniform, uniform, int_uniform for a"),
        ("a: 3", "one of choice"),
        ("- a", "a search space at"),
        ("", "a search space at"),
        (None, "a search space at"),
    ],
)
def test_wrong_spaces_are_named(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_space(str(tmp_path / "space.yaml"))


def test_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("a: {log_uniform: [1e-3, 1e-1]}")  # strings to PyYAML
    assert read_space(str(tmp_path / "space.yaml")) == {"a": {"log_uniform": [1e-3, 1e-1]}}


# --- resuming, with a stand-in for `ibca fit` -------------------------------------------------------------------------


class Fit:
    """Instead of `ibca fit`: writes a run folder whose score is 1 - |lr - 0.02|, the best of two epochs."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.broken: dict[str, str] = {}
        self.killed = ""  # the output folder of a search that does not live to see a run's end

    def __call__(self, arguments: list[str]) -> int:
        given = dict(a.removeprefix("--").split("=", 1) for a in arguments if "=" in a)
        run, config = Path(given["run_dir"]), {"model": {"init_args": {"optimizer": {"init_args": {"lr": 0.003}}}}}
        self.ran.append("/".join(run.parts[-2:] if "data.fold" in given else run.parts[-1:]))
        if run.parent.name == self.killed:
            raise KeyboardInterrupt
        files = [arguments[i + 1] for i, a in enumerate(arguments) if a == "--config"]
        values = yaml.safe_load(Path(files[-1]).read_text())
        lr = values["model"]["optimizer"]["lr"] if "values" in files[-1] else 0.003
        config["model"]["init_args"]["optimizer"]["init_args"]["lr"] = lr
        written(run / "config.yaml", config)
        if run.name in self.broken:
            os.write(2, f"{self.broken[run.name]}\n".encode())  # where a worker's log is
            return 1
        score = 1 - abs(lr - 0.02) - 0.1 * int(given.get("data.fold", 0))
        (run / "metrics.csv").write_text(f"val/mAP,train/loss\n,0.7\n{score - 0.1},\n{score},\n{score - 0.2},\n")
        return 0


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> Fit:
    fit = Fit()

    def ended(left: Any, places: Any, stop: Any, begun: Any) -> Any:
        for job, steps in left:
            with held(job, steps) as now:
                code, error = jobs._run(job.folder, [(s, job.steps[s]) for s in now], fit)
            excuse = "diverged" if "finite" in error else ""
            yield jobs.Ended(job, code, error, 0.0, excuse)

    monkeypatch.setattr(jobs, "_ended", ended)
    return fit


@pytest.fixture
def search(tmp_path: Path) -> Namespace:
    config = written(tmp_path / "experiment.yaml", {"model": {"class_path": "MultiLabelModule"}})
    space = written(tmp_path / "space.yaml", {"model.optimizer.lr": {"log_uniform": [1e-3, 1e-1]}})
    options = ("--config", config, "--space", space, "--output", tmp_path / "out")
    return Namespace(config=config, space=space, out=tmp_path / "out", options=options)


def test_a_trial_that_is_gone_is_run_again_and_no_other(fit: Fit, search: Namespace) -> None:
    done("tune", *search.options, "--trials", 3)
    assert fit.ran == ["trial-000", "trial-001", "trial-002"]
    before = contents(search.out)
    (search.out / "trial-001" / "job.json").unlink()
    result = ibca("tune", *search.options, "--trials", 3)
    assert result.code == 2, "a folder of somebody else's is not removed"
    for path in (search.out / "trial-001").iterdir():
        path.unlink()
    done("tune", *search.options, "--trials", 3)
    assert fit.ran[3:] == ["trial-001"]
    dated = ("job.json", "trials.csv", "trials.journal")  # they hold times, and who was there
    assert {k: v for k, v in contents(search.out).items() if not k.endswith(dated)} == {
        k: v for k, v in before.items() if not k.endswith(dated)
    }


def test_a_half_done_trial_starts_again_in_an_empty_folder(fit: Fit, search: Namespace) -> None:
    done("tune", *search.options, "--trials", 2)
    record = search.out / "trial-001" / "job.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"seconds": {}}))
    (search.out / "trial-001" / "junk").touch()
    done("tune", *search.options, "--trials", 2)
    assert fit.ran == ["trial-000", "trial-001", "trial-001"]
    assert not (search.out / "trial-001" / "junk").exists()


def test_more_trials_go_on_where_fewer_stopped(fit: Fit, search: Namespace) -> None:
    done("tune", *search.options, "--trials", 2)
    result = done("tune", *search.options, "--trials", 5)
    assert fit.ran == [f"trial-00{i}" for i in range(5)]
    assert "2 of 5 were done before" in result.err
    assert "[5/5] trial 4: val mAP 0." in result.err
    table = rows(search.out / "trials.csv")
    rates = [0.003, *(draw(read_space(str(search.space)), 0, i)["model.optimizer.lr"] for i in range(1, 5))]
    assert [float(row["model.optimizer.lr"]) for row in table] == rates, "the first as configured"
    assert [float(row["score"]) for row in table] == pytest.approx([1 - abs(rate - 0.02) for rate in rates])
    chosen = yaml.safe_load((search.out / "best.yaml").read_text())
    assert chosen == {"model": {"optimizer": {"lr": min(rates, key=lambda rate: abs(rate - 0.02))}}}


def test_the_score_of_folds_is_their_mean(fit: Fit, search: Namespace) -> None:
    done("tune", *search.options, "--trials", 1, "--folds", 3)
    assert fit.ran == ["trial-000/fold-0", "trial-000/fold-1", "trial-000/fold-2"]
    assert float(rows(search.out / "trials.csv")[0]["score"]) == pytest.approx(1 - 0.017 - 0.1)


def test_a_diverged_trial_has_no_score_and_a_failed_one_is_told(fit: Fit, search: Namespace) -> None:
    fit.broken = {"trial-001": "error: a finite training loss, got nan", "trial-002": "error: no memory"}
    result = ibca("tune", *search.options, "--trials", 3)
    assert result.code == 1
    assert "trial 1: diverged" in result.err
    assert f"trial 2: failed with exit code 1, {search.out / 'trial-002'}: error: no memory" in result.err
    assert [bool(row["score"]) for row in rows(search.out / "trials.csv")] == [True, False, False]
    fit.broken = {}
    done("tune", *search.options, "--trials", 3)
    assert fit.ran[3:] == ["trial-002"], "what diverged would diverge again"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: written(s.space, {"model.optimizer.lr": {"log_uniform": [1e-3, 1.0]}}), "of the same space"),
        (lambda s: written(s.config, {"model": {"class_path": "Other"}}), "of the same configs"),
        (lambda s: ("--trainer.max_epochs", "3"), "of the same overrides"),
        (lambda s: ("--seed", "1"), "of the same seed"),
        (lambda s: ("--folds", "2"), "of the same folds"),
        (lambda s: ("--model.optimizer.lr=1",), "no --model.optimizer.lr, which differs from run to run"),
        (lambda s: ("--run_dir", "x"), "no --run_dir"),
        (lambda s: ("--trials", "0"), "--trials of at least 1"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(fit: Fit, search: Namespace, change: Any, said: str) -> None:
    done("tune", *search.options, "--trials", 1)
    more = change(search)
    before = contents(search.out)
    result = ibca("tune", *search.options, "--trials", 2, *(more if isinstance(more, tuple) else ()))
    assert result.code == 2
    assert said in result.errors[0]
    assert contents(search.out) == before


# --- Optuna's part, with a stand-in for a worker's fit --------------------------------------------------------------


def test_random_draws_through_optuna_are_those_of_today(fit: Fit, search: Namespace) -> None:
    written(search.space, SPACE)
    done("tune", *search.options, "--trials", 4)
    table = rows(search.out / "trials.csv")
    assert [row["model.optimizer.lr"] for row in table[1:]] == ["0.0118272", "0.00348361", "0.00210932"]
    assert [yaml.safe_load((search.out / f"values/trial-00{n}.yaml").read_text()) for n in (1, 2, 3)] == [
        _tree(draw(SPACE, 0, n)) for n in (1, 2, 3)
    ]


def _tree(values: dict[str, Any]) -> dict[str, Any]:
    head = {key: values[f"model.head.{key}"] for key in ("latent", "bottleneck")}
    return {"model": {"optimizer": {"lr": values["model.optimizer.lr"]}, "head": head, "loss": values["model.loss"]}}


def test_a_grid_has_every_combination_once_behind_the_defaults(fit: Fit, search: Namespace) -> None:
    written(search.space, {"model.optimizer.lr": {"choice": [0.01, 0.02]}, "model.head.latent": {"choice": [4, 8]}})
    table = rows(done("tune", *search.options, "--trials", 5, "--sampler", "grid") and search.out / "trials.csv")
    tried = [(row["model.optimizer.lr"], row["model.head.latent"]) for row in table[1:]]
    assert tried == [("0.01", "4"), ("0.01", "8"), ("0.02", "4"), ("0.02", "8")]
    said = ibca("tune", *search.options[:-1], search.out / "more", "--trials", 6, "--sampler", "grid")
    assert "error: at most 5 trials" in said.err
    written(search.space, {"model.optimizer.lr": {"log_uniform": [1e-3, 1e-1]}})
    said = ibca("tune", *search.options[:-1], search.out / "more", "--trials", 2, "--sampler", "grid")
    assert "error: choice alone" in said.err
    assert not (search.out / "more").exists()


def test_tpe_begins_with_the_random_draws_and_then_learns(fit: Fit, search: Namespace) -> None:
    done("tune", *search.options, "--trials", 30, "--sampler", "tpe")
    rates = [float(row["model.optimizer.lr"]) for row in rows(search.out / "trials.csv")]
    drawn = [draw(read_space(str(search.space)), 0, n) for n in range(1, 30)]
    assert rates[1:10] == [values["model.optimizer.lr"] for values in drawn[:9]]
    assert rates[10:] != [values["model.optimizer.lr"] for values in drawn[9:]]

    def miss(tried: list[float]) -> float:
        return sum(abs(math.log10(rate / 0.02)) for rate in tried) / len(tried)

    assert miss(rates[10:]) < miss(rates[1:10]), "it looks where scores were good: 0.02 is best"
    assert ibca("tune", *search.options, "--trials", 30).code == 2, "one budget, one sampler"


def test_a_trial_behind_the_median_is_stopped_and_is_neither_failure_nor_best(
    search: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_work", light_worker.fit)
    command = ("tune", *search.options, "--trials", 7, "--processes", 1, "--pruner", "median")
    result = done(*command)
    assert "[6/7] trial 5: stopped early" in result.err
    assert "[7/7] trial 6: stopped early" in result.err
    assert [bool(row["score"]) for row in rows(search.out / "trials.csv")] == [True] * 5 + [False] * 2
    assert "best of 7 trials: trial-000" in result.out
    assert "train with it: ibca fit " in result.out
    assert f"--config {search.out / 'best.yaml'}" in result.out.splitlines()[-1], "behind the head"
    assert "# Train with it: ibca fit " in (search.out / "best.yaml").read_text()
    assert "7 of 7 were done before" in done(*command).err, "what was stopped is not tried again"
    refused = ibca("tune", *search.options, "--trials", 7, "--pruner", "median", "--folds", 2)
    assert "--pruner none with --folds" in refused.errors[0]


@pytest.fixture(params=["file", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return str(tmp_path / "shared/journal")
    address = os.environ.get("IBCA_POSTGRESQL")  # such as postgresql://USER@HOST/DATABASE
    if address is None:
        pytest.skip("IBCA_POSTGRESQL names no database")
    return f"{address}#{uuid.uuid4().hex}"


def test_a_trial_of_a_process_that_is_gone_is_taken_over_once(
    fit: Fit, search: Namespace, tmp_path: Path, storage: str
) -> None:
    gone, other = ((*search.options[:-1], tmp_path / name) for name in ("gone", "other"))
    more = ("--trials", 3, "--storage", storage)
    fit.killed = "gone"
    assert ibca("tune", *gone, *more).code == 130
    fit.killed = ""
    done("tune", *other, *more)
    assert fit.ran == ["trial-000", "trial-001", "trial-002", "trial-000"]
    done("tune", *gone, *more)
    assert len(fit.ran) == 4, "what it had begun is no longer its own"
    tables = [[row["score"] for row in rows(tmp_path / name / "trials.csv")] for name in ("gone", "other")]
    assert tables[0] == tables[1]
    assert "" not in tables[0]
    fit.killed = "other"
    assert ibca("tune", *other, *more[2:], "--trials", 4).code == 130
    fit.killed = ""
    done("tune", *other, *more[2:], "--trials", 4)
    assert fit.ran[4:] == ["trial-003"] * 2, "its own, which it goes on with"
    assert not list(tmp_path.rglob("*.users"))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://me:secret@host/trials", "PGPASSWORD"),
        ("postgresql://me@host/trials?password=secret", "PGPASSWORD"),
        ("postgresql://me@host", "USER@HOST/DATABASE"),
        ("mysql://me@host/trials", "USER@HOST/DATABASE"),
        ("://", "an address that is none"),
        ("postgresql://me@host/trials#a", "ibca-lightning[postgresql]"),
    ],
)
def test_a_database_is_named_without_a_password(
    search: Namespace, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    result = ibca("tune", *search.options, "--trials", 1, "--storage", address)
    assert (result.code, len(result.errors)) == (2, 1)
    assert said in result.errors[0]
    assert "secret" not in result.out + result.err


def test_two_machines_share_a_budget_by_the_storage_and_take_over_what_a_killed_one_had(
    search: Namespace, tmp_path: Path, storage: str
) -> None:
    code = (
        "import sys\nfrom ibca_lightning.cli import main\nfrom ibca_lightning.search import jobs\n"
        "from tests import light_worker\njobs._work = light_worker.fit\nsys.exit(main(sys.argv[1:]))\n"
    )
    options = [str(option) for option in search.options[:-1]]
    command = [sys.executable, "-c", code, "tune", *options]
    more = ["--trials", "8", "--processes", "1", "--storage", storage]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "STEADY": "1"}

    def start(name: str) -> "subprocess.Popen[str]":
        given = [*command, str(tmp_path / name), *more]
        return subprocess.Popen(given, env=environment, stderr=subprocess.PIPE, text=True)

    third = start("c")
    processes = [start("a"), start("b")]
    while third.poll() is None and not list((tmp_path / "c").glob("trial-*/metrics.csv")):
        time.sleep(0.01)
    third.kill()  # with one begun, if the others have left it any
    third.communicate()
    told = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    for name in ("a", "b"):  # once more, whoever was first: both have the same table
        again = subprocess.run([*command, str(tmp_path / name), *more], env=environment, capture_output=True, text=True)
        assert again.returncode == 0, again.stderr
        table = rows(tmp_path / name / "trials.csv")
        assert [float(row["score"]) for row in table] == pytest.approx([0.9 - n / 1000 for n in range(8)])
        assert "best of 8 trials: trial-000" in again.stdout
    ran = {name: {path.name for path in (tmp_path / name).glob("trial-*")} for name in "abc"}
    assert ran["a"] | ran["b"] | ran["c"] == {f"trial-00{n}" for n in range(8)}
    assert not ran["a"] & ran["b"], "each once"
    ended = {name for name in ran["c"] if json.loads((tmp_path / "c" / name / "job.json").read_text())["seconds"]}
    assert len(ended & (ran["a"] | ran["b"])) <= 1, "but what was killed between its end and the word of it"
    other = [*command, str(tmp_path / "d"), *more, "--seed", "1"]
    refused = subprocess.run(other, env=environment, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "with trials of the same seed" in refused.stderr


def test_trials_of_another_version_are_refused(fit: Fit, search: Namespace) -> None:
    done("tune", *search.options, "--trials", 1)
    journal = search.out / "trials.journal"
    journal.write_text(journal.read_text().replace(f'"version":"{__version__}"', '"version":"0.0.1"'))
    result = ibca("tune", *search.options, "--trials", 1)
    assert (result.code, "of the same version, got others (by ibca 0.0.1)" in result.errors[0]) == (2, True)


# --- and for all that, a real one -------------------------------------------------------------------------------------


def small(folder: Path) -> Path:
    """An experiment of seconds, without files."""
    sizes = {"train_size": 16, "val_size": 16, "test_size": 16}
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 3e-3, "weight_decay": 0.02}}
    model = {"backbone": "test_resnet", "pretrained": False, "head": {"class_path": "GAPHead"}, "optimizer": optimizer}
    data = {"image_size": 32, "batch_size": 8, "num_workers": 0, "augment": "none", **sizes}
    return written(
        folder / "small.yaml",
        {
            "model": {"class_path": "MultiLabelModule", "init_args": model},
            "data": {"class_path": "SCMDataModule", "init_args": data},
            "trainer": {"max_epochs": 2, "accelerator": "cpu"},
        },
    )


@pytest.mark.slow
def test_a_search_with_the_real_fit(here: Path) -> None:
    written(here / "space.yaml", {"model.optimizer.lr": {"log_uniform": [1e-3, 1e-1]}})
    result = done("tune", "--config", small(here), "--space", "space.yaml", "--trials", 2, "--output", "out",
                  "--processes", 1, "--data.batch_size", 4)  # fmt: skip
    assert "validation mAP" in result.out
    table = rows(here / "out/trials.csv")
    assert [row["trial"] for row in table] == ["0", "1"]
    for row, run in zip(table, (here / "out/trial-000", here / "out/trial-001"), strict=True):
        with (run / "metrics.csv").open(newline="") as file:
            seen = [float(line["val/mAP"]) for line in csv.DictReader(file) if line["val/mAP"]]
        assert len(seen) == 2
        assert float(row["score"]) == max(seen) == best_validation(run)["mAP"]
        assert float(row["model.optimizer.lr"]) == config_value(run, "model.optimizer.lr")
        assert config_value(run, "model.optimizer.weight_decay") == 0.02, "what is not searched stays"
        assert config_value(run, "data.batch_size") == 4
        assert not (run / "checkpoints").exists()
        assert not (run / "wandb").exists()
        assert not list(run.glob("test_*")), "the test set is not touched"
        assert "ibca fit" in (run / "log.txt").read_text()
    # The chosen values are a YAML that `fit` merges.
    done("fit", "--config", "small.yaml", "--config", "out/best.yaml", "--run_dir", "again", "--wandb", "disabled",
         "--data.batch_size", 4)  # fmt: skip
    best = max(table, key=lambda row: float(row["score"]))
    # Of the ranks of 16 pictures: whatever is left of an earlier trial in the worker moves it by far more.
    alone = best_validation(here / "again")["mAP"]
    assert alone == pytest.approx(float(best["score"]), abs=1e-6), "alone as in a worker"
