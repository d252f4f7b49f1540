"""Where data lie: every file of data is listed and opened through here, on this machine or behind a URL.

A local path goes to `os` as it is. A URL (`s3://`, `gs://`, `https://`, `http://`) is asked by fsspec, the extra
`remote` (`remote.py`). Nothing is written behind a URL but packs (`datasets/packed/place.py`).
"""

import errno
import os
import posixpath
import warnings
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.storage import remote
from ibca_lightning.data.storage.remote import is_remote
from ibca_lightning.system.errors import DataWarning, InputError
from ibca_lightning.system.strangers import regular

__all__ = ["is_remote", "remote"]


def is_file(path: str) -> bool:
    """As os.path.isfile."""
    return remote.kind(path) == "file" if is_remote(path) else os.path.isfile(path)


def is_folder(path: str) -> bool:
    """As os.path.isdir."""
    return remote.kind(path) == "folder" if is_remote(path) else os.path.isdir(path)


def exists(path: str) -> bool:
    """As os.path.exists."""
    return remote.kind(path) is not None if is_remote(path) else os.path.exists(path)


def names(folder: str) -> list[str]:
    """As os.listdir."""
    return [*remote.entries(folder)] if is_remote(folder) else os.listdir(folder)


def entries(folder: str) -> dict[str, bool]:
    """What lies in a folder, by name, and whether it is a folder; an OSError where there is none."""
    if is_remote(folder):
        return remote.entries(folder)
    with os.scandir(folder) as found:
        return {entry.name: entry.is_dir() for entry in found}


def files(folder: str) -> list[bytes]:
    """The names, as bytes, of what lies in a folder and is none; an OSError where there is none."""
    if is_remote(folder):
        return [name.encode() for name, is_folder in remote.entries(folder).items() if not is_folder]
    with os.scandir(os.fsencode(folder)) as found:
        return [entry.name for entry in found if not entry.is_dir()]


def files_below(folder: str) -> Iterator[str]:
    """The files in and below a folder, relative to it in POSIX form.

    Hidden files and folders are passed over. A link to a folder is followed, unless what it leads to is found without
    it, or holds the folder itself. A folder that cannot be read is told of.
    """
    if is_remote(folder):
        yield from remote.files_below(folder)
        return
    seen, starts = {*_upwards(os.path.realpath(folder))}, [folder]
    while starts:  # all that no link leads to, then what the links in it lead to, and so on: names stay short
        links: list[str] = []
        for start in starts:
            if start != folder and os.path.realpath(start) in seen:
                continue
            links += yield from _files_of(start, folder, seen)
        starts = sorted(links)


def _files_of(start: str, folder: str, seen: set[str]) -> Generator[str, None, list[str]]:
    """Those that no further link leads to, and returned the links to folders; what is `seen` is passed over."""
    real, links = os.path.realpath(start), list[str]()
    for head, below, files in os.walk(start, onerror=_unread):
        own = real if head == start else os.path.join(real, os.path.relpath(head, start))
        seen.add(own)
        kept = [name for name in below if not name.startswith(".") and os.path.join(own, name) not in seen]
        linked = [name for name in kept if os.path.islink(os.path.join(head, name))]
        links += [os.path.join(head, name) for name in linked]
        below[:] = kept
        place = "" if head == folder else os.path.relpath(head, folder).replace(os.sep, "/") + "/"
        yield from (place + name for name in files if not name.startswith("."))
    return links


def _upwards(path: str) -> Iterator[str]:
    """A folder and those that hold it."""
    yield path
    while (above := os.path.dirname(path)) != path:
        yield (path := above)


def _unread(error: OSError) -> None:
    warnings.warn(
        f"a folder that cannot be read is passed over: {error.filename} ({error.strerror}); see to its permissions if "
        "there are pictures in it",
        DataWarning, stacklevel=3,
    )  # fmt: skip


def beginning(path: str, count: int) -> bytes:
    """The first bytes of a regular file; an OSError where there is none."""
    if is_remote(path):
        return remote.read(path, count)
    with open(regular(path), "rb") as file:
        return file.read(count)


def content(path: str, limit: int) -> NDArray[np.uint8]:
    """All bytes of a regular file, (N,); an OSError where there is none, or it has more than `limit`."""
    if is_remote(path):
        data = np.frombuffer(remote.read(path, limit + 1), dtype=np.uint8)
        if len(data) <= limit:
            return data
    elif os.path.getsize(regular(path)) <= limit:
        return np.fromfile(path, dtype=np.uint8)
    raise OSError(errno.EINVAL, f"more than {limit} bytes", path)


def here(path: str) -> str:
    """The path of a file on this machine: a local one as it is, of a URL that of a copy, as `remote.staged` keeps it.

    A URL where nothing is stays what it is, for whoever opens it to say so.
    """
    try:
        return remote.staged(path) if is_remote(path) else path
    except FileNotFoundError:
        return path


def normal(path: str) -> str:
    """As os.path.normpath."""
    return remote.normal(path) if is_remote(path) else os.path.normpath(path)


def real(path: str) -> str:
    """As os.path.realpath."""
    return path if is_remote(path) else os.path.realpath(path)


def absolute(path: str) -> str:
    """As os.path.abspath."""
    return path if is_remote(path) else os.path.abspath(path)


def common_folder(folders: Sequence[str]) -> str:
    """As os.path.commonpath, of folders of one data set."""
    if not is_remote(folders[0]):
        return os.path.commonpath(folders)
    scheme = folders[0].partition("://")[0]
    return f"{scheme}://{posixpath.commonpath([each.partition('://')[2] for each in folders])}"


def is_bucket(path: str) -> bool:
    """Whether what a listing does not name is not there.

    A file system may know a file by another spelling, and the page of a web server leave files out.
    """
    return is_remote(path) and not path.startswith("http")


def require_local(path: str, what: str, fix: str) -> None:
    """Refuse a URL where files are written, or mapped into memory, as an InputError."""
    if is_remote(path):
        raise InputError(f"{what} on this machine", path, fix)
