"""The rows of one split: pictures, labels, groups, kept as flat arrays that worker processes share."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.columns_of_text import Cells
from ibca_lightning.data.storage import common_folder
from ibca_lightning.data.tables.distinct import all_differ, distinct
from ibca_lightning.data.tables.groups.group_cells import wrong_group
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.tables.paths import absent, are_plain, inside, missing, suggestion
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError


@dataclass(frozen=True)
class Table:
    """N rows of a data set. Text is UTF-8 in arrays of bytes: 100,000 Python strings would be copied by every worker.

    Attributes:
        file: The CSV file the rows come from.
        folder: The picture folder.
        lines: (N,) int32, the line of each row in `file`.
        names: (N,) bytes, the path of each picture relative to `folder`, in POSIX form: its id.
        labels: (N, L) int8 in {0, 1, -1}.
        groups: (N,) bytes, the group (patient, source) of each row; its own name where there are no groups.
        subgroups: For each column kept for the report by subgroup, (N,) bytes.
    """

    file: str
    folder: str
    lines: NDArray[np.int32]
    names: NDArray[np.bytes_]
    labels: NDArray[np.int8]
    groups: NDArray[np.bytes_]
    subgroups: Mapping[str, NDArray[np.bytes_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """Name a row for a message, as `FILE, line 12`."""
        return f"{self.file}, line {self.lines[row]}"

    def name(self, row: int) -> str:
        """Return the id of a row's picture."""
        return decode(self.names[row])

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Return the table of some rows only."""
        return replace(
            self,
            lines=self.lines[rows],
            names=self.names[rows],
            labels=self.labels[rows],
            groups=self.groups[rows],
            subgroups={name: column[rows] for name, column in self.subgroups.items()},
        )


def joined(tables: Sequence[Table]) -> Table:
    """Return the rows of several splits of one file as one table, in the file's order."""
    first = tables[0]
    if len(tables) == 1:
        return first
    whole = replace(first, names=np.concatenate([table.names for table in tables]), **_stacked(tables))
    return whole.take(np.argsort(whole.lines, kind="stable"))


def _stacked(tables: Sequence[Table]) -> dict[str, Any]:
    """What rows of several tables have beside their names."""
    columns = ("lines", "labels", "groups")
    return {name: np.concatenate([getattr(table, name) for table in tables]) for name in columns} | {
        "subgroups": {name: np.concatenate([table.subgroups[name] for table in tables]) for name in tables[0].subgroups}
    }


@dataclass(frozen=True)
class _Pool(Table):
    """Rows of several files; `source` (N,) int8 says from which each is."""

    files: tuple[str, ...] = ()
    source: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, dtype=np.int8))

    def where(self, row: int) -> str:
        """Name a row for a message."""
        return f"{self.files[self.source[row]]}, line {self.lines[row]}"

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Return the table of some rows only."""
        return replace(super().take(rows), source=self.source[rows])


def pooled(tables: Sequence[Table]) -> Table:
    """Return the rows of tables of one data set as one, the pictures named from the folder that holds all of them."""
    places = {(table.file, table.folder) for table in tables}
    if len(places) == 1:
        return joined(tables)
    folder = common_folder([table.folder for table in tables])
    names = []
    for table in tables:
        below = os.path.relpath(table.folder, folder).replace(os.sep, "/")
        names += [table.name(row) if below == "." else f"{below}/{table.name(row)}" for row in range(len(table))]
    return _Pool(
        file=" and ".join(dict.fromkeys(table.file for table in tables)),
        folder=folder,
        names=encode(names),
        **_stacked(tables),
        files=tuple(table.file for table in tables),
        source=np.repeat(np.arange(len(tables), dtype=np.int8), [len(table) for table in tables]),
    )


def decode(text: np.bytes_) -> str:
    """Return the string of one element of an array of bytes."""
    return bytes(text).decode()


def encode(texts: Cells) -> NDArray[np.bytes_]:
    """Return an array of bytes of some strings; one that is given as it is."""
    if isinstance(texts, np.ndarray):
        return texts
    try:
        return np.array(list(map(str.encode, texts)), dtype=np.bytes_)
    except UnicodeEncodeError as error:
        raise InputError("names that are UTF-8", repr(error.object), "rename the file") from None


def build_table(
    sheet: Sheet,
    class_names: Sequence[str],
    names: Cells,
    root: str,
    folder: str,
    *,
    labels: NDArray[np.int8] | None = None,
    groups: Cells | None = None,
    subgroup_columns: Sequence[str] = (),
) -> Table:
    """Make the table of a split from its text, and check that every picture is there, inside the root, and only once.

    Args:
        sheet: The text.
        class_names: The label columns.
        names: For each row the path of its picture, relative to `folder`.
        root: The folder of the data set, which no path may leave.
        folder: The picture folder.
        labels: (N, L), made by a `LabelPolicy`; None reads the label columns, where -1 and blanks are unknown.
        groups: For each row its group; None where every picture is its own.
        subgroup_columns: Columns kept beside the labels.

    Raises:
        InputError: With file and line, where a row is wrong.
        ValueError: If `labels` are not (N, L).
    """
    labels = LabelPolicy().cells(sheet, class_names) if labels is None else labels
    if labels.shape != (len(sheet), len(class_names)):
        raise ValueError(f"labels of shape {(len(sheet), len(class_names))}, got {labels.shape}")
    ids = encode(names)
    if not are_plain(ids):
        ids = encode([inside(decode(name), root, folder, sheet.where(row)) for row, name in enumerate(ids)])
    seen: dict[bytes, int] = {}
    for row, name in enumerate(ids.tolist()) if not all_differ(ids) else ():
        if seen.setdefault(name, row) != row:
            got = f"'{name.decode()}' on lines {sheet.lines[seen[name]]} and {sheet.lines[row]}"
            raise InputError(f"every picture once in {sheet.file}", got, "remove one of the rows")
    gone = absent(folder, ids)
    if gone:
        fix = suggestion(folder, decode(ids[gone[0]])) or "check image_dir and the row, or restore the file"
        pictures = [(os.path.join(folder, decode(ids[row])), sheet.where(row)) for row in gone]
        raise missing([f"a picture at {path} ({where})" for path, where in pictures], fix)
    of_patients = ids if groups is None else encode(groups)
    if groups is not None:
        _require_groups(of_patients, sheet)
    return Table(
        file=sheet.file,
        folder=folder,
        lines=np.fromiter(sheet.lines, np.int32, len(sheet)),
        names=ids,
        labels=labels,
        groups=of_patients,
        subgroups={name: encode(sheet.cells(name)) for name in subgroup_columns},
    )


def _require_groups(groups: NDArray[np.bytes_], sheet: Sheet) -> None:
    names, of_rows = distinct(groups)
    for at, name in enumerate(names.tolist()):
        if (wrong := wrong_group(name.decode())) is not None:
            row = int((of_rows == at).argmax())
            columns = (name for name in sheet.header if np.array_equal(encode(sheet.column(name)), groups))
            column = next((f"column '{name}' of " for name in columns), "")
            raise InputError(f"a group in {column}{sheet.where(row)}", *wrong)
