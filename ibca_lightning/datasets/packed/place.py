"""Where a pack lies: a folder, or what an object store such as S3 has instead, told by its address."""

import os
import shutil
from pathlib import Path

from ibca_lightning.data import storage
from ibca_lightning.data.storage import remote
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import refuse_credentials
from ibca_lightning.system.strangers import MAX_TABLE
from ibca_lightning.system.whole_files import whole

_RESTORE = "restore it, or write the pack again with `ibca pack`"


class Place:
    """A folder, or an address such as `s3://bucket/folder`; its files by their names below it.

    Credentials are where the tools of a store look for them: its environment and its files. None is kept here.

    Args:
        root: The folder or the address.

    Raises:
        InputError: If it is an address with credentials, or of no kind that `storage` reads.

    Attributes:
        remote: Whether it is an address.
    """

    def __init__(self, root: str) -> None:
        refuse_credentials(root, "the place of a pack")
        self.root, self.remote = root.rstrip("/") or root, storage.is_remote(root)
        if "://" in root and not self.remote:
            fix = "give one of these, or mount the storage and give its folder"
            expected = "a folder, or an address of s3://, gs:// or https://, as the place of a pack"
            raise InputError(expected, f"{root.partition('://')[0]}://", fix)

    def read(self, name: str, most: int = MAX_TABLE) -> bytes | None:
        """Return the first bytes of a file; None where there is no such file."""
        try:
            return storage.beginning(self.path(name), most)
        except FileNotFoundError:
            return None

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of each file of a folder, by its name in it; none where there is no such folder."""
        path = self.path(folder)
        try:
            if self.remote:
                return remote.sizes(path)
            return {name: os.path.getsize(os.path.join(path, name)) for name in storage.names(path)}
        except FileNotFoundError:
            return {}

    def fetch(self, name: str, file: str, most: int) -> None:
        """Copy a file of a store, of so many bytes at most, to this machine, whole or not at all.

        Raises:
            InputError: If nothing is there, it is larger, it cannot be read, or the copy cannot be written.
        """
        try:
            with whole(file) as part:
                remote.copy(self.path(name), part, most)
        except FileNotFoundError:
            raise InputError(f"a file of a pack at {self.path(name)}", "nothing there", _RESTORE) from None
        except OSError as error:
            fix = "make room, lower data.local_gb, or set data.cache_dir to another folder"
            where = os.path.dirname(file)
            raise InputError(f"a folder for copies of shards at {where}", error.strerror, fix) from None

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all.

        Raises:
            InputError: If a store refuses it, or has no such bucket.
        """
        if self.remote:
            try:
                remote.write(self.path(name), data)
            except FileNotFoundError:
                raise InputError(f"a bucket for {self.path(name)}", "none", "make it, or correct --output") from None
            return
        with whole(self.path(name)) as part:
            part.write_bytes(data)

    def put(self, file: str, name: str) -> None:
        """Move a file of this machine, which for a folder lies on its disk, to its place, whole or not at all."""
        if self.remote:
            remote.put(file, self.path(name))
            Path(file).unlink()
            return
        with whole(self.path(name)) as part:
            shutil.move(file, part)

    def path(self, name: str) -> str:
        """Return path or address of a file."""
        return f"{self.root}/{name}" if self.remote else os.path.join(self.root, name)
