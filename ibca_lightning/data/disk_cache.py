"""Pictures as they are before augmentation, kept in a file that processes, runs and data sets share.

Our own on purpose: it finds a picture by its content, and a writer that is killed does it no harm.
"""

import hashlib
import mmap
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.cache import Layout, Prepared, Signature, hashed
from ibca_lightning.data.pictures.reading import READER_VERSION, read_bytes
from ibca_lightning.data.storage import is_remote
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import locked

# One entry of the index: which files (a hash of their paths), as the file system described them then, with which
# content, whose prepared picture lies in which slot and sums up to what; and a sum over the entry itself.
_ENTRY = np.dtype([
    ("files", "<u8"), ("signature", "<u8", 2), ("content", "<u8", 2), ("slot", "<u8"), ("sum", "<u8"), ("check", "<u8"),
])  # fmt: skip
Words = NDArray[np.uint64]
Record = NDArray[np.uint8]
_BLOCK = 1 << 18  # entries that are read at once
_SALT = np.uint64(0x9E3779B97F4A7C15)  # an entry of zeros, as a crash of the machine may leave it, is no entry


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
        named = (
            {**preprocessing, "in_channels": f"{layout.channels}channels"} if layout.channels != 3 else preprocessing
        )
        steps = [str(named[key]) for key in sorted(named, reverse=True)]
        masks = ["masks"] if layout.planes else []
        version = f"reader{READER_VERSION}-opencv{cv2.__version__}"
        self.folder = os.path.join(folder, "-".join([f"{layout.image_size}px", *steps, *masks, version]))
        self.layout = layout
        digests = b"".join(hashlib.blake2b(path, digest_size=8).digest() for path in paths)
        self._ids, self._number = np.unique(np.frombuffer(digests, dtype="<u8"), return_inverse=True)
        self._opened: _Opened | None = None
        try:
            os.makedirs(self.folder, exist_ok=True)
            opened = self._open()
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            expected = f"a folder for the cache that can be written at {folder}"
            raise InputError(expected, error.strerror or error, "set data.cache_dir, or cache: none") from None
        needed = int((opened.entries < 0).sum()) * layout.bytes
        if needed > free:
            expected = f"{needed / 1e9:.1f} GB of free space for the cache in {self.folder}"
            fix = "free some, set data.cache_dir, or use a smaller image_size or cache: none"
            raise InputError(expected, f"{free / 1e9:.1f} GB", fix)

    def fetch(self, row: int, files: Sequence[str], make: Callable[[], Prepared]) -> Prepared:
        """Return what is kept of a row, or make and keep it; see `cache.Cache`; InputError: the disk is full."""
        before = Signature.of(files)
        if before is None:
            return make()
        opened, number = self._open(), int(self._number[row])
        record = opened.read(number, before)
        if record is None and opened.refresh():
            record = opened.read(number, before)
        if record is not None:
            return self.layout.unpack(record)
        # A storage tells a content by its etag: nothing is read to be hashed.
        content = before.words if any(map(is_remote, files)) else _content(files)
        found = opened.find(content)
        prepared = self.layout.unpack(found[1]) if found is not None else make()
        new = self.layout.pack(prepared) if found is None else None
        # A file that changed while it was read is not kept.
        if Signature.of(files) == before and (new is not None or before.settled):
            self._keep(opened, self._ids[number], before, content, new)
        return prepared

    def _keep(
        self, opened: "_Opened", files: np.uint64, signature: Signature, content: Words, record: Record | None
    ) -> None:
        try:
            with opened.locked():
                opened.refresh()
                found = opened.find(content)  # another process may have been faster
                if found is not None:
                    slot, total = found[0]["slot"], found[0]["sum"]
                elif record is not None:
                    slot, total = opened.slots, _sum(record)
                    opened.write(slot, record)
                else:
                    return
                words = signature.words if signature.settled else (0, 0)
                entry = np.array([(files, words, content, slot, total, 0)], dtype=_ENTRY)
                entry["check"] = _check(entry)
                opened.append(entry)
                opened.refresh()
        except OSError as error:
            fix = "free some, set data.cache_dir, or use cache: none; what is there stays good"
            raise InputError(f"space for the cache in {self.folder}", error.strerror or error, fix) from None

    def _open(self) -> "_Opened":
        # Each process opens the files for itself: locks and positions belong to what was opened.
        if self._opened is None or self._opened.process != os.getpid():
            self._opened = _Opened(self.folder, self.layout.bytes, self._ids)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class _Opened:
    """The files as one process has them open, and where in the index it finds what.

    Of the index 12 bytes an entry are held, sorted by content in runs of falling length that grow together, so that a
    content among millions is found in microseconds. `entries` (N,) is the last entry of each file that is wanted, -1
    where there is none.
    """

    def __init__(self, folder: str, size: int, ids: NDArray[np.uint64]) -> None:
        self.process = os.getpid()
        self._size, self._ids = size, ids
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._path = os.path.join(folder, "index.bin")
        self._index = os.open(self._path, flags, 0o666)
        self._pictures = os.open(os.path.join(folder, "pictures.bin"), flags, 0o666)
        self._map: mmap.mmap | None = None
        self._seen = 0  # entries of the index
        self._runs: list[tuple[NDArray[np.uint64], NDArray[np.uint32]]] = []  # first words of contents, and entries
        self.slots = 0
        self.entries = np.full(len(ids), -1, dtype=np.int64)
        self.refresh()

    def __del__(self) -> None:
        for name in ("_index", "_pictures"):
            if hasattr(self, name):
                os.close(getattr(self, name))

    def refresh(self) -> bool:
        """Read what was appended to the index since the last time; return whether there was anything."""
        before = self._seen
        while len(entries := self._read(self._seen, _BLOCK)):
            numbers = np.arange(self._seen, self._seen + len(entries))
            self._seen += len(entries)
            whole = _check(entries) == entries["check"]
            entries, numbers = entries[whole], numbers[whole]
            if not len(entries):
                continue
            self.slots = max(self.slots, int(entries["slot"].max()) + 1)
            words, places = entries["content"][:, 0], numbers.astype(np.uint32)
            while self._runs and len(self._runs[-1][0]) <= 2 * len(words):
                earlier = self._runs.pop()
                words, places = np.concatenate([earlier[0], words]), np.concatenate([earlier[1], places])
            order = np.argsort(words, kind="stable")  # of one content the newest stays last
            self._runs.append((words[order], places[order]))
            if len(self._ids):
                at = np.minimum(np.searchsorted(self._ids, entries["files"]), len(self._ids) - 1)
                mine = self._ids[at] == entries["files"]
                self.entries[at[mine]] = numbers[mine]  # in order, so that the last one stays
        return self._seen > before

    def read(self, number: int, signature: Signature) -> Record | None:
        """Return the record of the files at a place of `ids`, if they are as they were."""
        if self.entries[number] < 0:
            return None
        entry = self._read(int(self.entries[number]), 1)
        return self._record(entry[0]) if np.array_equal(entry["signature"][0], signature.words) else None

    def find(self, content: Words) -> tuple[np.void, Record] | None:
        """Return entry and record of a content, the newest first."""
        for words, places in reversed(self._runs):
            same = slice(np.searchsorted(words, content[0], "left"), np.searchsorted(words, content[0], "right"))
            for place in places[same][::-1]:
                entry = self._read(int(place), 1)[0]
                record = self._record(entry)
                if entry["content"][1] == content[1] and record is not None:
                    return entry, record
        return None

    def _read(self, at: int, count: int) -> NDArray[Any]:
        """Whole entries of the index from one on, as many as there are up to a count."""
        data = os.pread(self._index, count * _ENTRY.itemsize, at * _ENTRY.itemsize)
        return np.frombuffer(data, _ENTRY, len(data) // _ENTRY.itemsize)

    def _record(self, entry: np.void) -> Record | None:
        start, end = (int(entry["slot"] + step) * self._size for step in (0, 1))
        if self._map is None or end > len(self._map):
            length = os.fstat(self._pictures).st_size
            if end > length:
                return None
            self._map = mmap.mmap(self._pictures, length, access=mmap.ACCESS_READ)
        record = np.frombuffer(self._map, np.uint8, self._size, start)
        return record if _sum(record) == entry["sum"] else None

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from writing."""
        return locked(self._index, self._path)

    def write(self, slot: int, record: Record) -> None:
        """Write a slot; under the lock."""
        _write_all(self._pictures, record.tobytes(), slot * self._size)

    def append(self, entry: NDArray[Any]) -> None:
        """Append an entry to the index, behind the last whole one; under the lock."""
        end = os.fstat(self._index).st_size
        os.ftruncate(self._index, end - end % _ENTRY.itemsize)
        _write_all(self._index, entry.tobytes(), end - end % _ENTRY.itemsize)


def _write_all(file: int, data: bytes, at: int) -> None:
    while data:
        written = os.pwrite(file, data, at)
        data, at = data[written:], at + written


def _content(files: Sequence[str]) -> NDArray[np.uint64]:
    return hashed(b"".join(hashed(read_bytes(file).data).tobytes() for file in files))


def _sum(record: Record) -> np.uint64:
    return np.add.reduce(record.view(np.uint64))  # type: ignore[no-any-return]  # wraps, as it shall


def _check(entries: NDArray[Any]) -> NDArray[np.uint64]:
    words = np.ascontiguousarray(entries).view(np.uint64).reshape(len(entries), -1)[:, :-1]
    multipliers = np.arange(1, words.shape[1] + 1, dtype=np.uint64) * _SALT
    total: NDArray[np.uint64] = (words * multipliers).sum(axis=1, dtype=np.uint64) + _SALT
    return total
