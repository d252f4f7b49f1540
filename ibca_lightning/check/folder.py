"""Files of a picture folder that no row of any table names."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from ibca_lightning.data import storage
from ibca_lightning.datasets.csv_table import CSVDataModule
from ibca_lightning.datasets.layouts.picture_files import only_pictures


@dataclass(frozen=True)
class FolderCount:
    """What lies in the picture folder: pictures that rows name, others, and how many files are no pictures."""

    folder: str
    named: int
    unnamed: list[str]
    passed_over: int


def count_folder(data: CSVDataModule) -> FolderCount:
    """Look through the folder of `image_dir`, or where that is the root itself, through the folders that rows name.

    Masks that lie below it, hidden files and files of tables are left out.
    """
    tables = data.split_tables().values()
    folder = next(iter(tables)).folder
    named = {name.decode() for table in tables for name in table.names.tolist()}
    heads = None if storage.real(folder) != storage.real(data.root) else {os.path.dirname(n) for n in named}
    masks = os.path.relpath(storage.real(data.masks.path), storage.real(folder)) + "/" if data.masks else None
    files = {*_files(folder, heads, masks)} - named - {os.path.relpath(str(path), folder) for path in _own(data)}
    files = _not_otherwise_named(folder, files, named)
    unnamed, others = only_pictures(folder, files)
    return FolderCount(folder, len(named), unnamed, len(others))


def _not_otherwise_named(folder: str, files: set[str], named: set[str]) -> set[str]:
    """Files behind links to folders, but those that rows name behind another link to the same folder."""
    if storage.is_remote(folder):
        return files
    heads = {head: os.path.realpath(os.path.join(folder, head)) for head in {os.path.dirname(name) for name in files}}
    if all(real == os.path.join(os.path.realpath(folder), head).rstrip("/") for head, real in heads.items()):
        return files
    real = {head: os.path.realpath(os.path.join(folder, head)) for head in {os.path.dirname(name) for name in named}}
    taken = {(real[os.path.dirname(name)], os.path.basename(name)) for name in named}
    return {name for name in files if (heads[os.path.dirname(name)], os.path.basename(name)) not in taken}


def _own(data: CSVDataModule) -> Iterator[str]:
    for name in data.csv.values():
        if name is not None:
            yield os.path.join(data.root, name)


def _files(folder: str, heads: set[str] | None, masks: str | None) -> Iterator[str]:
    """Names relative to a folder: of all below it, or of those in some folders alone."""
    for name in storage.files_below(folder):
        if (heads is None or os.path.dirname(name) in heads) and not (masks and name.startswith(masks)):
            yield name
