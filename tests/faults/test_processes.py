"""Processes that die, readers that go away, files that vanish, clocks that jump, two runs that meet."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ibca_lightning.data.pictures import reading
from ibca_lightning.run.run_folder import choose_run_dir, claim, create_run_dir
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.failures import exit_code
from tests.command_line import contents, done, experiment, ibca, near, refused, rows, written
from tests.datasets import fake_csv

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path, here: Path) -> Path:
    """An experiment on data of its own, `e.yaml` in the current folder."""
    fake_csv.write(tmp_path / "data", rows=20)
    return written(here / "e.yaml", experiment(tmp_path / "data", mask_dir="masks", augment="none"))


def fit(*options: object) -> Any:
    return ibca("fit", "--config", "e.yaml", "--run_dir", "new", "--trainer.max_epochs", 2, *options)


def later(monkeypatch: pytest.MonkeyPatch, what: Any, calls: int) -> None:
    """Do something before a picture is read in this process for so many times."""
    read, count = reading.read_bytes, [0]

    def counting(path: str) -> Any:
        count[0] += 1
        if count[0] == calls:
            what(path)
        return read(path)

    monkeypatch.setattr(reading, "read_bytes", counting)


def test_a_killed_data_worker_is_one_line_and_the_epochs_before_are_kept(
    config: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: str) -> None:
        if multiprocessing.parent_process() is not None:  # in a worker, which this process was copied into
            os.kill(os.getpid(), signal.SIGKILL)

    later(monkeypatch, die, 14)  # the one worker of training reads eight pictures an epoch
    result = fit("--data.num_workers", 1)
    assert result.code == 1
    assert len(result.errors) == 1
    assert "data workers that live as long as the run, got " in result.errors[0]
    assert "--data.num_workers" in result.errors[0]
    assert "Traceback" not in result.err
    assert [row["val/mAP"] != "" for row in rows(Path("new/metrics.csv")) if row["epoch"] == "0"]
    monkeypatch.undo()
    monkeypatch.chdir(here)
    last = "new/checkpoints/last.ckpt"
    assert fit("--ckpt_path", last).code == 0
    assert {row["epoch"] for row in rows(Path("new/metrics.csv"))} == {"0", "1"}


def hand_over(queue: Any, done: Any) -> None:
    queue.put(torch.ones(3))
    done.wait(60)


def test_a_worker_killed_between_the_word_and_the_batch_is_the_same_line(capsys: pytest.CaptureFixture[str]) -> None:
    context = torch.multiprocessing.get_context("fork")
    queue, done = context.Queue(), context.Event()
    worker = context.Process(target=hand_over, args=(queue, done))
    worker.start()
    assert queue._reader.poll(60)  # the word is there; the tensor is still the worker's
    worker.kill()
    worker.join()
    with pytest.raises(ConnectionError) as lost:
        queue.get()
    assert exit_code(lost.value) == 1
    assert "data workers that live as long as the run, got one killed" in capsys.readouterr().err
    assert exit_code(ConnectionResetError(104, "Connection reset by peer")) == 1  # of something else, as wandb's server
    assert "error: ConnectionResetError: [Errno 104] Connection reset by peer" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_file_that_vanishes_while_it_is_trained_on(
    folder: str, config: Path, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(path: str) -> None:
        for name in [row["image"] for row in rows(tmp_path / "data/train.csv")]:
            picture = (tmp_path / "data" / folder / name).with_suffix(
                Path(name).suffix if folder == "images" else ".png"
            )
            picture.unlink()

    later(monkeypatch, vanish, 18)  # in the second epoch
    result = fit()
    assert result.code == 2
    assert len(result.errors) == 1
    assert f"data/{folder}/" in result.errors[0]
    assert "train.csv, line " in result.errors[0]
    assert "got nothing there" in result.errors[0]


# --- two runs, and time ----------------------------------------------------------------------------------------------


def test_a_second_run_waits_for_nobody_and_changes_nothing(
    config: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("new").mkdir()
    held = claim("new")
    monkeypatch.setattr("ibca_lightning.run.run_folder.claim", lambda folder: claim(folder, 0.2))
    before = contents(here)
    result = fit()
    assert result.code == 2
    assert "a folder new that nobody writes into, got another run that trains into it now" in result.errors[0]
    assert contents(here) == before
    held.close()
    assert fit("--trainer.fast_dev_run", 1).code == 0


def hold(folder: str, held: Any) -> None:
    with claim(folder):
        held.set()
        signal.pause()  # until it is killed


def test_a_claim_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=hold, args=(str(tmp_path), held), daemon=True)
    process.start()
    assert held.wait(60)
    with pytest.raises(InputError, match="another run that trains into it"):
        claim(str(tmp_path), 0.2)
    process.kill()
    process.join()
    claim(str(tmp_path), 5).close()


def test_runs_that_start_in_one_second_have_a_folder_each(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "2020-01-01_00-00-00")
    chosen = [choose_run_dir(None, None, {"config": ["scm.yaml"]}) for _ in range(3)]  # before one of them is made
    first = "runs/scm/2020-01-01_00-00-00"
    assert chosen == [first] * 3
    made = [create_run_dir(name, own=True) for name in chosen]
    assert made == [(first, None), (f"{first}-2", None), (f"{first}-3", None)]
    assert create_run_dir(first) == (first, set()), "a folder that was asked for is taken as it is"
    assert sorted(path.name for path in Path("runs/scm").iterdir()) == [Path(name).name for name, _ in made]


def test_a_clock_that_goes_back_overwrites_no_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "2020-01-01_00-00-00")
    named = [choose_run_dir(None, None, {"config": ["scm.yaml"]})]
    for _ in range(2):
        Path(named[-1]).mkdir(parents=True)
        named.append(choose_run_dir(None, None, {"config": ["scm.yaml"]}))
    first = "runs/scm/2020-01-01_00-00-00"
    assert named == [first, f"{first}-2", f"{first}-3"]


def test_a_clock_that_jumps_while_it_trains_changes_no_figure_and_no_time(
    config: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("fit", "--config", "e.yaml", "--run_dir", "steady")
    ticks, now = iter(range(10**6)), time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600.0 * next(ticks))
    result = done("fit", "--config", "e.yaml", "--run_dir", "jumping")
    (line,) = [line for line in result.err.splitlines() if line.startswith("epoch 1/1")]
    assert 0 <= int(line.rsplit(", ", 1)[1].removesuffix(" s")) < 600
    near(*(rows(Path(name) / "metrics.csv") for name in ("steady", "jumping")), tolerance=1e-4)


# --- a reader that goes away -----------------------------------------------------------------------------------------


def test_a_reader_that_has_seen_enough_is_no_failure_and_every_file_is_written(run: Path, here: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "ibca_lightning.cli"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    options: Any = {"stdout": write, "stderr": subprocess.PIPE, "text": True, "env": environment}
    result = subprocess.run([*command, "compare", run, "--output", "out"], **options)
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(os.listdir("out")) == ["compare.csv", "compare.html", "compare.md"]
    result = subprocess.run([*command, "--help"], **options)
    assert (result.returncode, result.stderr) == (0, "")
    os.close(write)


def test_training_goes_on_when_nobody_reads_its_log(config: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        encoding = "utf-8"

        def write(self, _: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

        def flush(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

        def isatty(self) -> bool:
            return False

    from ibca_lightning.cli import main

    monkeypatch.setattr(sys, "stderr", Closed())
    assert main(["fit", "--config", "e.yaml", "--run_dir", "new"]) == 0
    monkeypatch.undo()
    assert (here / "new/checkpoints/best.ckpt").is_file()


IBCA = (sys.executable, "-m", "ibca_lightning.cli")


ALONE = """
import os, sys
from ibca_lightning import cli
from ibca_lightning.system.output import write_out
def stands_for_a_command(arguments):
    write_out(arguments[0])
    return os.open(os.devnull, os.O_RDONLY)
cli._run = stands_for_a_command
os._exit(cli.main())
"""


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(closed: str, here: Path) -> None:
    """The file that is opened next has no number of a stream, where libraries of C write."""
    command = ["sh", "-c", f'exec "$0" -c "$1" words {closed}', sys.executable, ALONE]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run(command, env=environment, check=False).returncode > 2


def test_what_an_encoding_lacks_is_an_escape(here: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", ALONE, "肺炎 Ödem"]
    found = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert found.stdout == rb"\u80ba\u708e \xd6dem"
    assert found.stderr == b""


def test_a_current_folder_that_was_removed_is_named(here: Path) -> None:
    Path("gone").mkdir()
    command = ["sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh", *IBCA, "list", "heads"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "a current folder, got one that was removed; change into one" in found.stderr


def test_an_option_that_is_no_utf8_is_named(config: Path) -> None:
    refused("check", "--config", "e.yaml", "--data.image_dir", "im\udcff", names=("options in UTF-8, got im\\udcff",))
