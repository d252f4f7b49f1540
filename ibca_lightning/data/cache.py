"""Pictures as they are before augmentation, kept from one epoch to the next in memory that worker processes share."""

import hashlib
import mmap
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.pictures.masks import Bits
from ibca_lightning.data.pictures.reading import Pixels
from ibca_lightning.data.storage.remote import is_remote, version
from ibca_lightning.system.errors import InputError

CacheKind = Literal["none", "memory", "disk"]
Prepared = tuple[Pixels, list[Bits]]

# Two changes of a file within one tick of its file system's clock leave one time stamp. So a stamp is trusted only
# once it is older than any such tick.
_SETTLED = 2.0


class Cache(Protocol):
    """Keeps what `Transform.prepare` makes of each row."""

    def fetch(self, row: int, files: Sequence[str], make: Callable[[], Prepared]) -> Prepared:
        """Return what is kept of a row, or make and keep it.

        Args:
            row: The row of the table.
            files: The picture, and its mask where there is one.
            make: Reads and prepares them; its errors go through.

        Returns:
            The picture (S, S, C) uint8 and its planes (S, S) uint8; they may be read-only.
        """
        ...


class Layout:
    """How a picture of side S, of some channels, and some bit planes beside it lie in one run of bytes."""

    def __init__(self, image_size: int, planes: int, channels: int = 3) -> None:
        self.image_size, self.planes, self.channels = image_size, planes, channels
        self.used = image_size**2 * (channels + planes)
        self.bytes = -(-self.used // 8) * 8  # whole words, which are summed

    def pack(self, prepared: Prepared) -> NDArray[np.uint8]:
        """Return (bytes,) uint8 of a picture and its planes."""
        pixels, planes = prepared
        record = np.zeros(self.bytes, dtype=np.uint8)
        record[: self.used] = np.concatenate([part.reshape(-1) for part in (pixels, *planes)])
        return record

    def unpack(self, record: NDArray[np.uint8]) -> Prepared:
        """Undo `pack`, without a copy."""
        side, area = self.image_size, self.channels * self.image_size**2
        planes = record[area : self.used].reshape(self.planes, side, side)
        return record[:area].reshape(side, side, self.channels), list(planes)


class Signature:
    """What the file system says of some files; a change of their content changes it.

    Name, device, inode, size, and the times of the last change of content and of anything: the last cannot be set back
    by a program, and a file put in the place of another has a new inode. Of a file behind a URL: its etag and size.

    Attributes:
        words: (2,) uint64, a hash of all that; never zero.
        settled: Whether the last change is so long ago that a further one would have another time.
    """

    def __init__(self, words: NDArray[np.uint64], settled: bool) -> None:
        self.words, self.settled = words, settled

    @classmethod
    def of(cls, files: Sequence[str]) -> "Signature | None":
        """Ask the file system, or the storage; None if a file is not there, or has no etag there."""
        said: list[Any] = []
        last = 0.0
        for file in files:
            try:
                if is_remote(file):
                    if (there := version(file)) is None:
                        return None
                    said += [file, *there]
                    continue
                status = os.stat(file)
            except OSError:
                return None
            said += [file, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            last = max(last, status.st_mtime, status.st_ctime)
        return cls(hashed(repr(said).encode()), time.time() - last > _SETTLED)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signature) and bool((self.words == other.words).all())

    __hash__ = None  # type: ignore[assignment]  # compared, never a key


def hashed(data: bytes | memoryview) -> NDArray[np.uint64]:
    """Return 128 bits of a hash as (2,) uint64, of which the first is never zero."""
    words = np.frombuffer(hashlib.blake2b(data, digest_size=16).digest(), dtype="<u8").copy()
    words[0] |= np.uint64(1)
    return words


class MemoryCache:
    """A cache that lives as long as the data module, in memory that forked worker processes share.

    Where workers are not forked (`spawn`, `forkserver`) each keeps what it has read for itself. A file that changes is
    read again.

    Raises:
        InputError: If so many rows of a layout are more than the memory that is free.
    """

    def __init__(self, rows: int, layout: Layout) -> None:
        self.rows, self.layout = rows, layout
        needed, free = rows * layout.bytes, free_memory()
        if free is not None and needed > free:
            expected = f"{needed / 1e9:.1f} GB of free memory for data.cache: memory ({rows} pictures)"
            raise InputError(expected, f"{free / 1e9:.1f} GB", "use cache: disk, or a smaller image_size")
        self._allocate()

    def _allocate(self) -> None:
        # Pages that nobody has written to take no memory.
        pixels, signatures = (mmap.mmap(-1, max(1, self.rows * size)) for size in (self.layout.bytes, 16))
        self._records = np.frombuffer(pixels, np.uint8, self.rows * self.layout.bytes).reshape(self.rows, -1)
        self._signatures = np.frombuffer(signatures, np.uint64, 2 * self.rows).reshape(self.rows, 2)

    def fetch(self, row: int, files: Sequence[str], make: Callable[[], Prepared]) -> Prepared:
        """Return what is kept of a row, or make and keep it; see `Cache`."""
        before = Signature.of(files)
        if before is not None and np.array_equal(self._signatures[row], before.words):
            return self.layout.unpack(self._records[row])
        prepared = make()
        if before is not None and before.settled and Signature.of(files) == before:
            # The signature last: a process that is stopped, or one that reads meanwhile, finds no row half written.
            self._signatures[row] = 0
            self._records[row] = self.layout.pack(prepared)
            self._signatures[row] = before.words
        return prepared

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": self.rows, "layout": self.layout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._allocate()


def free_memory() -> int | None:
    """Return the bytes of memory that programs may still take; None where the system does not say."""
    limits = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            limits += [1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable")]
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            limits.append(int(file.read()))
    except (OSError, ValueError):  # no Linux, or no limit on the container
        pass
    return min(limits, default=None)
