"""Hashes of names: keyed, the same everywhere, and not to be undone without the key."""

import hashlib
import hmac
import stat
from argparse import ArgumentParser
from pathlib import Path

import pytest

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.hashed_names import HashedNames, add_hash_options, hashed_names


def of(*arguments: str) -> HashedNames | None:
    parser = ArgumentParser()
    add_hash_options(parser)
    return hashed_names(parser.parse_args(arguments))


def test_a_name_becomes_its_hmac_under_the_key_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert of() is None
    assert not list(tmp_path.iterdir()), "no key before one is needed"
    first, again = of("--hash_names"), of("--hash_names")
    assert first
    assert again
    (key,) = tmp_path.rglob("*.key")
    assert [path.name for path in key.parent.iterdir()] == ["names.key"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    name = "p/眼底 1.png"
    expected = hmac.new(key.read_bytes().strip(), name.encode(), hashlib.sha256).hexdigest()[:16]
    assert first(name) == again(name) == expected
    assert hashlib.sha256(name.encode()).hexdigest()[:16] != expected
    key.unlink()
    other = of("--hash_names")
    assert other
    assert other(name) != expected, "a new key"
    (tmp_path / "given").write_bytes(b"0123456789abcdef")
    given = of("--hash_names", "--hash_key", str(tmp_path / "given"))
    assert given
    assert given(name) == HashedNames(b"0123456789abcdef")(name) != expected


def test_what_is_no_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "short").write_text("secret")
    (tmp_path / "file").touch()
    for arguments, words in (
        (("--hash_key", "k"), "--hash_names beside --hash_key"),
        (("--hash_names", "--hash_key", str(tmp_path / "none")), "No such file"),
        (("--hash_names", "--hash_key", str(tmp_path / "short")), "at least 16 bytes"),
    ):
        with pytest.raises(InputError, match=words):
            of(*arguments)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="--hash_key"):
        of("--hash_names")
