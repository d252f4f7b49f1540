"""What `ibca predict --images` writes, batch by batch, so that a run that was stopped goes on where it was.

`predictions.csv` grows by whole rows. What a killed process left of a row is cut off by the next one. `predict.json`
says what the rows were made with: a run with other checkpoints, pictures or options does not mix its rows with them.
"""

import csv
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user
from ibca_lightning.system.strangers import read_object, regular, told
from ibca_lightning.system.whole_files import csv_lines, write_json

RECORD = "predict.json"


class PredictionFiles:
    """`predictions.csv`, `failed.csv` and `predict.json` of one folder.

    Args:
        folder: Where they lie; made if it is not there.
        record: What the rows depend on, as plain data.
        header: Of `predictions.csv`.
        patience: Seconds to wait for another process.

    Attributes:
        failures: How many rows of `failed.csv` there are.
        reason: Of the first of them.

    Raises:
        InputError: The folder holds predictions of another record, cannot be written, or another process is at it.
    """

    def __init__(self, folder: Path, record: dict[str, Any], header: Sequence[str], patience: float = 0.0) -> None:
        self.path, self.failed_path, self.failures = folder / "predictions.csv", folder / "failed.csv", 0
        self.reason, self._found = "", b""  # the rows that were there, until they are looked at
        self._record, self._columns, self._header = record, header, _lines([header])
        self._failed: BinaryIO | None = None
        with ExitStack() as stack:  # what is open is closed where the rest fails
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(sole_user(folder, patience))
                for path in (self.path, self.failed_path, folder / RECORD):
                    if path.exists():
                        regular(path)
                self._take_up(folder / RECORD, record)
                self._file: BinaryIO = stack.enter_context(self.path.open("ab"))
                if self._file.tell() == 0:
                    self._append(self._file, self._header)
            except OSError as error:
                expected = f"a folder to write in at --output {folder}"
                raise InputError(expected, error.strerror, "give another one") from error
            self._open = stack.pop_all()

    @cached_property
    def done(self) -> set[str]:
        """Ids that had a row when the files were opened. Of millions it takes seconds, and needs no lock."""
        data, self._found = self._found, b""
        try:
            return {row[0] for row in _read(data[len(self._header) :])}
        except (ValueError, csv.Error) as error:
            expected = f"rows of ibca predict in {self.path}"
            raise InputError(expected, told(error), "give another --output, or remove it") from error

    def try_again(self) -> None:
        """Forget which pictures failed."""
        self.failed_path.unlink(missing_ok=True)

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Write rows of `predictions.csv`, id first."""
        self._append(self._file, _lines(rows))

    def fail(self, rows: Sequence[tuple[str, str]]) -> None:
        """Write rows of `failed.csv`: id and reason."""
        if rows and self._failed is None:
            self._failed = self._open.enter_context(self.failed_path.open("ab"))
            self._append(self._failed, _lines([("id", "reason")]))
        if rows and self._failed is not None:
            self._append(self._failed, _lines(rows))
            self.failures += len(rows)
            self.reason = self.reason or rows[0][1]

    def take(self, part: Path) -> list[tuple[str, str]]:
        """Take over the rows of another such folder, of the same record, but those that are here; remove the folder.

        Returns:
            Those of its `failed.csv` that have no row here.
        """
        path = part / "failed.csv"
        failed = list(_read(path.read_bytes()))[1:] if path.exists() else []
        with closing(PredictionFiles(part, self._record, self._columns)) as other:
            self.add(row for row in _read(other.path.read_bytes()[len(self._header) :]) if row[0] not in self.done)
            self.done |= other.done
        other.path.unlink()  # first: rows without their record would be refused, where this process is killed now
        shutil.rmtree(part)
        return [(name, reason) for name, reason in failed if name not in self.done]

    def close(self) -> None:
        """Close the files, and let others write into the folder."""
        self._open.close()

    def _take_up(self, path: Path, record: dict[str, Any]) -> None:
        """Go on with the rows that are there, if they are of this record."""
        if not path.is_file() and not self.path.exists():
            write_json(path, record)
            return
        before: dict[str, Any] = {}
        with suppress(ValueError, FileNotFoundError):
            before = read_object(path)
        if before != record:
            others = sorted(name for name in {*record, *before} if before.get(name) != record.get(name))
            raise InputError(
                f"predictions of the same {', '.join(others) or 'version'} in {path.parent}", "those of another run",
                "give another --output, or remove its files",
            )  # fmt: skip
        if self.path.exists():
            data = self.path.read_bytes()
            end = _end(data)
            if end and not data.startswith(self._header):
                raise InputError(f"the columns of these classes in {self.path}", "others", "give another --output")
            os.truncate(self.path, end)
            self._found = data[:end]

    @staticmethod
    def _append(file: BinaryIO, data: bytes) -> None:
        file.write(data)
        file.flush()  # to the system, which outlives this process


def _end(data: bytes) -> int:
    """Where the last whole row ends."""
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while quotes % 2:  # an id may hold a line break: a row ends where every quote is closed
        start = data.rfind(b"\n", 0, end - 1) + 1
        quotes, end = quotes - data.count(b'"', start, end), start
    return end


def _read(data: bytes) -> Iterator[list[str]]:
    return filter(None, csv.reader(io.StringIO(data.decode(), newline="")))


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    return "".join(csv_lines(rows)).encode("utf-8", "backslashreplace")
