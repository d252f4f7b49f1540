"""`ibca sweep` and its worker processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from ibca_lightning import __version__
from ibca_lightning.search import jobs
from ibca_lightning.search.job import Job, held, pending, seconds_of
from ibca_lightning.search.recipe import best_validation, config_value, write_fragment
from ibca_lightning.system.errors import InputError
from tests import light_worker
from tests.command_line import contents, done, ibca, rows, written
from tests.search.test_tune import small


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose fit and test are done."""
    job = Job(tmp_path / "run", "job", {"fit": ["fit"], "test": ["test"]}, {"a": {"b": 1}, "c": [2]})
    job.folder.mkdir()
    record = {"version": __version__, "settings": job.settings, "seconds": {"fit": 2.0, "test": 1.0}}
    (job.folder / "job.json").write_text(json.dumps(record))
    return job


def test_what_is_done_is_known(job: Job, tmp_path: Path) -> None:
    record = json.loads((job.folder / "job.json").read_text())
    assert pending(job) == []
    assert pending(Job(tmp_path / "new", "job", job.steps, job.settings)) == ["fit", "test"]
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "log.txt").touch()  # stopped before it was said what runs there
    assert pending(Job(tmp_path / "begun", "job", job.steps, job.settings)) == ["fit", "test"]
    (job.folder / "job.json").write_text(json.dumps(record | {"seconds": {"fit": 2.0}}))
    assert pending(job) == ["test"], "fit is not repeated for it"
    assert seconds_of(job.folder) == {"fit": 2.0}
    (job.folder / "job.json").write_text(json.dumps(record | {"seconds": {}}))
    assert pending(job) == ["fit", "test"]
    (job.folder / "job.json").write_text(json.dumps(record | {"seconds": {}, "diverged": "error"}))
    assert pending(job) == ["fit", "test"]
    assert pending(Job(job.folder, "job", job.steps, job.settings, may_diverge=True)) == []


def test_other_settings_are_refused_by_name_and_run_when_asked(job: Job) -> None:
    other = Job(job.folder, "job", job.steps, {"a": {"b": 2}, "c": [2]})
    with pytest.raises(InputError, match=r"others \(a.b: 1 then, 2 now\)"):
        pending(other)
    assert pending(other, again=True) == ["fit", "test"]


@pytest.mark.parametrize("version", ["0.0.1", None])
def test_a_run_of_another_version_is_refused_and_made_anew_when_asked(job: Job, version: str | None) -> None:
    record = json.loads((job.folder / "job.json").read_text())
    (job.folder / "job.json").write_text(json.dumps({k: v for k, v in record.items() if k != "version"} | (
        {"version": version} if version else {})))  # fmt: skip
    with pytest.raises(InputError, match=f"made by ibca {__version__}, got {version or 'an earlier version'}; .*again"):
        pending(job)
    assert pending(job, again=True) == ["fit", "test"]
    with held(job, ["fit", "test"]) as left:
        assert left == ["fit", "test"], "it is not taken for done behind the asking either"


def test_each_step_has_its_own_command_line_and_leaves_nothing(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ibca", "sweep", "--heads", "gap"])
    seen = []

    def run(arguments: list[str]) -> int:
        seen.append((list(sys.argv), os.environ.get("LOCAL_RANK")))
        os.environ["LOCAL_RANK"] = "0"  # as Lightning does on several devices
        return 0

    assert jobs._run(job.folder, [("fit", ["fit", "--a"]), ("test", ["test"])], run) == (0, "")
    assert seen == [(["ibca", "fit", "--a"], None), (["ibca", "test"], None)]
    assert sys.argv == ["ibca", "sweep", "--heads", "gap"]


def test_a_folder_of_somebody_else_is_refused(job: Job) -> None:
    (job.folder / "job.json").unlink()
    (job.folder / "thesis.tex").touch()
    with pytest.raises(InputError, match="another folder or file"):
        pending(job, again=True)


def test_a_worker_that_dies_is_replaced_and_its_job_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "_work", light_worker.work)
    orders = ["work", "die", "work", "refuse", "work"]
    made = [Job(tmp_path / f"{i}", f"job {i}", {"fit": [order]}, {}) for i, order in enumerate(orders)]
    failed = jobs.run_jobs(made, [None], lambda job: f"{job.label} is done")
    said = capfd.readouterr().err.splitlines()
    lines = [line for line in said if ": started, " not in line]
    assert [line for line in said if line not in lines] == [f"job {at}: started, {at + 1} of 5" for at in range(5)]
    assert said.index("job 2: started, 3 of 5") < said.index(lines[2])
    assert lines[0] == "[1/5] job 0: job 0 is done, 1 s"
    assert lines[1].startswith(f"[2/5] job 1: failed with exit code 137, {tmp_path / '1'}: its process died (SIGKILL")
    assert lines[2] == "[3/5] job 2: job 2 is done, 1 s", "by another worker"
    assert lines[3].startswith(f"[4/5] job 3: failed with exit code 3, {tmp_path / '3'}: by ")
    assert lines[4] == "[5/5] job 4: job 4 is done, 1 s"
    assert [(ended.job.label, ended.code) for ended in failed] == [("job 1", 137), ("job 3", 3)]
    two = jobs.run_jobs([made[3], Job(tmp_path / "5", "job 5", {"fit": ["refuse"]}, {})], [None] * 2, str)
    assert len({ended.error for ended in two}) == 2, "two processes at a time"


def test_warnings_in_the_logs_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "_work", light_worker.work)
    made = [Job(tmp_path / f"{i}", f"job {i}", {"fit": [do]}, {}) for i, do in enumerate(("warn", "work", "warn"))]
    assert jobs.run_jobs(made, [None], lambda job: "done") == []
    assert capfd.readouterr().err.splitlines()[6:] == ["warning: a leak (2 of 3 runs)"]


def test_what_another_process_runs_or_has_done_since_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "_work", light_worker.work)
    first, held, meanwhile, free = (Job(tmp_path / f"{i}", f"job {i}", {"fit": ["work"]}, {}) for i in range(4))
    half = Job(tmp_path / "half", "half", {"fit": ["refuse"], "test": ["work"]}, {})  # its fit would fail here

    def another(job: Job, seconds: dict[str, float]) -> None:
        job.folder.mkdir()
        (job.folder / "job.json").write_text(json.dumps({"version": __version__, "settings": {}, "seconds": seconds}))
        (job.folder / "weights").touch()

    def said(job: Job) -> str:
        if job is first:  # while `free` runs, another process does the one behind it, and half of the next
            another(meanwhile, {"fit": 1.0})
            another(half, {"fit": 1.0})
        return "done"

    another(held, {})
    hold = "import fcntl, sys; log = open(sys.argv[1], 'a'); fcntl.flock(log, fcntl.LOCK_EX); print('held'); input()"
    command = [sys.executable, "-u", "-c", hold, held.folder / "log.txt"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        failed = jobs.run_jobs([first, free, meanwhile, half, held], [None], said)
        process.communicate("\n")
    assert failed == [], "what another runs has not failed"
    assert "job 1: another sweep or search runs it now" in capfd.readouterr().err
    assert (held.folder / "weights").exists()
    assert (meanwhile.folder / "weights").exists()
    assert (half.folder / "weights").exists()
    assert jobs.run_jobs([held], [None], said) == []
    assert not (held.folder / "weights").exists(), "its process has ended: what it left is begun anew"


@pytest.mark.slow
def test_jobs_share_a_worker_and_nothing_else(here: Path) -> None:
    config = small(here)
    variants = {
        "wrong": {"model.optimizer.lr": -1.0},
        "also": {"model.optimizer.weight_decay": 0.1},
    }
    written(here / "variants.yaml", variants)
    (here / "tuned/gap").mkdir(parents=True)
    written(here / "tuned/gap/best.yaml", {"model": {"optimizer": {"lr": 0.02}}})
    command = ("sweep", "--config", config, "--heads", "gap", "--variants", "variants.yaml", "--seeds", 3, "--output",
               "out", "--processes", 1, "--tuned", "tuned", "--variants_of", "gap",
               "--trainer.max_epochs", 1)  # fmt: skip
    result = ibca(*command)
    assert result.code == 1
    said = result.err.splitlines()
    assert said[0] == "gap seed 3: started, 1 of 3"
    lines = [line for line in said if ": started, " not in line]
    assert "[1/3] gap seed 3: val mAP 0." in lines[0]
    assert "[2/3] wrong seed 3: failed with exit code 1, out/wrong-3: error: ValueError: Invalid learning" in lines[1]
    assert "[3/3] also seed 3: val mAP 0." in lines[2]
    assert "1 of 3 failed" in lines[3]
    assert [row["name"] for row in rows(here / "out/sweep.csv")] == ["gap", "also"]
    assert re.search(r"\nalso +1 +0\.", result.out)

    for name in ("gap", "also"):
        run = here / "out" / f"{name}-3"
        assert config_value(run, "seed_everything") == 3
        assert config_value(run, "model.optimizer.lr") == 0.02
        assert (run / "test_metrics.reversed.json").is_file()
        assert not (run / "wandb").exists()
    assert config_value(here / "out/also-3", "model.optimizer.weight_decay") == 0.1
    # The second job of a worker, alone in a process that has run other things: to the bit, as nothing of the first job
    # is left and both have one thread.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    done("fit", "--config", run / "config.yaml", "--run_dir", "alone")
    torch.set_num_threads(threads)
    assert best_validation(here / "alone") == best_validation(run)
    ours, alone = (
        torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
        for folder in (run, here / "alone")
    )
    assert all(torch.equal(ours[key], alone[key]) for key in ours)

    written(here / "variants.yaml", {"also": variants["also"]})
    before = contents(here / "out")
    again = done(*command)
    assert "2 of 2 were done before" in again.err
    assert contents(here / "out") | {"sweep.csv": b""} == before | {"sweep.csv": b""}
    written(here / "variants.yaml", {"also": {"model.optimizer.weight_decay": 0.2}})
    refused = ibca(*command)
    assert refused.code == 2
    assert "weight_decay: 0.1 then, 0.2 now" in refused.errors[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--heads", "csrra"), "got csrra; did you mean csra?"),
        (("--heads", "gap", "--model.head", "csra"), "got --model.head; give --heads HEAD"),
        (("--variants", "variants.yaml", "--model.head=csra"), "got --model.head; give --variants_of HEAD"),
        (("--heads", "gap", "gapp"), "a class for model.head (Head), got gapp; did you mean gap?"),
        (("--heads", "gap", "my_hed.MaxHead"), "got my_hed.MaxHead (No module named 'my_hed')"),
        (("--heads", "gap", "--trainer.max_epoch", "3"), "did you mean --trainer.max_epochs?"),
        (("--variants", "odd.yaml", "--variants_of", "gap"), "got --model.optimiser.lr; did you mean"),
        (("--heads", "wide.yaml"), "a YAML file that sets model.head, got wide.yaml; write model: {head: ...} in it"),
        (("--heads", "gap", "--tuned", "nowhere"), "what ibca tune chose for gap"),
        (("--heads", "gap", "--seed_everything=1"), "got --seed_everything; give --seeds"),
        (("--heads", "gap", "--run_dir", "x"), "got --run_dir; give --output"),
        (("--heads", "gap", "--folds", "2", "--data.fold", "1"), "no --data.fold"),
        (("--heads", "gap", "--folds", "1"), "--folds of at least 2"),
        (("--heads", "gap", "--processes", "0"), "--processes of at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(here: Path, more: tuple[str, ...], said: str) -> None:
    written(here / "wide.yaml", {"class_path": "CSRAHead", "init_args": {"width": 256}})  # what --model.head takes
    written(here / "odd.yaml", {"slow": {"model.optimiser.lr": 1e-5}})
    result = ibca("sweep", "--config", small(here), "--output", "out", *more)
    assert result.code == 2
    assert said in result.errors[0]
    assert not (here / "out").exists()


def test_options_of_a_head_of_ones_own_are_left_to_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Job] = []
    monkeypatch.setattr("ibca_lightning.search.sweep.run_jobs", lambda jobs, *_, **__: seen.extend(jobs) or [])
    (here / "my_wide.py").touch()
    written(here / "variants.yaml", {"mine": {"model.head": "my_wide.Head", "model.head.wideness": 3}})
    given = ("sweep", "--config", small(here), "--seeds", 0, "--output", "out", "--no_test")
    done(*given, "--heads", "my_wide.Head", "--model.head.wideness", 3)
    done(*given, "--variants", "variants.yaml")
    assert len(seen) == 2


def test_folds_and_variants_make_the_command_lines(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Job] = []
    monkeypatch.setattr("ibca_lightning.search.sweep.run_jobs", lambda jobs, *_, **__: seen.extend(jobs) or [])
    written(here / "variants.yaml", {"plain": {}, "slow": {"model.optimizer.lr": 1e-5}})
    done("sweep", "--config", small(here), "--variants", "variants.yaml", "--variants_of", "gap", "--seeds", 0, 1,
         "--folds", 2, "--output", "out", "--data.batch_size", 4)  # fmt: skip
    assert [str(job.folder) for job in seen] == [
        f"out/{name}-{seed}/fold-{fold}" for seed in (0, 1) for fold in (0, 1) for name in ("plain", "slow")
    ]
    assert [list(job.steps) for job in seen] == [["fit", "validate", "test"]] * 8
    assert yaml.safe_load((here / "out/variants/slow.yaml").read_text()) == {"model": {"optimizer": {"lr": 1e-5}}}
    assert seen[3].steps["fit"] == [
        "fit", "--wandb=disabled", "--config", str(here / "small.yaml"), "--model.head=gap",
        "--config", "out/variants/slow.yaml", "--data.batch_size", "4", "--seed_everything=0", "--data.fold=1",
        "--data.folds=2", "--run_dir=out/slow-0/fold-1",
    ]  # fmt: skip
    best = f"--ckpt_path={Path('out/slow-0/fold-1/checkpoints/best.ckpt')}"
    assert seen[3].steps["validate"] == ["validate", "--config=out/slow-0/fold-1/config.yaml", best]


def test_the_output_of_one_search_is_taken_for_one_head(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Job] = []
    monkeypatch.setattr("ibca_lightning.search.sweep.run_jobs", lambda jobs, *_, **__: seen.extend(jobs) or [])
    (here / "tuned").mkdir()
    written(here / "tuned/best.yaml", {"model": {"optimizer": {"lr": 0.02}}})
    command = ("sweep", "--config", small(here), "--seeds", 0, "--output", "out", "--tuned", "tuned", "--heads", "gap")
    done(*command)
    assert seen[0].steps["fit"][5:7] == ["--config", "tuned/best.yaml"], "behind the head"
    result = ibca(*command, "csra")
    assert result.code == 2
    assert "for gap at tuned/gap/best.yaml, got tuned/best.yaml of one search; sweep its head alone" in result.errors[0]
    (here / "tuned/trial-000").mkdir()
    for searched in ("GAPHead", "CSRAHead"):
        path = f"ibca_lightning.heads.{searched}"
        written(here / "tuned/trial-000/config.yaml", {"model": {"init_args": {"head": {"class_path": path}}}})
        result = ibca(*command)
        assert result.code == (0 if searched == "GAPHead" else 2), "the rate of another head"
    assert "got tuned/best.yaml of one search, of ibca_lightning.heads.CSRAHead" in result.errors[0]


def test_without_heads_it_is_the_recipe_itself(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Job] = []
    monkeypatch.setattr("ibca_lightning.search.sweep.run_jobs", lambda jobs, *_, **__: seen.extend(jobs) or [])
    done("sweep", "--config", small(here), "--output", "out", "--folds", 3, "--no_test")
    assert [str(job.folder) for job in seen] == [f"out/gap-0/fold-{fold}" for fold in range(3)], "one seed"
    assert all(list(job.steps) == ["fit", "validate"] for job in seen)
    done("sweep", "--config", small(here), "--output", "out", "--no_test")
    assert [str(job.folder) for job in seen[3:]] == [f"out/gap-{seed}" for seed in range(5)]
    assert not any(part.startswith("--model.head") for job in seen for part in job.steps["fit"])


def test_one_job_of_a_sweep(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Job] = []
    monkeypatch.setattr("ibca_lightning.search.sweep.run_jobs", lambda jobs, *_, **__: seen.extend(jobs) or [])
    command = ("sweep", "--config", small(here), "--heads", "gap", "csra", "--seeds", 0, 1, "--output", "out")
    assert done(*command, "--count").out == "4\n"
    assert seen == []
    for number in range(4):
        done(*command, "--job", number)
    assert [job.label for job in seen] == ["gap seed 0", "csra seed 0", "gap seed 1", "csra seed 1"]
    for number in (4, -1):
        result = ibca(*command, "--job", number)
        assert result.code == 2
        assert f"--job from 0 to 3, got {number}; give one of these 4 numbers" in result.errors[0]


@pytest.mark.slow
def test_a_run_on_two_devices_starts_itself_and_not_the_sweep(here: Path) -> None:
    # Rank 1 is started by a command line, once for fit and once for test.
    done("sweep", "--config", small(here), "--heads", "gap", "--seeds", 0, "--output", "out", "--trainer.max_epochs", 1,
         "--trainer.devices", 2, "--trainer.strategy", "ddp")  # fmt: skip
    assert seconds_of(here / "out/gap-0").keys() == {"fit", "test"}
    assert [row["name"] for row in rows(here / "out/sweep.csv")] == ["gap"]
    assert sorted(path.name for path in (here / "out").iterdir()) == ["gap-0", "sweep.csv"]


def test_what_a_killed_worker_leaves_is_not_listed(here: Path) -> None:
    code = (
        "from pathlib import Path\nfrom ibca_lightning.search import jobs\nfrom tests import light_worker\n"
        "jobs._work = light_worker.work\n"
        "jobs.run_jobs([jobs.Job(Path('run'), 'a job', {'fit': ['die']}, {})], [None], str)\n"
    )
    own = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    end = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True, timeout=300)
    assert "its process died" in end.stderr
    assert "resource_tracker" not in end.stderr
    assert "leaked" not in end.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_all_at_once(here: Path, sent: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "ibca_lightning.cli", "sweep", "--config", str(small(here)), "--heads", "gap",
               "--output", "out", "--processes", "2", "--trainer.max_epochs", "100000"]  # fmt: skip
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    # A suite that runs in the background of a shell has Ctrl-C ignored, and would hand that down.
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while len(list(here.glob("out/*/job.json"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, sent) if sent is signal.SIGINT else process.send_signal(sent)
    try:
        _, error = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == code, error
    assert "stopped by" in error
    end = time.monotonic() + 60
    while _running(process.pid) and time.monotonic() < end:  # multiprocessing's own helper takes a moment
        time.sleep(0.05)
    assert not _running(process.pid)


def _running(session: int) -> list[str]:
    """Processes of a session that are no zombies; workers have groups of their own in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = path.read_text().partition(") ")
        except OSError:
            continue
        state, _, _, its_session, *_ = fields.split()
        if int(its_session) == session and state != "Z":
            found.append(name)
    return found


def test_a_class_and_its_options_may_stand_side_by_side(tmp_path: Path) -> None:
    values = {"model.loss.gamma": 1.0, "model.loss": "focal", "model.loss.balance": 0.9, "trainer.max_epochs": 2}
    write_fragment(tmp_path / "f.yaml", values)
    tree = yaml.safe_load((tmp_path / "f.yaml").read_text())
    loss = {"class_path": "focal", "init_args": {"gamma": 1.0, "balance": 0.9}}
    assert tree == {"model": {"loss": loss}, "trainer": {"max_epochs": 2}}
