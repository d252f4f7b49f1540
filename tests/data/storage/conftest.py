"""A bucket with the small data set and a trained run, behind a server at which faults may be had."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data.storage.servers import BUCKET, Front, credentials, moto


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The server, with an empty bucket."""
    fsspec = pytest.importorskip("s3fs", reason="no s3fs (the extra `remote`)") and __import__("fsspec")
    home = tmp_path_factory.mktemp("s3")
    with moto(home / "log") as port, pytest.MonkeyPatch.context() as patch:
        front = Front(port)
        for name, value in credentials(front, home).items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        fsspec.filesystem("s3").mkdir(BUCKET)
        yield front
        fsspec.filesystem("s3").clear_instance_cache()
        front.close()


@pytest.fixture
def front(served: Front, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Front]:
    """The server without faults, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("ibca_lightning.data.storage.remote._WAIT", 0.01)
    served.asked.clear()
    yield served
    served.fault = lambda method, path: None


@pytest.fixture
def s3(front: Front) -> Any:
    """What writes into the bucket."""
    import fsspec

    return fsspec.filesystem("s3", use_listings_cache=False)


@pytest.fixture
def remote_tree(s3: Any, tree: Path) -> str:
    """The small data set in the bucket; tests that change it write elsewhere."""
    if not s3.exists(f"{BUCKET}/tree/train.csv"):
        s3.put(f"{tree}/", f"{BUCKET}/tree/", recursive=True)
    return f"s3://{BUCKET}/tree"
