"""The samples of a pack by their numbers: shards of LitData, read where they lie or fetched as they are needed.

Our own on purpose, over files that LitData writes and any program of it reads. LitData's own loader has an order that
depends on the number of processes and workers, and leaves samples out so that all processes have as many; by their
numbers they are drawn as rows of a table are.
"""

import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakMethod

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.pictures.reading import Pixels
from ibca_lightning.datasets.packed.place import Place
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user
from ibca_lightning.system.strangers import MAX_TABLE, read_object, regular

_OPEN = 64  # files that one process keeps open
_LOCKS = 8  # shards that the processes of a machine fetch at a time
_PATIENCE = 600.0  # seconds for another process to fetch one
_SMALL = 8 * MAX_TABLE  # bytes of a file that is no shard: the table of a split, above all
_OLD = 86400.0  # seconds after which nobody still writes a file
_FIX = "restore it, or write the pack again with `ibca pack`"


class Shards:
    """K shards of N samples, numbered through.

    Args:
        place: Where the pack lies.
        splits: The splits and their numbers of samples, in order.
        folder: Where shards of a store are kept on this machine; processes and runs share it.
        keep: How many bytes of them: beyond, those that were opened longest ago are removed.

    Attributes:
        place: As given.
        folder: Likewise.

    Raises:
        InputError: If there are no such shards.
    """

    def __init__(self, place: Place, splits: dict[str, int], folder: str, keep: int) -> None:
        self.place, self.folder, self._keep = place, folder, keep
        chunks = [chunk for split, rows in splits.items() for chunk in _index(place, split, rows, self.local)]
        self._names, self._sizes = [name for name, _, _ in chunks], [size for _, size, _ in chunks]
        self._starts = np.cumsum([0, *(samples for _, _, samples in chunks)])
        self._files: OrderedDict[int, int] = OrderedDict()
        self._wanted: tuple[int, SimpleQueue[int | None]] | None = None

    def __len__(self) -> int:
        return len(self._names)

    def of(self, numbers: NDArray[Any]) -> NDArray[np.intp]:
        """Return the shard of each sample."""
        return np.searchsorted(self._starts, numbers, side="right") - 1

    def read(self, number: int) -> tuple[Pixels, Pixels]:
        """Return the bytes of a picture's file and of its mask's file, (M,) uint8 each.

        Raises:
            InputError: If the shard is not there or damaged.
        """
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        file = self._opened(shard)
        # A shard: number of samples, where each begins, where the last ends; a sample: lengths of its parts, the parts.
        try:
            begin, end = np.frombuffer(os.pread(file, 8, 4 + 4 * (number - int(self._starts[shard]))), "<u4").tolist()
            data = os.pread(file, min(max(end - begin, 0), self._sizes[shard]), begin)
            picture, mask = np.frombuffer(data[:8], "<u4").tolist()
            parts = np.frombuffer(data, np.uint8, picture, 8), np.frombuffer(data, np.uint8, mask, 8 + picture)
        except ValueError:  # its numbers point out of it
            parts = None
        if parts is None or not len(parts[0]) or 8 + picture + mask != len(data):
            raise InputError(f"a shard as it was written at {self._at(shard)}", "a damaged one", _FIX)
        return parts

    def expect(self, shards: Iterable[int]) -> None:
        """Have shards of a store fetched meanwhile: the first ones, as many as may be kept, and no more the earlier."""
        if self._wanted is None or self._wanted[0] != os.getpid():
            self._wanted = os.getpid(), SimpleQueue()
            for _ in range(_LOCKS // 2):
                # The threads do not keep this object: it ends them.
                fetch = WeakMethod(self._fetched)
                threading.Thread(target=_fetch_on, args=(fetch, self._wanted[1]), daemon=True).start()
        with suppress(Empty):
            while True:
                self._wanted[1].get_nowait()
        room = self._keep
        for shard in shards:
            if (room := room - self._sizes[shard]) < 0:
                break
            self._wanted[1].put(shard)

    def local(self, name: str) -> str:
        """Return where a small file of the pack lies on this machine, and copy it there first where need be."""
        if not self.place.remote:
            return os.path.join(self.place.root, name)
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            self.place.fetch(name, path, _SMALL)
        return path

    def _opened(self, shard: int) -> int:
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        if len(self._files) >= _OPEN:
            os.close(self._files.popitem(last=False)[1])
        while True:
            try:
                file = os.open(path := regular(self._fetched(shard)), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
                break
            except FileNotFoundError:
                if not self.place.remote:  # else another process has just made room: fetched again
                    raise InputError(f"a shard at {self._at(shard)}", "nothing there", _FIX) from None
        size = os.fstat(file).st_size
        if size != self._sizes[shard]:
            os.close(file)
            raise InputError(f"a shard of {self._sizes[shard]} bytes at {self._at(shard)}", f"{size} bytes", _FIX)
        if self.place.remote:
            with suppress(OSError):
                os.utime(path)
        self._files[shard] = file
        return file

    def _fetched(self, shard: int) -> str:
        """Where a shard lies on this machine: one process fetches it, the others wait."""
        if not self.place.remote:
            return os.path.join(self.place.root, self._names[shard])
        path = os.path.join(self.folder, self._names[shard])
        if not os.path.exists(path):
            os.makedirs(self.folder, exist_ok=True)
            with sole_user(os.path.join(self.folder, f"lock{shard % _LOCKS}"), _PATIENCE, "another one at it"):
                if not os.path.exists(path):
                    self._make_room(self._sizes[shard])
                    self.place.fetch(self._names[shard], path, self._sizes[shard])
        return path

    def _make_room(self, needed: int) -> None:
        for part in Path(self.folder).glob("*/.????????.*"):  # of a process that was killed
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > _OLD:
                    part.unlink()
        kept = []
        for name in self._names:
            with suppress(OSError):
                status = os.stat(path := os.path.join(self.folder, name))
                kept.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in kept) + needed
        for _, size, path in sorted(kept):
            if total <= self._keep:
                break
            with suppress(OSError):  # another process was faster
                os.unlink(path)
            total -= size

    def _at(self, shard: int) -> str:
        return f"{self.place.root}/{self._names[shard]}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": OrderedDict(), "_wanted": None}

    def __del__(self) -> None:
        for file in getattr(self, "_files", {}).values():
            os.close(file)
        if (wanted := getattr(self, "_wanted", None)) is not None and wanted[0] == os.getpid():
            for _ in range(_LOCKS // 2):
                wanted[1].put(None)


def _fetch_on(fetch: "WeakMethod[Callable[[int], str]]", wanted: "SimpleQueue[int | None]") -> None:
    while (shard := wanted.get()) is not None:
        with suppress(Exception):  # who reads the shard will be told; nobody is left to be asked
            fetch()(shard)  # type: ignore[misc]


def _index(place: Place, split: str, rows: int, local: Any) -> Sequence[tuple[str, int, int]]:
    """Name, bytes and number of samples of each shard of a split."""
    try:
        content = read_object(local(f"{split}/index.json"))
        chunks = [
            (f"{split}/{chunk['filename']}", int(chunk["chunk_bytes"]), int(chunk["chunk_size"]))
            for chunk in content["chunks"] if re.fullmatch(r"[\w-]+\.bin", chunk["filename"])
        ]  # fmt: skip
        counted = sum(samples for _, _, samples in chunks) if all(samples > 0 for _, _, samples in chunks) else -1
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        counted = -1
    if counted != rows:
        got = "none, or a damaged one" if counted < 0 else counted
        raise InputError(f"an index of {rows} pictures at {place.root}/{split}/index.json", got, _FIX)
    return chunks
