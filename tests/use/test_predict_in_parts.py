"""`ibca predict --images` by several processes: the rows of one, whoever is killed, and whenever."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.launched import Place, place
from ibca_lightning.system.locks import HeldError
from ibca_lightning.use.model_options import opened
from ibca_lightning.use.predictions import files, parts
from ibca_lightning.use.predictions.files import RowFiles
from ibca_lightning.use.predictions.parts import RowParts
from tests.command_line import Result, ibca, near, of_two_processes, rows

# --- the place of a process -----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variables of a launcher that may have started the tests."""
    for name in [*os.environ]:
        if name.startswith(("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "MASTER_", "SLURM_", "TORCHELASTIC_")):
            monkeypatch.delenv(name)
        monkeypatch.delenv(name, raising=False)


def test_the_place_is_what_the_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place() == Place(0, 1, 0)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert place() == Place(0, 1, 0), "a batch script is one process, for however many tasks it has asked"
    monkeypatch.setenv("SLURM_PROCID", "5")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert place() == Place(5, 8, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert place() == Place(2, 3, 0), "torchrun, in a job of SLURM"
    for wrong in ("3", "-1", "two"):
        monkeypatch.setenv("RANK", wrong)
        with pytest.raises(InputError, match="RANK from 0 to below WORLD_SIZE"):
            place()


def test_a_process_has_a_gpu_of_its_own_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("ibca_lightning.use.predictor.load", lambda path, device, trust, precision: device)
    given = (None, "cuda", "cuda:0", "cpu")
    assert [opened("best.ckpt", device, ()) for device in given] == [None, "cuda", "cuda:0", "cpu"]
    for name, value in (("RANK", "7"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    assert [opened("best.ckpt", device, ()) for device in given] == ["cuda:1", "cuda:1", "cuda:0", "cpu"]


def test_a_start_is_told_from_the_next_and_is_one_on_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(**environment: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return place().call

    assert call(RANK="1", WORLD_SIZE="2") == "", "by hand, of which each may be a job of its own"
    assert call(RANK="1", WORLD_SIZE="2", SLURM_JOB_ID="7") == ""
    one = {"WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none", "MASTER_PORT": "29500"}
    files = [f"torchelastic_a/none_b/attempt_{attempt}/{rank}/error.json" for attempt in (0, 1) for rank in (0, 1)]
    calls = [call(RANK=str(at % 2), TORCHELASTIC_ERROR_FILE=file, **one) for at, file in enumerate(files)]
    assert [calls.index(found) for found in calls] == [0, 0, 2, 2]
    two = one | {"GROUP_WORLD_SIZE": "2"}
    nodes = [
        call(RANK=str(at), TORCHELASTIC_ERROR_FILE=files[at], TORCHELASTIC_RESTART_COUNT=str(at), **two)
        for at in range(2)
    ]
    assert nodes[0] == nodes[1], "a node that lost a process counts another number of restarts than one that did not"
    assert call(RANK="0", **(two | {"TORCHELASTIC_RUN_ID": "second"})) != nodes[0]
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
    calls = [call(SLURM_PROCID=rank, **step) for rank in "01"]
    calls += [call(SLURM_PROCID="0", **step, SLURM_RESTART_COUNT="1")]
    calls += [call(SLURM_PROCID="0", **(step | {"SLURM_STEP_ID": "1"}))]
    assert [calls.index(found) for found in calls] == [0, 0, 2, 3]


def test_shares_are_all_and_none_is_in_two() -> None:
    for number in (0, 1, 7, 100):
        for of in (1, 2, 3, 8):
            shares = [list(range(number))[Place(rank, of).share(number)] for rank in range(of)]
            assert [at for share in shares for at in share] == list(range(number))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


# --- files, without a model ------------------------------------------------------------------------------------------

IDS = [f"{at:04}, \"a\"\nb.png" for at in range(600)]  # fmt: skip
HEADER, RECORD = ["id", "A"], {"version": "1"}


def parts_of(folder: Path, rank: int, of: int, call: str = "") -> RowParts:
    return RowParts(folder, RECORD, HEADER, IDS, Place(rank, of, call=call))


def work(folder: Path, rank: int, of: int, until: int | None = None, call: str = "") -> RowFiles | None:
    """What `ibca predict` does, with a number for a probability; killed before so many rows."""
    parts = parts_of(folder, rank, of, call)
    with parts.own() as files:
        left = [name for name in IDS[Place(rank, of).share(len(IDS))] if name not in files.done]
        for at, name in enumerate(left):
            if at == until:
                raise KeyboardInterrupt
            if name[3] == "7":
                files.fail([(name, "unreadable")])
            else:
                files.add([[name, str(IDS.index(name))]])
    return files if of == 1 else parts.together()


def one_by_one(folder: Path, of: int, until: dict[int, int] | None = None) -> list[RowFiles | None]:
    found = []
    for rank in range(of):
        try:
            found.append(work(folder, rank, of, (until or {}).get(rank)))
        except KeyboardInterrupt:
            found.append(None)
    return found


@pytest.mark.parametrize(("of", "later"), [(1, 1), (3, 3), (3, 1), (3, 2)])
def test_rows_of_pictures_that_changed_are_refused_in_each_process(tmp_path: Path, of: int, later: int) -> None:
    """Also where the parts of a call that was stopped are taken over by another number of processes."""
    picture = tmp_path / "1.png"
    picture.touch()
    pictures = dict.fromkeys(IDS, str(picture))

    def begin(rank: int, of: int) -> None:
        mine = IDS[Place(rank, of).share(len(IDS))]
        with RowParts(tmp_path / "out", RECORD, HEADER, IDS, Place(rank, of), pictures=pictures).own() as found:
            found.add([[name, "0"] for name in mine[:3] if name not in found.done])
            raise RuntimeError

    for _ in range(2):  # none of them is done
        for rank in range(of):
            with pytest.raises(RuntimeError):
                begin(rank, of)
    newest = max(path.stat().st_mtime_ns for path in tmp_path.rglob("predictions.csv"))
    os.utime(picture, ns=(newest + 1, newest + 1))
    for rank in range(later):
        with pytest.raises(InputError, match=r"got 3 that are newer, such as .*give another --output"):
            begin(rank, later)


def require_all(folder: Path, in_order: bool = True) -> None:
    found = [(row["id"], row["A"]) for row in rows(folder / "predictions.csv")]
    expected = [(name, str(at)) for at, name in enumerate(IDS) if name[3] != "7"]
    assert (found if in_order else sorted(found)) == expected
    failed = [row["id"] for row in rows(folder / "failed.csv")]
    assert (failed if in_order else sorted(failed)) == [name for name in IDS if name[3] == "7"]
    assert sorted(path.name for path in folder.iterdir()) == ["failed.csv", "predict.json", "predictions.csv"]


def test_the_last_process_puts_the_rows_of_one_together(tmp_path: Path) -> None:
    one = work(tmp_path / "one", 0, 1)
    *others, last = one_by_one(tmp_path / "three", 3)
    assert others == [None, None]
    assert one is not None
    assert last is not None
    assert (last.failures, last.reason, len(last.done)) == (60, "unreadable", 540)
    require_all(tmp_path / "three")
    for name in ("predictions.csv", "failed.csv"):
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    again = one_by_one(tmp_path / "three", 3)[-1]
    assert again is not None
    assert again.failures == 60, "what failed is tried again"
    require_all(tmp_path / "three")


def test_rows_that_are_there_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, 0, 1, until=300)
    read, known = files.read_bytes, list[str]()

    def noted(path: Path, most: int) -> bytes:
        known.append(path.name)
        return read(path, most)

    monkeypatch.setattr(files, "read_bytes", noted)
    work(tmp_path, 0, 1)
    monkeypatch.undo()
    assert known.count("predictions.csv") == 1
    require_all(tmp_path)


@pytest.mark.parametrize("then", [3, 2, 1, 5])
def test_killed_anywhere_the_same_command_goes_on_with_as_many_processes_or_others(tmp_path: Path, then: int) -> None:
    assert one_by_one(tmp_path, 3, {0: 50, 2: 120}) == [None] * 3
    half = next((tmp_path / "parts").glob("*/00002/predictions.csv"))
    half.write_bytes(half.read_bytes()[:-3])  # of a row
    assert len(rows(tmp_path / "predictions.csv")) == 0
    one_by_one(tmp_path, then)
    require_all(tmp_path, in_order=then == 3)


def test_killed_while_parts_are_put_together_no_row_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = RowFiles.take, []

    def killed(files: RowFiles, part: Path) -> Any:
        taken.append(part)
        if len(taken) == 2:
            with closing(RowFiles(part, RECORD, HEADER)) as other:
                files.add([[row["id"], row["A"]] for row in rows(other.path)][:5])
            raise KeyboardInterrupt
        return take(files, part)

    monkeypatch.setattr(RowFiles, "take", killed)
    assert one_by_one(tmp_path, 3) == [None] * 3
    monkeypatch.setattr(RowFiles, "take", take)
    assert 180 < len(rows(tmp_path / "predictions.csv")) < 200
    one_by_one(tmp_path, 3)
    require_all(tmp_path)


@pytest.mark.parametrize("calls", ["12", "11"])
def test_a_part_of_an_earlier_start_is_not_waited_for_and_no_failure_is_lost(tmp_path: Path, calls: str) -> None:
    first, second = calls
    assert work(tmp_path, 0, 2, call=first) is None
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, 1, 2, until=50, call=first)
    found = [work(tmp_path, rank, 2, call=second) for rank in (1, 0)]
    assert len(rows(tmp_path / "failed.csv")) == 60
    assert [whole and whole.failures for whole in found] == ([None, 60] if first != second else [60, None])
    if first != second:
        require_all(tmp_path)
    one_by_one(tmp_path, 2)
    require_all(tmp_path)


def test_a_part_that_is_gone_on_with_is_not_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert work(tmp_path, 0, 2) is None
    late = parts_of(tmp_path, 1, 2)
    with late.own() as files:
        files.add([["of rank 1", "0.5"]])
    whole = late._whole
    with ExitStack() as stack:

        def behind_another() -> RowFiles:
            stack.enter_context(parts_of(tmp_path, 0, 2).own())
            return whole()

        monkeypatch.setattr(late, "_whole", behind_another)
        assert late.together() is None, "counted again, when it is this process's turn"
    monkeypatch.setattr(late, "_whole", whole)
    monkeypatch.setattr(parts, "_PATIENCE", 0.0)
    rename, refused = Path.rename, []

    def before_another(path: Path, target: Path) -> Path:
        if target.suffix == ".whole":
            with pytest.raises(HeldError) as error, parts_of(tmp_path, 0, 2).own():
                pass
            refused.append(error)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", before_another)
    assert late.together() is not None
    assert len(refused) == 1, "which would wait"


def test_parts_of_another_run_are_not_mixed_in_and_held_ones_not_taken(tmp_path: Path) -> None:
    one_by_one(tmp_path, 2, {0: 5, 1: 5})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    other = RowParts(tmp_path, {"version": "2"}, HEADER, IDS, Place(0, 2))
    with pytest.raises(InputError, match="predictions of the same version"), other.own():
        pass
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    with parts_of(tmp_path, 0, 2).own():
        for rank, of in ((0, 2), (0, 1), (0, 3)):
            with pytest.raises(InputError, match="another run that is still at it"), parts_of(tmp_path, rank, of).own():
                pass


def at_once(folder: Path, rank: int, of: int) -> None:
    whole = work(folder, rank, of)
    (folder.parent / f"{rank}.{whole is not None}").touch()


def test_processes_at_once_are_one_row_by_row(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=at_once, args=(tmp_path / "out", rank, 4)) for rank in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0] * 4
    assert sorted(path.suffix for path in tmp_path.glob("?.*")) == [".False"] * 3 + [".True"], "one alone"
    require_all(tmp_path / "out")


# --- and for all that, with a model ----------------------------------------------------------------------------------


@pytest.fixture
def pictures(tree: Path, here: Path) -> Iterator[Path]:
    """Nine pictures, one of which cannot be read."""
    folder = here / "pictures"
    folder.mkdir()
    for at, path in zip(range(8), sorted((tree / "images").rglob("*.png")), strict=False):
        shutil.copy(path, folder / f"{at}.png")
    (folder / "3 broken.png").write_bytes((folder / "0.png").read_bytes()[:200])
    yield folder
    assert parts._PARTS not in {path.name for path in here.glob("*/*")}


def require_alike(one: str, two: str) -> None:
    near(rows(Path(one) / "predictions.csv"), rows(Path(two) / "predictions.csv"))
    assert (Path(one) / "failed.csv").read_bytes() == (Path(two) / "failed.csv").read_bytes()


def test_two_of_torchrun_predict_what_one_does(run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("predict", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", pictures, "--output")
    alone = ibca(*command, "one")
    monkeypatch.setenv("WORLD_SIZE", "2")
    told: list[Result] = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        told.append(ibca(*command, "two"))
    assert [result.code for result in told] == [0, 2], "torchrun ends all where one fails: the last one alone says it"
    assert told[0].err == "process 1 of 2: 3 pictures\n"
    assert "8 pictures; wrote two/predictions.csv" in told[1].err
    assert told[1].errors[0].replace("two/failed", "one/failed") == alone.errors[0]
    require_alike("one", "two")


def test_bf16_is_near_and_not_mixed_with_float32(run: Path, pictures: Path) -> None:
    command = ("predict", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", pictures, "--output")
    ibca(*command, "one")
    ibca(*command, "half", "--precision", "bf16")
    full, half = (rows(Path(name) / "predictions.csv") for name in ("one", "half"))
    assert full != half
    near([{k: row[k] for k in "ABC"} for row in full], [{k: row[k] for k in "ABC"} for row in half], 0.02)
    refused = ibca(*command, "half")
    assert (refused.code, "predictions of the same precision" in refused.errors[0]) == (2, True)


@pytest.mark.slow
def test_torchrun_starts_two_that_predict_what_one_does(run: Path, pictures: Path) -> None:
    for at in range(300):
        shutil.copy(pictures / "0.png", pictures / f"more {at:03}.png")
    command = ["predict", "--ckpt_path", str(run / "checkpoints/best.ckpt"), "--images", "pictures", "--output"]
    started = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "ibca_lightning.cli"]
    result = subprocess.run([*started, *command, "two"], env=of_two_processes(), capture_output=True, text=True)
    assert "1 that cannot" in result.stderr
    assert ibca(*command, "one").code == 2
    require_alike("one", "two")
