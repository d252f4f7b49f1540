"""A row for each picture that is done, batch by batch, so that a command that was stopped goes on where it was.

Of `ibca predict --images` it is `predictions.csv`, which grows by whole rows. What a killed process left of a row is
cut off by the next one. `predict.json` says what the rows were made with: a run with other checkpoints, pictures or
options does not mix its rows with them.
"""

import csv
import io
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user
from ibca_lightning.system.output import write_err
from ibca_lightning.system.strangers import MAX_PICTURE, read_bytes, read_object, regular, told
from ibca_lightning.system.whole_files import csv_lines, naming, write_json

_MOST = 8 * MAX_PICTURE  # bytes of a file of rows: tens of millions


class Kind(NamedTuple):
    """What a command writes.

    Attributes:
        rows: The file of its rows.
        record: The file that says what they depend on.
        what: They are, for messages.
        fix: What to do where those of another run are there.
        longer: Rows may have more cells than the header.
    """

    rows: str = "predictions.csv"
    record: str = "predict.json"
    what: str = "predictions"
    fix: str = "give another --output, or remove its files"
    longer: bool = False


PREDICTIONS = Kind()


class RowFiles:
    """Rows, `failed.csv` and the record of one folder.

    Args:
        folder: Where they lie; made if it is not there.
        record: What the rows depend on, as plain data.
        header: Of the rows.
        patience: Seconds to wait for another process.
        kind: Of the rows.
        anew: Forget rows that are there.

    Attributes:
        failures: How many rows of `failed.csv` there are.
        reason: Of the first of them.

    Raises:
        InputError: The folder holds rows of another record, cannot be written, or another process is at it.
    """

    def __init__(
        self, folder: Path, record: dict[str, Any], header: Sequence[str], patience: float = 0.0,
        kind: Kind = PREDICTIONS, anew: bool = False,
    ) -> None:  # fmt: skip
        self.path, self.failed_path, self.failures = folder / kind.rows, folder / "failed.csv", 0
        self.reason, self._kind = "", kind
        self._written = 0  # when the last row that was there was, in ns
        self._found = b""  # the rows that were there, until they are looked at
        self._record, self._columns, self._header = record, header, _lines([header])
        self._failed: BinaryIO | None = None
        with ExitStack() as stack:  # what is open is closed where the rest fails
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(sole_user(folder, patience))
                for path in (self.path, self.failed_path, folder / kind.record):
                    if path.exists():
                        regular(path)
                    if anew:
                        path.unlink(missing_ok=True)
                self._take_up(folder / kind.record, record)
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
        return {row[0] for row in self._rows_of(self.path, data, len(self._columns))}

    def rows(self) -> Iterator[list[str]]:
        """All rows."""
        yield from self._rows_of(self.path, read_bytes(self.path, _MOST), len(self._columns))

    def require_unchanged(self, pictures: Mapping[str, str]) -> None:
        """Refuse rows of pictures that were changed after the last row was written, and tell of such as were moved.

        One question a picture that has a row; none when it is called again, as then rows are of several times. Of
        pictures behind a URL nothing is asked.

        Args:
            pictures: Path by id.

        Raises:
            InputError: Some were.
        """
        (written, self._written), now = (self._written, 0), time.time_ns()
        changed, moved = [], []
        for name in self.done & pictures.keys() if written and pictures else ():
            with suppress(OSError, ValueError):
                stat = os.stat(pictures[name])
                if written < stat.st_mtime_ns <= now:  # a camera's clock may be wrong
                    changed.append(name)
                elif stat.st_ctime_ns > written:
                    moved.append(name)
        what = f"pictures as they were when {self.path} was written"
        same = "touch that file if they are the same"
        if changed:
            got = f"{len(changed)} that are newer, such as {min(changed)}"
            raise InputError(what, got, f"give another --output, or {same}")
        if moved:
            write_err(
                f"warning: expected {what}, got {len(moved)} moved or copied since, such as {min(moved)}; {same}\n"
            )

    def try_again(self) -> None:
        """Forget which pictures failed."""
        self.failed_path.unlink(missing_ok=True)

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Write rows, id first."""
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

    def require_all(self, number: int) -> None:
        """End with an error if some of so many pictures failed.

        Raises:
            InputError: They did.
        """
        if self.failures:
            raise InputError(
                f"pictures that can be read, all {number}", f"{self.failures} that cannot ({self.reason})",
                f"restore or remove what {self.failed_path} lists; the same command tries them again",
            )  # fmt: skip

    def take(self, part: Path, pictures: Mapping[str, str] = MappingProxyType({})) -> list[tuple[str, str]]:
        """Take over the rows of another such folder, of the same record, but those that are here; remove the folder.

        Args:
            part: The folder.
            pictures: Path by id, of rows that an earlier call wrote.

        Returns:
            Those of its `failed.csv` that have no row here.

        Raises:
            InputError: As of `require_unchanged`.
        """
        path = part / "failed.csv"
        failed = list(self._rows_of(path, read_bytes(path, _MOST), 2)) if path.exists() else []
        with closing(RowFiles(part, self._record, self._columns, kind=self._kind)) as other:
            other.require_unchanged(pictures)
            theirs = other.done  # all are looked at before one is taken
            self.add(row for row in other.rows() if row[0] not in self.done)
            self.done |= theirs
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
                f"{self._kind.what} of the same {', '.join(others) or 'version'} in {path.parent}",
                "those of another run", self._kind.fix,
            )  # fmt: skip
        if self.path.exists():
            self._written = self.path.stat().st_mtime_ns
            data = read_bytes(self.path, _MOST)
            end = _end(data)
            if end and not data.startswith(self._header) and not _same_header(data[:end], self._header):
                raise InputError(f"the columns of these classes in {self.path}", "others", "give another --output")
            if end < len(data):
                os.truncate(self.path, end)
                os.utime(self.path, ns=(time.time_ns(), self._written))  # the last row is as old as it was
            self._found = data[:end]

    def _rows_of(self, path: Path, data: bytes, columns: int) -> Iterator[list[str]]:
        """The rows behind the header, of so many columns."""
        try:
            for row in islice(_read(data), 1, None):
                if len(row) < columns or (len(row) > columns and not self._kind.longer):
                    raise ValueError(f"{len(row)} cells for {row[0]}")
                yield row
        except (ValueError, csv.Error) as error:
            expected = f"{self._kind.what} in {path}"
            raise InputError(expected, told(error), "give another --output, or remove it") from error

    @staticmethod
    def _append(file: BinaryIO, data: bytes) -> None:
        with naming(file.name):
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


def _same_header(data: bytes, header: bytes) -> bool:
    """Whether a file that another program saved again has it: with a byte-order mark, other quotes, line ends."""
    with suppress(ValueError, csv.Error):
        return next(_read(data), None) == next(_read(header))
    return False


def _read(data: bytes) -> Iterator[list[str]]:
    """Rows; strict, as a quote that nothing closes would take in the rows that are added."""
    return filter(None, csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    return "".join(csv_lines(rows)).encode("utf-8", "backslashreplace")
