"""Where processes of a search meet: what breaks between them is no failure of the search."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ibca_lightning.search import storage
from ibca_lightning.search.storage import shared_by


class Connection:
    """Of a database that is lost when `lost` is set."""

    def __init__(self) -> None:
        self.lost, self.invalidated, self.said = False, False, list[str]()

    def connect(self) -> "Connection":
        return self

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def scalar(self, statement: object) -> bool:
        from sqlalchemy.exc import OperationalError

        self.said.append(str(statement))
        if self.lost:
            raise OperationalError(str(statement), {}, Exception("server closed the connection unexpectedly"))
        return True

    def invalidate(self) -> None:
        self.invalidated = True


def test_a_connection_that_is_lost_does_not_undo_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, addresses = Connection(), []

    def create_engine(url: Any, **options: Any) -> Connection:
        addresses.append(url)
        return connection

    monkeypatch.setattr("sqlalchemy.create_engine", create_engine)
    shared = shared_by("postgresql://me@host/trials?keepalives_idle=5#a")
    assert shared.place == "postgresql://me@host/trials?keepalives_idle=5#a"
    assert {**addresses[0].query} | {"keepalives_interval": ""} == {
        "keepalives": "1", "keepalives_idle": "5", "keepalives_interval": "", "keepalives_count": "6",
    }  # fmt: skip
    with shared.living():
        pass
    assert (len(connection.said), connection.invalidated) == (2, False)
    with shared.living():
        connection.lost = True
    assert (len(connection.said), connection.invalidated) == (4, True), "or the pool would keep the lock"


def test_a_task_that_begins_while_the_last_one_ends_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_PATIENCE", 0.0)
    ends, begins = shared_by(tmp_path / "journal"), shared_by(tmp_path / "journal")
    mkdir = Path.mkdir
    with ExitStack() as stack:
        stack.enter_context(ends.living())

        def made(path: Path, *given: Any, **options: Any) -> None:
            mkdir(path, *given, **options)
            if path.suffix == ".users":
                stack.close()

        monkeypatch.setattr(Path, "mkdir", made)
        with begins.living(), ends.alone():
            assert not ends.lives(ends.token)
            assert ends.lives(begins.token)
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]
