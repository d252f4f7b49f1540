"""Pictures as they are before augmentation, kept in a file that processes, runs and data sets share."""

import hashlib
import mmap
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.cache import Layout, Prepared, Signature, hashed
from ibca_lightning.data.pictures.reading import READER_VERSION
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import locked

# One entry of the index: which files (a hash of their paths), as the file system described them then, with which
# content, whose prepared picture lies in which slot and sums up to what; and a sum over the entry itself.
_ENTRY = np.dtype(
    [
        ("files", "<u8"),
        ("signature", "<u8", 2),
        ("content", "<u8", 2),
        ("slot", "<u8"),
        ("sum", "<u8"),
        ("check", "<u8"),
    ]
)
_SALT = np.uint64(0x9E3779B97F4A7C15)  # an entry of zeros, as a crash of the machine may leave it, is no entry


def default_folder() -> str:
    """Return where caches lie unless `cache_dir` says otherwise: `ibca_lightning` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "ibca_lightning")


class DiskCache:
    """A cache in a folder, safe to share, never stale.

    What is kept is found by the **content** of the picture's file (and its mask's): a hash of its bytes. The folder is
    named by all else that the result depends on: size, preprocessing, versions of our reader and of OpenCV. So that
    bytes need not be read and hashed each time, the index also keeps what the file system said of the file when it was
    (see `cache.Signature`); as long as it says the same, the content is the same. After any change the file is read
    and hashed again; if the content is known after all (a copied data set, a changed permission), it is not decoded.

    `pictures.bin` holds slots of equal size, only ever appended to and mapped for reading; `index.bin` holds entries of
    64 bytes, appended after the slot is written. Both are written under a lock that the system releases when a process
    ends, however it ends: one that is killed leaves a slot without an entry, which the next writer uses, or part of an
    entry, which it cuts off. Each slot is checked by its sum when it is read, so that a crash of the whole machine
    does no harm either. Nothing is ever removed; delete the folder to have the space back.

    Args:
        folder: Folder of all caches; made if it is not there.
        layout: Of one row.
        preprocessing: Plain data, as a data module has it.
        paths: For each row the path that stands for its files.

    Raises:
        InputError: If the folder cannot be written or has too little space for the rows it does not hold yet.
    """

    def __init__(self, folder: str, layout: Layout, preprocessing: Mapping[str, Any], paths: Iterable[bytes]) -> None:
        steps = [str(preprocessing[key]) for key in sorted(preprocessing, reverse=True)]
        masks = ["masks"] if layout.planes else []
        version = f"reader{READER_VERSION}-opencv{cv2.__version__}"
        self.folder = os.path.join(folder, "-".join([f"{layout.image_size}px", *steps, *masks, version]))
        self.layout = layout
        digests = b"".join(hashlib.blake2b(path, digest_size=8).digest() for path in paths)
        ids = np.frombuffer(digests, dtype="<u8")
        self._files, self._order = ids, np.argsort(ids, kind="stable")
        self._ids = ids[self._order]
        self._opened: _Opened | None = None
        try:
            os.makedirs(self.folder, exist_ok=True)
            opened = self._open()
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise InputError(
                f"a folder for the cache that can be written at {folder}",
                error.strerror or error,
                "set data.cache_dir, or cache: none",
            ) from None
        needed = int((opened.slot < 0).sum()) * layout.bytes
        if needed > free:
            raise InputError(
                f"{needed / 1e9:.1f} GB of free space for the cache in {self.folder}",
                f"{free / 1e9:.1f} GB",
                "free some, set data.cache_dir, or use a smaller image_size or cache: none",
            )

    def fetch(self, row: int, files: Sequence[str], make: Callable[[], Prepared]) -> Prepared:
        """Return what is kept of a row, or make and keep it; see `cache.Cache`.

        Raises:
            InputError: If the disk is full; and what `make` raises.
        """
        before = Signature.of(files)
        if before is None:
            return make()
        opened = self._open()
        record = opened.read(row, before)
        if record is None and opened.refresh():
            record = opened.read(row, before)
        if record is not None:
            return self.layout.unpack(record)
        content = _content(files)
        found = opened.find(content)
        if found is not None:
            prepared = self.layout.unpack(found[1])
            new = None
        else:
            prepared = make()
            new = self.layout.pack(prepared)
        # A file that changed while it was read is not kept.
        if Signature.of(files) == before and (new is not None or before.settled):
            self._keep(opened, self._files[row], before, content, new)
        return prepared

    def _keep(
        self,
        opened: "_Opened",
        files: np.uint64,
        signature: Signature,
        content: NDArray[np.uint64],
        record: NDArray[np.uint8] | None,
    ) -> None:
        try:
            with opened.locked():
                opened.refresh()
                entry = np.zeros(1, dtype=_ENTRY)
                entry["files"], entry["content"] = files, content
                entry["signature"] = signature.words if signature.settled else 0
                found = opened.find(content)  # another process may have been faster
                if found is not None:
                    entry["slot"], entry["sum"] = found[0], _sum(found[1])
                elif record is not None:
                    entry["slot"], entry["sum"] = opened.slots, _sum(record)
                    opened.write(opened.slots, record)
                else:
                    return
                entry["check"] = _check(entry)
                opened.append(entry)
                opened.refresh()
        except OSError as error:
            raise InputError(
                f"space for the cache in {self.folder}",
                error.strerror or error,
                "free some, set data.cache_dir, or use cache: none; what is there stays good",
            ) from None

    def _open(self) -> "_Opened":
        # Each process opens the files for itself: locks and positions belong to what was opened.
        if self._opened is None or self._opened.process != os.getpid():
            self._opened = _Opened(self.folder, self.layout.bytes, self._ids, self._order)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class _Opened:
    """The files as one process has them open, and what it has read of the index.

    Attributes:
        process: The process.
        slot: (N,) int64, the slot of each row, -1 where there is none.
        slots: Number of slots in use.
    """

    def __init__(self, folder: str, size: int, ids: NDArray[np.uint64], order: NDArray[np.intp]) -> None:
        self.process = os.getpid()
        self._size, self._ids, self._order = size, ids, order
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._path = os.path.join(folder, "index.bin")
        self._index = os.open(self._path, flags, 0o666)
        self._pictures = os.open(os.path.join(folder, "pictures.bin"), flags, 0o666)
        self._map: mmap.mmap | None = None
        self._seen = 0  # entries of the index
        self.slots = 0
        self.slot = np.full(len(ids), -1, dtype=np.int64)
        self._signature = np.zeros((len(ids), 2), dtype=np.uint64)
        self._sum = np.zeros(len(ids), dtype=np.uint64)
        # Of all entries, first word of the content, slot and sum.
        self._contents, self._places, self._sums = array("Q"), array("Q"), array("Q")
        self._second = array("Q")
        self.refresh()

    def __del__(self) -> None:
        for name in ("_index", "_pictures"):
            if hasattr(self, name):
                os.close(getattr(self, name))

    def refresh(self) -> bool:
        """Read what was appended to the index since the last time; return whether there was anything."""
        whole = os.fstat(self._index).st_size // _ENTRY.itemsize
        if whole <= self._seen:
            return False
        data = os.pread(self._index, (whole - self._seen) * _ENTRY.itemsize, self._seen * _ENTRY.itemsize)
        entries = np.frombuffer(data[: len(data) // _ENTRY.itemsize * _ENTRY.itemsize], dtype=_ENTRY)
        self._seen += len(entries)
        entries = entries[_check(entries) == entries["check"]]
        if len(entries):
            self.slots = max(self.slots, int(entries["slot"].max()) + 1)
        for column, values in (
            (self._contents, entries["content"][:, 0]),
            (self._second, entries["content"][:, 1]),
            (self._places, entries["slot"]),
            (self._sums, entries["sum"]),
        ):
            column.frombytes(np.ascontiguousarray(values).tobytes())
        if not len(self._ids):
            return True
        at = np.minimum(np.searchsorted(self._ids, entries["files"]), len(self._ids) - 1)
        mine = self._ids[at] == entries["files"]
        rows = self._order[at[mine]]
        # In order, so that the last entry of a row stays.
        self.slot[rows] = entries["slot"][mine]
        self._signature[rows] = entries["signature"][mine]
        self._sum[rows] = entries["sum"][mine]
        return True

    def read(self, row: int, signature: Signature) -> NDArray[np.uint8] | None:
        """Return the record of a row, if its files are as they were."""
        if self.slot[row] < 0 or not np.array_equal(self._signature[row], signature.words):
            return None
        return self._record(int(self.slot[row]), int(self._sum[row]))

    def find(self, content: NDArray[np.uint64]) -> tuple[int, NDArray[np.uint8]] | None:
        """Return slot and record of a content, the newest first."""
        for at in np.flatnonzero(np.frombuffer(self._contents, np.uint64) == content[0])[::-1]:
            record = self._record(self._places[at], self._sums[at])
            if self._second[at] == int(content[1]) and record is not None:
                return self._places[at], record
        return None

    def _record(self, slot: int, total: int) -> NDArray[np.uint8] | None:
        end = (slot + 1) * self._size
        if self._map is None or end > len(self._map):
            length = os.fstat(self._pictures).st_size
            if end > length:
                return None
            self._map = mmap.mmap(self._pictures, length, access=mmap.ACCESS_READ)
        record = np.frombuffer(self._map, np.uint8, self._size, slot * self._size)
        return record if int(_sum(record)) == total else None

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from writing."""
        return locked(self._index, self._path)

    def write(self, slot: int, record: NDArray[np.uint8]) -> None:
        """Write a slot; under the lock."""
        _write_all(self._pictures, record.tobytes(), slot * self._size)

    def append(self, entry: NDArray[Any]) -> None:
        """Append an entry to the index, behind the last whole one; under the lock."""
        end = os.fstat(self._index).st_size
        os.ftruncate(self._index, end - end % _ENTRY.itemsize)
        _write_all(self._index, entry.tobytes(), end - end % _ENTRY.itemsize)


def _write_all(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


def _content(files: Sequence[str]) -> NDArray[np.uint64]:
    parts = []
    for file in files:
        with open(file, "rb") as opened:
            parts.append(hashed(opened.read()).tobytes())
    return hashed(b"".join(parts))


def _sum(record: NDArray[np.uint8]) -> np.uint64:
    return np.add.reduce(record.view(np.uint64))  # type: ignore[no-any-return]  # wraps, as it shall


def _check(entries: NDArray[Any]) -> NDArray[np.uint64]:
    words = np.ascontiguousarray(entries).view(np.uint64).reshape(len(entries), -1)[:, :-1]
    multipliers = np.arange(1, words.shape[1] + 1, dtype=np.uint64) * _SALT
    total: NDArray[np.uint64] = (words * multipliers).sum(axis=1, dtype=np.uint64) + _SALT
    return total
