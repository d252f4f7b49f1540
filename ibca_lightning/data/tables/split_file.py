"""A split as a file, `id,group,split`: written into the run folder, and read again to repeat it on the same table."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.table import Table, decode, joined
from ibca_lightning.system.errors import InputError, first_of
from ibca_lightning.system.whole_files import write_csv

COLUMNS = ("id", "group", "split")


class TrainingRows(NamedTuple):
    """Names, groups and subgroups (by column) of the rows that are trained on, in the order of `index`."""

    ids: list[str]
    groups: list[str]
    subgroups: dict[str, list[str]]


def training_rows(files: Mapping[str, Mapping[str, Table]], rename: Callable[[str], str]) -> TrainingRows:
    """Read them off the tables of `split_files`; of joined sets, a column that not all of them have is left out."""
    rows = TrainingRows([], [], {})
    for suffix, tables in files.items():
        table, before = tables["train"], f"{suffix[1:]}/" if suffix else ""  # as joined sets name them
        rows.ids.extend(rename(before + table.name(row)) for row in range(len(table)))
        rows.groups.extend(before + decode(group) for group in table.groups)
        for column, values in table.subgroups.items():
            rows.subgroups.setdefault(column, []).extend(map(decode, values))
    whole = {column: values for column, values in rows.subgroups.items() if len(values) == len(rows.ids)}
    return rows._replace(subgroups=whole)


_SPLITS = ("train", "val", "test")


class _Entry(NamedTuple):
    split: str
    row: int


def split_rows(
    tables: Mapping[str, Table], rename: Callable[[str], str] = str
) -> Iterator[tuple[str, str, str]]:  # fmt: skip
    """Yield id, group and split of every row: training, validation, test."""
    for split, table in sorted(tables.items(), key=lambda item: _SPLITS.index(item[0])):
        for name, group in zip(table.names, table.groups, strict=True):
            yield rename(decode(name)), rename(decode(group)), split


def write_splits(
    path: str | os.PathLike[str], tables: Mapping[str, Table], rename: Callable[[str], str] = str
) -> None:  # fmt: skip
    """Write the split of every row; a file that says the same already is left alone, and groups named otherwise too.

    `rename` is what becomes of the names of pictures and groups, as when they are read again.

    Raises:
        InputError: If the file holds other splits: a run that goes on must not validate on what it has trained on.
    """
    rows = [COLUMNS, *split_rows(tables, rename)]
    if os.path.exists(path):
        sheet = read_sheet(os.fspath(path))
        if [tuple(row)[::2] for row in (sheet.header, *sheet.rows)] != [row[::2] for row in rows]:
            fix = f"give --data.splits {path} with tables of the same pictures, or start a new run"
            raise InputError(f"the splits that this run began with, {path}", "others", fix)
        return
    write_csv(path, rows)


def trained_on(path: str | os.PathLike[str]) -> frozenset[str] | None:
    """The pictures that a run trained on, as its file says; None where there is no file of ours."""
    rows = read_splits(path)
    return None if rows is None else frozenset(name for name, split in rows if split == "train")


def read_splits(path: str | os.PathLike[str]) -> list[tuple[str, str]] | None:
    """Name and split of each picture of a run, as its file says; None where there is no file of ours."""
    if not os.path.isfile(path) or tuple((sheet := read_sheet(os.fspath(path))).header) != COLUMNS:
        return None
    return [(name, split) for name, _, split in sheet.rows]


def apply_splits(
    path: str, tables: Mapping[str, Table], rename: Callable[[str], str] = str
) -> dict[str, Table]:  # fmt: skip
    """Divide the rows as a file of `write_splits` says, each split in the order of its table.

    Rows move between splits of one table only, that is between those that would be split off from it by share: a row of
    an official test table stays there. Groups are those of the tables: their spelling may have been corrected since.

    Raises:
        InputError: If the file and the tables do not hold the same rows, or train or val is empty.
    """
    sheet = read_sheet(path)
    if tuple(sheet.header) != COLUMNS:
        raise InputError(f"the columns {', '.join(COLUMNS)} in {path}", ", ".join(sheet.header), "give RUN/splits.csv")
    entries: dict[str, list[_Entry]] = {}
    for row, (name, _, split) in enumerate(sheet.rows):
        if split not in _SPLITS:
            raise InputError(f"train, val or test in {sheet.where(row)}", f"'{split}'", "give RUN/splits.csv")
        entries.setdefault(name, []).append(_Entry(split, row))
    pools: dict[tuple[str, str], dict[str, Table]] = {}
    for split, table in tables.items():
        pools.setdefault((table.file, table.folder), {})[split] = table
    result: dict[str, Table] = {}
    for pool in pools.values():
        # A split that no table gives is one that the file's run had split off from training.
        own = {*pool, *((set(_SPLITS) - set(tables)) if "train" in pool else ())}
        result |= _divided(joined(list(pool.values())), own, entries, sheet, rename)
    left = [entry.row for found in entries.values() for entry in found]
    if left:
        raise _differ(path, "rows of the tables only", [sheet.where(row) for row in sorted(left)])
    for split in ("train", "val"):
        if split not in result:
            raise InputError(f"rows of {split} in {path}", "none", "give the splits.csv of a run that trained")
    return {split: result[split] for split in _SPLITS if split in result}


def _divided(
    table: Table, own: set[str], entries: dict[str, list[_Entry]], sheet: Sheet, rename: Callable[[str], str]
) -> dict[str, Table]:  # fmt: skip
    """Divide one table, and take its entries out of the file's."""
    rows: dict[str, list[int]] = {}
    missing = []
    for row in range(len(table)):
        name = rename(table.name(row))
        here = [entry for entry in entries.get(name, ()) if entry.split in own]
        if len(here) > 1:
            raise _differ(sheet.file, f"'{name}' once", [sheet.where(entry.row) for entry in here])
        if not here:
            missing.append(table.where(row))
            continue
        entries[name].remove(here[0])
        rows.setdefault(here[0].split, []).append(row)
    if missing:
        raise _differ(sheet.file, f"every row of {table.file} in one of {', '.join(sorted(own))}", missing)
    return {split: table.take(np.array(at)) for split, at in rows.items()}


def _differ(path: str, expected: str, places: Sequence[str]) -> InputError:
    fix = "give the splits.csv of a run on these tables, and --hash_names where it had that"
    return InputError(f"{expected} in {path}", f"another at {first_of(places, 3)}", fix)
