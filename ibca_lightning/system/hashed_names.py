"""Names of pictures as keyed hashes, for what is handed on.

A plain hash of a patient's number is undone by hashing every number there is; that of HMAC cannot be without the key.
"""

import hashlib
import hmac
import os
import re
import secrets
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import read_bytes
from ibca_lightning.system.whole_files import naming

_LEAST = 16  # bytes of a key


class HashedNames:
    """Maps a name to 16 hexadecimal digits of HMAC-SHA256, the same ones wherever the same secret key is used."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, name: str) -> str:
        """Hash one name."""
        return hmac.new(self._key, name.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:16]


def is_hash(name: str) -> bool:
    """Whether a name looks like what `HashedNames` makes."""
    return re.fullmatch("[0-9a-f]{16}", name) is not None


def add_hash_options(parser: ArgumentParser) -> None:
    """Add `--hash_names` and `--hash_key` to a command."""
    parser.add_argument(
        "--hash_names", action="store_true",
        help="Keyed hashes (HMAC) instead of the names of pictures and patients.",
    )  # fmt: skip
    parser.add_argument(
        "--hash_key", help="File with the key of the hashes; default names.key in the user's configuration folder, "
        "made when it is first needed. Whoever has it can tell whose a hash is.",
    )  # fmt: skip


def hashed_names(options: Namespace) -> HashedNames | None:
    """What `--hash_names` and `--hash_key` ask for; None where names are shown.

    Raises:
        InputError: When the key cannot be read or made, or is too short to be one.
    """
    if options.hash_key and not options.hash_names:
        raise InputError("--hash_names beside --hash_key", "none", "add it, or leave out the key")
    if not options.hash_names:
        return None
    path = Path(options.hash_key or _default_key())
    try:
        if not options.hash_key:
            _make(path)
        key = read_bytes(path).strip()
    except OSError as error:
        raise InputError(f"a key at {path}", error.strerror, "give --hash_key a file of random bytes") from error
    if len(key) < _LEAST:
        raise InputError(f"a key of at least {_LEAST} bytes in {path}", len(key), "give another --hash_key")
    return HashedNames(key)


def _default_key() -> str:
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(home, "ibca_lightning", "names.key")


def _make(path: Path) -> None:
    """Write a new key that nobody else may read; leave one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with suppress(FileExistsError):
        if path.exists():
            return
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with naming(path), os.fdopen(file, "w") as key:
                key.write(f"{secrets.token_hex(32)}\n")
            os.link(part, path)  # unlike a rename it never takes the place of another process's key
        finally:
            part.unlink()
