"""The rows of one split: pictures, labels, groups, kept as flat arrays that worker processes share."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.labels import read_labels
from ibca_lightning.data.sheet import Sheet
from ibca_lightning.errors import InputError

# In the order in which they are tried; the first is for an id that carries its extension.
_EXTENSIONS = ("", ".png", ".tif", ".jpg", ".jpeg", ".tiff", ".PNG", ".TIF", ".JPG", ".JPEG", ".TIFF")


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

    def take(self, rows: NDArray[np.intp]) -> "Table":
        """Return the table of some rows only."""
        return replace(
            self,
            lines=self.lines[rows],
            names=self.names[rows],
            labels=self.labels[rows],
            groups=self.groups[rows],
            subgroups={name: column[rows] for name, column in self.subgroups.items()},
        )


def decode(text: np.bytes_) -> str:
    """Return the string of one element of an array of bytes."""
    return bytes(text).decode()


def encode(texts: Sequence[str]) -> NDArray[np.bytes_]:
    """Return an array of bytes of some strings."""
    return np.array([text.encode() for text in texts], dtype=np.bytes_)


def build_table(
    sheet: Sheet,
    class_names: Sequence[str],
    names: Sequence[str],
    root: str,
    folder: str,
    *,
    groups: Sequence[str] | None = None,
    subgroup_columns: Sequence[str] = (),
) -> Table:
    """Make the table of a split from its text, and check that every picture is there, inside the root, and only once.

    Args:
        sheet: The text.
        class_names: The label columns.
        names: For each row the path of its picture, relative to `folder`.
        root: The folder of the data set, which no path may leave.
        folder: The picture folder.
        groups: For each row its group; None where every picture is its own.
        subgroup_columns: Columns kept beside the labels.

    Returns:
        The table.

    Raises:
        InputError: With file and line, where a row is wrong.
    """
    labels = read_labels(sheet, class_names)
    names = [inside(name, root, folder, sheet.where(row)) for row, name in enumerate(names)]
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if seen.setdefault(name, row) != row:
            raise InputError(
                f"every picture once in {sheet.file}",
                f"'{name}' on lines {sheet.lines[seen[name]]} and {sheet.lines[row]}",
                "remove one of the rows",
            )
    gone = absent(folder, names)
    for row in gone[:1]:
        raise InputError(
            f"a picture at {os.path.join(folder, names[row])} ({sheet.where(row)})",
            "nothing there" + (f", as on {len(gone) - 1} further lines" if len(gone) > 1 else ""),
            _suggestion(folder, names[row]) or "check image_dir and the row, or restore the file",
        )
    if groups is not None:
        for row, group in enumerate(groups):
            if not group:
                raise InputError(f"a group in {sheet.where(row)}", "a blank", "fill in the group column")
    return Table(
        file=sheet.file,
        folder=folder,
        lines=np.array(sheet.lines, dtype=np.int32),
        names=encode(names),
        labels=labels,
        groups=encode(names if groups is None else groups),
        subgroups={name: encode(sheet.column(name)) for name in subgroup_columns},
    )


def check_root(root: str, fix: str = "correct data.root") -> None:
    """Check that the folder of a data set is there.

    Raises:
        InputError: If it is not, with `fix` as what to do.
    """
    if not os.path.isdir(root):
        got = "a file" if os.path.exists(root) else "nothing there"
        raise InputError(f"the folder of the data set (data.root) at {root}", got, fix)


def first_present(root: str, candidates: Sequence[str], fix: str) -> str:
    """Return the first path below a root that exists.

    Raises:
        InputError: If none does, with `fix` as what to do.
    """
    for name in candidates:
        if os.path.exists(os.path.join(root, name)):
            return os.path.join(root, name)
    raise InputError(f"{' or '.join(candidates)} in {root}", "nothing there", fix)


def find_pictures(sheet: Sheet, ids: Sequence[str], folder: str) -> list[str]:
    """Find the file names of ids that a data set gives without extension.

    Args:
        sheet: The table, for messages.
        ids: For each row an id, with or without extension.
        folder: The picture folder.

    Returns:
        For each row the name of its file in the folder.

    Raises:
        InputError: If there is no file for an id.
    """
    entries = set(os.listdir(folder))
    names = []
    for row, name in enumerate(ids):
        found = next((name + end for end in _EXTENSIONS if name + end in entries), None)
        # What is not in the folder itself goes on as it is, for build_table to judge: a path, or one that leaves it.
        if found is None and "/" not in name and "\\" not in name:
            raise InputError(
                f"a picture {name or 'ID'}{'|'.join(_EXTENSIONS[1:4])} in {folder} ({sheet.where(row)})",
                "nothing there",
                "restore the picture or remove the row",
            )
        names.append(found or name)
    return names


def inside(name: str, root: str, folder: str, where: str) -> str:
    """Check that a path stays in the root, by its text: a symbolic link in the root is the user's choice.

    Args:
        name: A path relative to `folder`, or an absolute one.
        root: The folder of the data set.
        folder: The folder the path is relative to.
        where: File and line, or the option, for the message.

    Returns:
        The path relative to `folder`, in POSIX form and without `.` or doubled slashes.

    Raises:
        InputError: If the path is blank, holds `..`, or is absolute and outside the root.
    """
    if not name:
        raise InputError(f"the path of a picture in {where}", "a blank", "fill in the path or remove the row")
    if ".." in re.split(r"[/\\]", name):
        raise InputError(f"a path below {folder} in {where}", f"'{name}'", "write a path without '..'")
    if os.path.isabs(name):
        path = os.path.normpath(name)
        if not path.startswith(os.path.join(os.path.abspath(root), "")):
            raise InputError(f"a path inside {root} in {where}", f"'{name}'", "write a path relative to that folder")
        name = os.path.relpath(path, os.path.abspath(folder))
    return os.path.normpath(name).replace(os.sep, "/")


def absent(folder: str, names: Sequence[str]) -> list[int]:
    """Find the rows whose file does not exist.

    Each folder is listed once: on network storage asking for 100,000 files one by one takes minutes.

    Args:
        folder: The picture folder.
        names: Paths relative to it.

    Returns:
        The rows, in order.
    """
    listed: dict[str, set[str]] = {}
    rows = []
    for row, name in enumerate(names):
        head, tail = os.path.split(name)
        if head not in listed:
            try:
                with os.scandir(os.path.join(folder, head)) as entries:
                    listed[head] = {entry.name for entry in entries if not entry.is_dir()}
            except OSError:
                listed[head] = set()
        # A file system that ignores case, or normalises Unicode, finds what the listing spells otherwise.
        if tail not in listed[head] and not os.path.isfile(os.path.join(folder, name)):
            rows.append(row)
    return rows


def _suggestion(folder: str, name: str) -> str:
    head, tail = os.path.split(os.path.join(folder, name))
    if not os.path.isdir(head):
        return f"there is no folder {head}: check root and image_dir"
    similar = [entry for entry in sorted(os.listdir(head)) if os.path.splitext(entry)[0] == tail]
    return f"write the extension, as in {similar[0]}" if similar else ""
