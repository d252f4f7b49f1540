"""Files behind URLs, by fsspec: the only file that knows it. Only packs (`datasets/packed`) are written there.

What a storage refuses ends in one line without its own words, which may hold an address with a signature. That nothing
is there is said by FileNotFoundError, as of a local file. No listing is kept: each is asked for when it is needed.
A copy has a largest size, and leaves a tenth of the disk's room: by what the server says before a byte is written, and
by count while it is, as a server may say nothing, or less.
"""

import errno
import hashlib
import os
import posixpath
import re
import shutil
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

from ibca_lightning.system.errors import InputError, causes
from ibca_lightning.system.options import refuse_credentials
from ibca_lightning.system.whole_files import remove_parts, whole

T = TypeVar("T")
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "https": "aiohttp", "http": "aiohttp"}
_SCHEMES = tuple(f"{scheme}://" for scheme in _PACKAGES)
_TRIES = 3
_WAIT = 0.5  # seconds before the second try, and twice that before the third
MAX_COPY = 2**35  # bytes of a file that is copied here: tables, checkpoints, archives of pictures
_LEFT = 3600.0  # seconds after which a part of a copy that nobody writes to is one of a process that was killed
_SILENT = 30.0  # seconds that a server of https may say nothing; that of S3 15, by s3fs
_NO_KEY = re.compile("Credential|Token|SSO|RefreshError|Unauthorized")  # kinds of errors of boto and of Google


class Version(NamedTuple):
    """What a storage says of a file; a change of its content changes the etag."""

    etag: str
    size: int | None


class _ChangedError(Exception):
    """Another file is there than the one that was to be copied."""


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL that this package reads."""
    return isinstance(path, str) and path.startswith(_SCHEMES)


def normal(url: str) -> str:
    """A URL without `.`, `..` and doubled slashes."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{posixpath.normpath(rest)}"


def default_folder() -> str:
    """Return where caches lie unless `cache_dir` says otherwise: `ibca_lightning` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "ibca_lightning")


def kind(url: str) -> str | None:
    """`file`, `folder`, or None where nothing is."""
    try:
        info = _info(url)
    except FileNotFoundError:
        return None
    # A web server shows a folder as a page with links.
    return "folder" if info["type"] == "directory" or info.get("mimetype") == "text/html" else "file"


def entries(url: str) -> dict[str, bool]:
    """As `storage.entries`."""
    return {name.rstrip("/"): info["type"] == "directory" for name, info in _listed(url).items()}


def sizes(url: str) -> dict[str, int]:
    """The bytes of each file of a folder, by name."""
    return {name: info["size"] for name, info in _listed(url).items() if info["type"] == "file"}


def files_below(url: str) -> list[str]:
    """As `storage.files_below`: a thousand names at a time, in whatever folders they lie."""
    found = _ask(url, lambda system, path: _named(system, path, system.find(path, detail=True)))
    return [name for name in found if not re.search(r"(^|/)\.|/$", name)]


def matching(pattern: str, folder: str) -> list[str]:
    """The files that fit a pattern, relative to the folder that it begins with; none that are hidden."""
    if pattern.startswith("http"):  # there fsspec takes `?` for the mark of a query; not [!/], which it would cut
        pattern = re.sub(r"(\[[^]]*\])|\?", lambda found: found[1] or "[!\n]", pattern)
    found = _ask(pattern, lambda system, path: _named(system, _address(folder), system.glob(path, detail=True)))
    return [name for name, info in found.items() if info["type"] == "file" and not re.search(r"(^|/)\.", name)]


def read(url: str, limit: int) -> bytes:
    """The first bytes of a file, in one request."""

    def ask(system: Any, path: str) -> bytes:
        try:
            if not path.startswith("http"):
                return bytes(system.cat_file(path, start=0, end=limit))
            # A web server may answer with more than it is asked for: it is read piece by piece, up to the limit.
            asked = {"Range": f"bytes=0-{limit - 1}"}
            with system.open(path, block_size=0, size=1, headers=asked) as file:
                data = bytearray()
                while len(data) < limit and (piece := file.read(limit - len(data))):
                    data += piece
            return bytes(data)
        except Exception as error:
            if _status(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # of a file of 0 bytes
                return b""
            raise

    return _ask(url, ask)[:limit]


def copy(url: str, file: Path, most: int) -> None:
    """Copy a file to this machine.

    Args:
        url: Of the file.
        file: Where it is written; the folder is there.
        most: Bytes that it may have.

    Raises:
        OSError: When this machine has no room, or would have next to none.
        InputError: When it is larger than `most`, or cannot be read.
    """
    room = shutil.disk_usage(file.parent).free * 9 // 10

    def ask(system: Any, path: str) -> None:
        from fsspec.callbacks import Callback

        system.get_file(path, str(file), callback=Callback(hooks={"size": measured}))

    def measured(said: int | None, copied: int) -> None:
        size, got = max(said or 0, copied), f"{said} bytes" if (said or 0) >= copied else "more"
        if size > most:
            fix = "see that it is the right one, or copy it here yourself"
            raise InputError(f"a file of at most {most} bytes at {url}", got, fix)
        if size > room:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} for {got} of {url}, {room} bytes are free")

    _ask(url, ask)


def write(url: str, data: bytes) -> None:
    """Write a file, whole or not at all."""
    _ask(url, lambda system, path: system.pipe_file(path, data))


def put(file: str, url: str) -> None:
    """Copy a file of this machine to a URL, whole or not at all."""
    _ask(url, lambda system, path: system.put_file(file, path))


def version(url: str) -> Version | None:
    """What is there now; None where the storage gives no etag, so that a change would not be seen."""
    info = _info(url)
    etag = info.get("ETag") or info.get("etag")
    return Version(str(etag), info.get("size")) if etag else None


def staged(url: str) -> str:
    """Copy a file into the user's cache folder, unless a copy of its etag and size is there.

    Returns:
        The path of the copy, which has the name of the file. Copies are never removed.

    Raises:
        FileNotFoundError: Nothing is there.
        InputError: It is too large, cannot be read, changes again and again, or the copy cannot be written.
    """
    folder, url = os.path.join(default_folder(), "remote"), normal(url)
    for _ in range(_TRIES):
        before = version(url)
        digest = hashlib.blake2b(repr((url, before)).encode(), digest_size=16).hexdigest()
        path = Path(folder, digest, url.rpartition("/")[2])
        if before is not None and path.is_file():
            return str(path)
        try:
            os.makedirs(path.parent, mode=0o700, exist_ok=True)
            for each in os.scandir(folder):
                remove_parts(each.path, _LEFT)
            with whole(path) as part:
                copy(url, part, MAX_COPY)
                if version(url) != before or (before and before.size not in (None, part.stat().st_size)):
                    raise _ChangedError
            return str(path)
        except _ChangedError:
            continue
        except FileNotFoundError:
            raise
        except OSError as error:
            fix = "make room, or set XDG_CACHE_HOME to another folder"
            raise InputError(f"a folder for copies of remote files at {folder}", error.strerror, fix) from None
    raise InputError(f"a file that stays as it is while it is copied from {url}", "another each time", "wait for it")


def _listed(url: str) -> dict[str, dict[str, Any]]:
    return _ask(
        url, lambda system, path: _named(system, path, {each["name"]: each for each in system.ls(path, detail=True)})
    )


def _info(url: str) -> dict[str, Any]:
    return _ask(url, lambda system, path: dict(system.info(path)))


def _address(url: str) -> str:
    """What a storage is asked for: on the web `#` and `?` would end the name of a file."""
    url = normal(url)
    return url.replace("#", "%23").replace("?", "%3F") if url.startswith("http") else url


def _named(system: Any, folder: str, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What was found by its name relative to a folder, without the folder itself."""
    base = f"{system._strip_protocol(folder).rstrip('/')}/"
    if folder.startswith("http"):  # links are quoted; those with `?` sort the page, those with `#` lead within it
        found = {unquote(path): info for path, info in found.items() if not re.search("[?#]", path)}
        base = unquote(base)
    return {path[len(base) :]: info for path, info in found.items() if path.startswith(base) and path != base}


def _ask(url: str, question: Callable[[Any, str], T]) -> T:
    """Put a question to a storage, again where that may help."""
    refuse_credentials(url, "a path of data")
    for tried in range(1, _TRIES + 1):
        system = _system(url)
        try:
            return question(system, _address(url))
        except (TypeError, AttributeError, NameError, InputError):  # none of which a storage is to blame for
            raise
        except Exception as error:  # each storage has kinds of its own
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # of the copy
                raise
            status = _status(error)
            # Of a web server fsspec says so whatever it refused.
            absent = error.__cause__ is None or status in (404, 410) or not url.startswith("http")
            if isinstance(error, FileNotFoundError) and absent:
                raise FileNotFoundError(errno.ENOENT, "nothing there", url) from None
            # A connection that fails the others have tried again by themselves.
            passing = url.startswith("http") if status is None else status >= 500 or status in (408, 429)
            if tried == _TRIES or not passing:
                raise _refused(url, error, status) from None
        time.sleep(_WAIT * 2 ** (tried - 1))
    raise AssertionError("the last try returns or raises")


def _system(url: str) -> Any:
    scheme = url.partition("://")[0]
    options: dict[str, Any] = {}
    try:
        import fsspec

        if scheme.startswith("http"):
            from aiohttp import ClientTimeout

            patience = ClientTimeout(total=None, sock_connect=_SILENT, sock_read=_SILENT)
            # Nothing is unpacked on the way, which knows no bound.
            plain = {"headers": {"Accept-Encoding": "identity"}, "auto_decompress": False}
            options["client_kwargs"] = {"timeout": patience, **plain}
        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except ImportError:
        fix = "install it: pip install 'ibca-lightning[remote]'"
        raise InputError(f"{_PACKAGES[scheme]}, to reach {url}", "no such package", fix) from None


def _status(error: BaseException) -> int | None:
    """The answer of HTTP behind an error."""
    for cause in causes(error):
        response = getattr(cause, "response", None)  # of boto
        said = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
        # Of aiohttp; of gcsfs alone, as aiohttp calls an answer that was cut off 400.
        code = getattr(cause, "code", None) if type(cause).__name__ == "HttpError" else None
        for status in (said, getattr(cause, "status", None), code):
            if isinstance(status, int):
                return status
    return None


def _refused(url: str, error: BaseException, status: int | None) -> InputError:
    kinds = [type(cause).__name__ for cause in causes(error)]
    said = kinds[-1] if status is None else f"{status} {responses.get(status, '')}".rstrip()
    if status in (401, 403) or isinstance(error, PermissionError) or any(map(_NO_KEY.search, kinds)):
        fix = "set credentials that may list and read it (pack: write) in the environment (data/README.md, Remote data)"
        return InputError(f"access to {url}", said, fix)
    fix = "see that the address and the connection to it are right, and give the same command again"
    return InputError(f"a storage that answers for {url}", said, fix)
