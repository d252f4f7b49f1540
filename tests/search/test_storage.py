"""Where processes of a search meet: what breaks between them is no failure of the search."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ibca_lightning.search import storage
from ibca_lightning.search.storage import shared_by
from ibca_lightning.search.study import Search
from ibca_lightning.system.errors import InputError


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


def search(file: Path) -> Search:
    return Search(shared_by(file), "out", {}, {"a": {"uniform": [0.0, 1.0]}}, 0, "random", "none")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """With two trials that are done."""
    begun = search(tmp_path / "s.journal")
    for score in (0.25, 0.5):
        trial = begun.ask(9)
        assert trial is not None
        begun.tell(trial.number, score)
    return tmp_path / "s.journal"


@pytest.mark.parametrize(
    "data",
    [b"notes\n", b"notes", b"{}\n", b"[]\n1\n", b"\x89PNG\r\n\x1a\n\0", b"[" * 100_000, b'{"op_code":99}\n', b"\n"],
)
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a journal of ibca tune to write at .*notes\.txt, got .*; give another"):
        search(path)
    assert path.read_bytes() == data


def test_what_is_left_of_a_line_that_could_not_be_written_costs_no_trial(journal: Path) -> None:
    """Of a full disk: Optuna would write the next line behind it, and then nobody could read the file."""
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x')
    begun = search(journal)
    trial = begun.ask(9)
    assert trial is not None
    begun.tell(trial.number, 0.75)
    assert [each.score for each in search(journal).trials] == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("values", [b"[NaN]", b'["x"]', b"[0.5,1]", b"[]", b"[1e999]"])
def test_a_score_that_was_changed_is_refused_in_one_line(values: bytes, journal: Path) -> None:
    data = journal.read_bytes()
    assert b"[0.5]" in data
    journal.write_bytes(data.replace(b"[0.5]", values))
    with pytest.raises(InputError, match=r"a journal of ibca tune .*s\.journal, got a file that .*changed; give"):
        list(search(journal).trials)


def test_a_journal_beyond_measure_is_not_read(journal: Path) -> None:
    with journal.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match=r"s\.journal, got more than 1073741824 bytes; give another --storage"):
        search(journal)
