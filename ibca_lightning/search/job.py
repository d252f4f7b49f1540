"""One job in its run folder: `job.json` (what it was asked, which of its steps are done) and `log.txt` (what was said).

Two sets of jobs may share folders, as the tasks of a cluster do: what one runs, the other leaves alone.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any

from ibca_lightning import __version__
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user
from ibca_lightning.system.strangers import read_object, regular
from ibca_lightning.system.whole_files import write_text

RECORD, LOG = "job.json", "log.txt"


@dataclass(frozen=True)
class Job:
    """Command lines to be run one after the other in one run folder.

    Attributes:
        folder: The run folder.
        label: For people, such as `csra seed 3`.
        steps: By name (`fit`, `test`), the arguments behind `ibca`.
        settings: Plain data that decide the result; a folder made under other settings is not taken for done.
        may_diverge: Whether training that diverged or was stopped early is a result and no failure, not tried again.
    """

    folder: Path
    label: str
    steps: Mapping[str, list[str]]
    settings: Any
    may_diverge: bool = False


def pending(job: Job, again: bool = False) -> list[str]:
    """The steps of a job that are not done yet, from the first such on; all of a run of other settings if `again`.

    Raises:
        InputError: The folder holds something else, or a run that was made under other settings or by another version
            of this package; a run whose record names no version is older than all that do, and is not mixed in either.
    """
    folder = job.folder
    if not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} <= {LOG}):
        return list(job.steps)
    record = read_record(folder)
    if not record:
        expected = f"{folder} free, or with the {RECORD} of ibca tune or ibca sweep"
        raise InputError(expected, "another folder or file", "give another --output")
    if _same(job, record):
        return _left(job, record)
    if again:
        return list(job.steps)
    if (version := record.get("version", "an earlier version")) != __version__:
        raise InputError(
            f"{folder} made by ibca {__version__}", version,
            "give another --output, or remove that folder (ibca sweep: or --again, to make it anew)",
        )  # fmt: skip
    changed = ", ".join(_changed(record["settings"], plain(job.settings)))
    fix = "give another --output, or remove that folder"
    raise InputError(f"{folder} made under the same settings", f"others ({changed})", fix)


@contextmanager
def held(job: Job, steps: list[str]) -> Iterator[list[str]]:
    """Make the folder of a job, and keep it for this process; what a half-done run left there is removed.

    Args:
        job: The job.
        steps: What was left to do when the set of jobs began.

    Yields:
        What is left to do now: another process may have done some since.

    Raises:
        HeldError: Another process runs the job.
        InputError: The folder cannot be made.
    """
    log = job.folder / LOG
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        log.touch()
        regular(log)
    except OSError as error:
        raise InputError(f"a folder to write at {job.folder}", error.strerror, "give another --output") from error
    with sole_user(log):  # not the folder, which the run in it keeps for itself
        record = read_record(job.folder)
        if _same(job, record):
            steps = _left(job, record)
        if next(iter(job.steps)) in steps:
            for path in job.folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                elif path != log:
                    path.unlink(missing_ok=True)
            os.truncate(log, 0)
            write_record(job.folder, {"version": __version__, "settings": plain(job.settings), "seconds": {}})
        yield steps


def seconds_of(folder: Path) -> dict[str, float]:
    """How long each finished step of a run folder took, in seconds; empty where none is finished."""
    return dict(read_record(folder).get("seconds", {}))


def given_up(folder: Path) -> bool:
    """Whether the run of a folder diverged or was stopped early, and will not be tried again."""
    return bool({"diverged", "stopped"} & read_record(folder).keys())


def read_record(folder: Path) -> dict[str, Any]:
    """The `job.json` of a run folder; empty where there is none."""
    try:
        record = read_object(folder / RECORD)
    except (OSError, ValueError):
        return {}
    seconds = record.get("seconds")
    sound = isinstance(seconds, dict) and all(type(value) in (int, float) for value in seconds.values())
    return record if sound and "settings" in record else {}


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write it; settings may hold NaN and infinity."""
    write_text(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def plain(settings: Any) -> Any:
    """Settings as they come back from JSON."""
    return json.loads(json.dumps(settings, default=str))


def _same(job: Job, record: dict[str, Any]) -> bool:
    """Whether a run was made under the same settings by this version."""
    return bool(record and record["settings"] == plain(job.settings) and record.get("version") == __version__)


def _left(job: Job, record: dict[str, Any]) -> list[str]:
    """What a record of the same settings leaves to do."""
    if job.may_diverge and {"diverged", "stopped"} & record.keys():
        return []
    return list(dropwhile(record["seconds"].__contains__, job.steps))


def _changed(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Names of the settings that differ, by their place."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = (dict(zip(map(str, range(len(old))), items, strict=True)) for items in (old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old | new:
            yield from _changed(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
    elif old != new:
        yield f"{name}: {json.dumps(old)} then, {json.dumps(new)} now"
