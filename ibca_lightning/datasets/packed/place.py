"""Where a pack lies: a folder, or what an object store such as S3 has instead, told by its address."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fsspec.core import url_to_fs

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.whole_files import whole


class Place:
    """A folder, or an address such as `s3://bucket/folder`, that fsspec knows; its files by their names below it.

    Credentials are where the tools of a store look for them: its environment and its files. None is kept here.

    Args:
        root: The folder or the address.

    Attributes:
        remote: Whether it is an address.
    """

    def __init__(self, root: str) -> None:
        self.root, self.remote = root.rstrip("/") or root, "://" in root

    def read(self, name: str, most: int | None = None) -> bytes | None:
        """Return the first bytes of a file, or all; None where there is no such file."""
        with self._reached(name) as (store, path):
            try:
                return bytes(store.cat_file(path, end=most))
            except FileNotFoundError:
                return None

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of each file of a folder, by its name in it; none where there is no such folder."""
        with self._reached(folder) as (store, path):
            store.invalidate_cache()
            try:
                listed = store.ls(path, detail=True)
            except FileNotFoundError:
                return {}
            return {each["name"].rpartition("/")[2]: each["size"] for each in listed if each["type"] == "file"}

    def fetch(self, name: str, file: str) -> None:
        """Copy a file of a store to this machine, whole or not at all."""
        with self._reached(name) as (store, path), whole(file) as part:
            store.get_file(path, str(part))

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        with self._reached(name) as (store, path):
            if self.remote:
                store.pipe_file(path, data)
                return
            with whole(path) as part:
                part.write_bytes(data)

    def put(self, file: str, name: str) -> None:
        """Move a file of this machine, which for a folder lies on its disk, to its place, whole or not at all."""
        with self._reached(name) as (store, path):
            if not self.remote:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.replace(file, path)
                return
            store.put_file(file, path)
            os.unlink(file)

    @contextmanager
    def _reached(self, name: str) -> Iterator[tuple[Any, str]]:
        """The store, as this process knows it, and a path of it.

        Raises:
            InputError: Whatever goes wrong with a store, whose tools raise errors of all kinds.
        """
        try:
            store, path = url_to_fs(self.root)
            yield store, f"{path}/{name}"
        except ImportError as error:
            fix = "pip install 'ibca-lightning[remote]'"
            raise InputError(f"a package that reaches {self.root}", f"none ({error})", fix) from None
        except Exception as error:
            if isinstance(error, InputError) or not self.remote:
                raise
            fix = "check address, credentials and connection, and give the same command again"
            got = str(error) or type(error).__name__
            raise InputError(f"{self.root}/{name} to be reached", got, fix) from None
