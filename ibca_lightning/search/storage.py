"""Where the processes of a search, on one machine or on several, keep its trials: a file, or a PostgreSQL database.

Optuna reads and writes either. What it has not is here: one process at a time where trials are counted and begun, and
a sign by which the others see whether a process still lives. Locks end with their process, however that ends.
"""

import errno
import hashlib
import json
import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import HeldError, sole_user
from ibca_lightning.system.strangers import MAX_PICTURE, regular

_SCHEME = "postgresql://"
_LINE = 2**20  # bytes, which no line of a journal has
_PATIENCE = 60.0  # seconds, of a lock that is held for a moment
# A connection that shows for days that a process lives says nothing meanwhile: firewalls forget it within the hour.
_KEPT_ALIVE = {"keepalives": "1", "keepalives_idle": "60", "keepalives_interval": "10", "keepalives_count": "6"}


class Shared(ABC):
    """What the processes of a search share.

    Attributes:
        place: For messages.
        study: The name of Optuna's study.
        token: Stands for this process.
    """

    def __init__(self, place: str, study: str) -> None:
        self.place, self.study, self.token = place, study, uuid.uuid4().hex

    @abstractmethod
    def open(self) -> BaseStorage:
        """The trials; made if they are not there. Within `alone`."""

    def mend(self) -> None:  # noqa: B027  # a database has nothing to mend
        """Take away what a process left of a line that it could not write; of trials that are known to be ours."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[None]:
        """Keep the other processes from counting and beginning trials meanwhile."""

    @abstractmethod
    def living(self) -> AbstractContextManager[None]:
        """Show meanwhile that this process lives."""

    @abstractmethod
    def lives(self, token: str) -> bool:
        """Whether the process of a token does; within `alone`."""


def shared_by(where: str | Path) -> Shared:
    """What `--storage` names: a file, or `postgresql://USER@HOST/DATABASE#SEARCH`.

    Raises:
        InputError: It is an address of another kind, or has a password in it.
    """
    if "://" not in str(where):
        return _File(Path(where))
    return _Database(str(where))


class _File(Shared):
    """Optuna's journal, and beside it a folder with a file for each process."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file), "ibca tune")
        self._file, self._users = file, file.with_name(file.name + ".users")

    def open(self) -> BaseStorage:
        if self._file.exists() and self._file.stat().st_size:  # Optuna would write into a file of something else
            with self._file.open("rb") as file:
                first = json.loads(file.readline(_LINE).decode("utf-8-sig"))
            if not isinstance(first, dict) or "op_code" not in first:
                raise ValueError("no journal")
        return JournalStorage(JournalFileBackend(str(self._file)))

    def mend(self) -> None:
        if self._half():
            lock = JournalFileSymlinkLock(str(self._file))  # Optuna's own, which whoever writes has
            lock.acquire()
            try:
                if half := self._half():
                    os.truncate(self._file, self._file.stat().st_size - half)
            finally:
                lock.release()

    def _half(self) -> int:
        """Bytes behind the last whole line: Optuna would write its next line behind them, and could read neither."""
        with self._file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LINE))
            last = file.read()
        return len(last.rpartition(b"\n")[2]) if b"\n" in last else 0

    def alone(self) -> AbstractContextManager[None]:
        if self._file.exists() and regular(self._file).stat().st_size > MAX_PICTURE:
            raise OSError(errno.EINVAL, f"more than {MAX_PICTURE} bytes", str(self._file))
        self._file.parent.mkdir(parents=True, exist_ok=True)
        return sole_user(self._file, _PATIENCE)

    @contextmanager
    def living(self) -> Iterator[None]:
        path = self._users / self.token
        try:
            with ExitStack() as stack:
                with self.alone():  # or one that ends would remove the folder before there is a file in it
                    self._users.mkdir(exist_ok=True)
                    stack.enter_context(sole_user(path))
                yield
        finally:
            with suppress(HeldError), self.alone():  # a file that is left is removed by `lives`
                path.unlink(missing_ok=True)
                with suppress(OSError):
                    self._users.rmdir()

    def lives(self, token: str) -> bool:
        path = self._users / token
        if not path.exists():
            return False
        try:
            with sole_user(path):
                path.unlink()
                return False
        except HeldError:
            return True


class _Database(Shared):
    """Tables of Optuna in PostgreSQL, and its advisory locks, which end with the connection."""

    def __init__(self, address: str) -> None:
        from sqlalchemy import create_engine, make_url
        from sqlalchemy.exc import ArgumentError

        address, _, search = address.partition("#")
        form = f"--storage FILE, or {_SCHEME}USER@HOST/DATABASE#SEARCH"
        try:
            url = make_url(address)
        except ArgumentError:
            raise InputError(form, "an address that is none", "correct it") from None
        if url.password is not None or "password" in url.query:
            fix = "put it into PGPASSWORD or ~/.pgpass: a command line is seen by others"
            raise InputError("--storage without a password", "one", fix)
        if not address.startswith(_SCHEME) or not url.database:
            raise InputError(form, url.render_as_string(), "correct it")
        super().__init__(f"{url.render_as_string()}#{search}", f"ibca tune {search}".strip())
        self._url = url.set(drivername="postgresql+psycopg", query={**_KEPT_ALIVE, **url.query})
        try:
            self._engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        except ImportError:
            fix = "pip install 'ibca-lightning[postgresql]'"
            raise InputError(f"psycopg for --storage {_SCHEME}", "none", fix) from None

    def open(self) -> BaseStorage:
        return RDBStorage(self._url.render_as_string(), engine_kwargs={"pool_pre_ping": True})

    def alone(self) -> AbstractContextManager[None]:
        return self._locked("alone", _PATIENCE)

    def living(self) -> AbstractContextManager[None]:
        return self._locked(self.token)

    def lives(self, token: str) -> bool:
        try:
            with self._locked(token):
                return False
        except HeldError:
            return True

    @contextmanager
    def _locked(self, name: str, patience: float = 0.0) -> Iterator[None]:
        from sqlalchemy import func, select
        from sqlalchemy.exc import SQLAlchemyError

        digest = hashlib.sha256(f"{self.study}/{name}".encode()).digest()
        key, end = int.from_bytes(digest[:8], signed=True), time.monotonic() + patience
        with self._engine.connect() as connection:
            while not connection.scalar(select(func.pg_try_advisory_lock(key))):
                if time.monotonic() >= end:
                    raise HeldError(f"{self.place} free for a moment", "another process at it", "try again")
                time.sleep(0.05)
            try:
                yield
            finally:
                try:
                    connection.scalar(select(func.pg_advisory_unlock(key)))
                except SQLAlchemyError:  # it was lost, and the lock with it: what was done meanwhile is no failure
                    connection.invalidate()


def reason(error: Exception) -> Any:
    """The first line of what a database says."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
