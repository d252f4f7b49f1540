"""Many `ibca` command lines in parallel: one thread each, and torch imported once a worker process.

Our own on purpose: no job queue has the folders of `job`, with which an interrupted set of jobs goes on where it
stopped, and a worker that imports once is faster than a process a run.
"""

import multiprocessing
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, count
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from ibca_lightning.search.job import LOG, RECORD, Job, held, pending, read_record, write_record
from ibca_lightning.system.failures import exit_code
from ibca_lightning.system.locks import HeldError
from ibca_lightning.system.output import write_err
from ibca_lightning.system.strangers import regular

_READ = 2**20  # bytes of a log, from its end
_DIVERGED = re.compile(r"error: (a )?finite ")  # how a NonFiniteError reads


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    job: Job
    code: int  # of its last command; 128 + the signal's number where the worker was killed
    error: str  # the last line that says what went wrong; empty where nothing did
    seconds: float
    excuse: str = ""  # why it is no failure though it was not done: diverged, stopped early, run by another process


def run_jobs(
    jobs: Sequence[Job],
    places: Sequence[str | None],
    said: Callable[[Job], str],
    again: bool = False,
    more: Iterable[Job] = (),
    total: int | None = None,
    stop: Callable[[Job], bool] = lambda job: False,
) -> list[Ended]:
    """Run what is not done yet, a line on stderr for each job that starts and that ends.

    Args:
        jobs: Each with a folder of its own.
        places: From `gpus.places`, one a run at a time.
        said: What to print of a job that is done, such as its score.
        again: Whether runs that were made under other settings, or by another version, are made again.
        more: Further jobs, each asked for when a worker is free.
        total: How many there are with those; default the `jobs`.
        stop: Asked about once a second of a job that runs, whether to end its training now.

    Returns:
        The jobs that failed.

    Raises:
        InputError: As `pending`, before anything is run.
    """
    left = [(job, steps) for job in jobs if (steps := pending(job, again))]
    total = len(jobs) if total is None else total
    done, failed, folders = len(jobs) - len(left), [], []
    if done:
        write_err(f"{done} of {total} were done before\n")
    queue = chain(left, ((job, pending(job, again)) for job in more))
    with _terminable():
        _quiet_tracker()
        begun = count(done + 1)
        for ended in _ended(queue, places, stop, lambda job: _say_begun(job, next(begun), total)):
            done += 1
            folders.append(ended.job.folder)
            head = f"[{done}/{total}] {ended.job.label}: "
            if ended.code and not ended.excuse:
                failed.append(ended)
                write_err(f"{head}failed with exit code {ended.code}, {ended.job.folder}: {ended.error}\n")
            else:
                write_err(f"{head}{ended.excuse or said(ended.job)}, {ended.seconds:.0f} s\n")
    if failed:
        write_err(f"{len(failed)} of {total} failed; {LOG} in the run folder says more\n")
    _say_warnings(folders)
    return failed


def _say_begun(job: Job, number: int, total: int) -> None:
    write_err(f"{job.label}: started, {number} of {total}\n")


def _quiet_tracker() -> None:
    """Start what clears up behind workers, so that it does not also list what one that was killed left behind."""
    before = [*sys.warnoptions]
    sys.warnoptions.append("ignore:resource_tracker")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions[:] = before


def _say_warnings(folders: Sequence[Path]) -> None:
    """Say each warning of some runs once: of a leak between splits nobody reads in a log."""
    told: Counter[str] = Counter()
    for folder in folders:
        with suppress(OSError):
            told.update([*dict.fromkeys(line for line in _end(folder / LOG) if line.startswith("warning: "))])
    for line, runs in told.items():
        write_err(f"{line} ({runs} of {len(folders)} runs)\n")


def _ended(
    queue: Iterator[tuple[Job, list[str]]],
    places: Sequence[str | None],
    stop: Callable[[Job], bool],
    begun: Callable[[Job], None],
) -> Iterator[Ended]:
    """Hand out the jobs, say of each that it has begun, and yield them as they end."""
    workers: dict[int, _Worker] = {}

    def start(place: int) -> Iterator[Ended]:
        """Give the worker of a place, made when it is needed, the next job that nobody else runs or has done since."""
        while (place not in workers or workers[place].job is None) and (pair := next(queue, None)) is not None:
            job, steps = pair
            if place not in workers:
                workers[place] = _Worker(places[place])
            worker = workers[place]
            try:
                if worker.give(job, steps):
                    begun(job)
                else:
                    yield Ended(job, 0, "", 0.0)
            except HeldError:
                yield Ended(job, 2, "", 0.0, "another sweep or search runs it now; left to that")

    try:
        for place in range(len(places)):
            yield from start(place)
        while running := {place: worker for place, worker in workers.items() if worker.job}:
            # With a timeout: a pipe may be held open by a worker's own child processes when the worker is dead.
            wait([worker.connection for worker in running.values()], timeout=1)
            for place, worker in running.items():
                if (ended := worker.ended()) is None:
                    if worker.job is not None and stop(worker.job):
                        worker.stop()
                    continue
                if not worker.process.is_alive():
                    worker.kill()
                    del workers[place]
                yield from start(place)
                yield ended
    finally:
        for worker in workers.values():
            worker.kill()


class _Worker:
    """A process that runs one job after the other, in a group of its own with all that it starts."""

    def __init__(self, gpus: str | None) -> None:
        # Spawned, not forked: torch and CUDA do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.job: Job | None = None
        self._start, self._stopped = 0.0, False
        self._held = ExitStack()
        self.process = context.Process(target=_work, args=(theirs, gpus))
        self.process.start()
        theirs.close()

    def give(self, job: Job, steps: list[str]) -> bool:
        """Start a job, if anything of it is left to do, and say whether it is."""
        left = self._held.enter_context(held(job, steps))
        if not left:
            self._held.close()
            return False
        self.job, self._start, self._stopped = job, time.monotonic(), False
        with suppress(OSError):  # it is dead, which `ended` will find
            self.connection.send((str(job.folder), [(name, job.steps[name]) for name in left]))
        return True

    def stop(self) -> None:
        """End the training of its job between two steps; outside of training, the worker."""
        if not self._stopped and self.process.pid is not None:
            self._stopped = True
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)

    def ended(self) -> Ended | None:
        """How the job ended, if it has."""
        if self.job is None:
            return None
        alive = self.process.is_alive()  # asked first: what a worker sent before its death counts
        try:
            if not self.connection.poll():
                if alive:
                    return None
                raise EOFError  # not read from: children of a dead worker may hold its pipe open
            code, error, seconds = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            seconds = time.monotonic() - self._start
            number = -(self.process.exitcode or 0)
            code, error = 128 + number if number > 0 else 1, "its process died"
            if number > 0:
                error += f" ({signal.Signals(number).name}; out of memory?)"
        excuse = "diverged" if code and self.job.may_diverge and _DIVERGED.match(error) else ""
        if code and self._stopped:
            excuse = "stopped early, behind the others"
            if record := read_record(self.job.folder):
                write_record(self.job.folder, record | {"stopped": excuse})
        ended, self.job = Ended(self.job, code, error, seconds, excuse), None
        self._held.close()
        return ended

    def kill(self) -> None:
        """End it at once; an unfinished run starts again another time."""
        self.connection.close()
        if self.job is None:
            self.process.join(2)  # it ends by itself when its pipe is closed
        if self.process.pid is not None:
            with suppress(OSError):  # it has ended, or is not yet in its group
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self._held.close()


def _work(connection: Connection, gpus: str | None) -> None:
    """The life of a worker: import once, then job after job until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    os.setpgid(0, 0)  # and, by their group, the other processes of a run on several devices
    os.environ["OMP_NUM_THREADS"] = "1"
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    import torch

    from ibca_lightning.run.lightning_cli import run_lightning

    # Lightning starts those others with the command line of the main module, which is not always `ibca` here.
    sys.modules["__main__"].__spec__ = find_spec("ibca_lightning.cli")

    def run(arguments: list[str]) -> int:
        try:
            return run_lightning(arguments)
        except BaseException as error:
            return exit_code(error)

    while True:
        try:
            folder, steps = connection.recv()
        except (EOFError, OSError):
            return
        torch.set_num_threads(1)
        start = time.monotonic()
        answer = (*_run(Path(folder), steps, run), time.monotonic() - start)
        with suppress(OSError):  # the pipe is closed
            connection.send(answer)


def _run(folder: Path, steps: list[tuple[str, list[str]]], run: Callable[[list[str]], int]) -> tuple[int, str]:
    for name, arguments in steps:
        start = time.monotonic()
        with _written_to(folder / LOG), _by_itself(arguments):
            write_err(f"$ ibca {' '.join(arguments)}\n")
            code = run(arguments)
        record = read_record(folder)
        error = _last_error(folder / LOG) if code else ""
        if record and _DIVERGED.match(error):
            write_record(folder, record | {"diverged": error})
        if code or not record:
            return code or 1, error or f"{folder / RECORD} is gone"
        record["seconds"] |= {name: round(time.monotonic() - start, 3)}
        write_record(folder, record)
    return 0, ""


@contextmanager
def _by_itself(arguments: list[str]) -> Iterator[None]:
    """Run a command as if it were alone in its process.

    `sys.argv` is its own: with that Lightning starts the other processes of a run on several devices. What it leaves,
    variables and a process group, is taken away for the next.
    """
    environment, typed = dict(os.environ), sys.argv
    sys.argv = ["ibca", *arguments]
    try:
        yield
    finally:
        sys.argv = typed
        os.environ.clear()
        os.environ.update(environment)
        distributed: Any = sys.modules.get("torch.distributed")
        if distributed and distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


@contextmanager
def _written_to(path: Path) -> Iterator[None]:
    """Let everything that this process says go into a file, what C code says too."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(saved, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exit that stops the workers first."""

    def stop(number: int, frame: FrameType | None) -> None:
        write_err(f"error: stopped by {signal.Signals(number).name}\n")
        raise SystemExit(128 + number)

    handled = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]  # as by nohup
    before = {number: signal.signal(number, stop) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(log: Path) -> list[str]:
    """The last lines of a log, which may have any length."""
    with regular(log).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _READ))
        return file.read(_READ).decode(errors="replace").splitlines()


def _last_error(log: Path) -> str:
    lines = [line for line in _end(log) if line.strip()]
    said = [line for line in lines if re.match(r"error: |\w*Error: ", line)]
    return (said or lines or [""])[-1]
