"""Locks: on a file system that has none, nothing passes silently, whoever asks."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibca_lightning.run.run_folder import claim
from ibca_lightning.search.job import Job, held
from ibca_lightning.system import locks as folder_lock
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import HeldError, locked, sole_user


def _job(folder: Path) -> None:
    job = Job(folder / "run", "job", {"fit": ["fit"]}, {})
    job.folder.mkdir()
    (job.folder / "weights").touch()
    with held(job, ["fit"]):
        pass


def _cache(folder: Path) -> None:
    file = os.open(folder / "index.bin", os.O_RDWR | os.O_CREAT)
    with locked(file, str(folder / "index.bin")):
        pass


def _folder(folder: Path) -> None:
    with sole_user(folder):
        pass


@pytest.mark.parametrize("use", [_job, _cache, _folder, lambda folder: claim(str(folder)).close()])
@pytest.mark.parametrize("refused", [OSError(errno.ENOLCK, "No locks available"), OSError(errno.ENOSYS, "no flock"),
                                     NotImplementedError()])  # fmt: skip
def test_without_locks_nobody_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], None], refused: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> bool:
        raise refused

    monkeypatch.setattr(folder_lock, "lock_descriptor", fail)
    with pytest.raises(InputError, match=r"a file system that locks files \(flock\) at .*; use another disk") as raised:
        use(tmp_path)
    assert not isinstance(raised.value, HeldError)
    assert not (tmp_path / "run").exists() or (tmp_path / "run/weights").exists(), "the other's run is left alone"


def test_a_full_or_closed_disk_is_said_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), sole_user(tmp_path / "none/log.txt"):
        pass


def test_one_at_a_time_whoever_waits_and_no_file_is_left(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def use() -> None:
        for _ in range(20):
            with sole_user(tmp_path, patience=60):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert list(tmp_path.iterdir()) == []


def test_an_error_within_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), sole_user(tmp_path):
        raise ZeroDivisionError
    with sole_user(tmp_path), pytest.raises(HeldError, match="another run that is still at it"), sole_user(tmp_path):
        pass
