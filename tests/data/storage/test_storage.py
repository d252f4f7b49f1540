"""Local paths and URLs are asked the same questions; a storage that fails ends in one line, or is asked again."""

import importlib
import os
import re
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibca_lightning.data import storage
from ibca_lightning.data.cache import Layout, MemoryCache, Signature
from ibca_lightning.data.disk_cache import DiskCache
from ibca_lightning.data.pictures.reading import depth_of, read_image
from ibca_lightning.data.storage import remote
from ibca_lightning.data.tables.paths import absent, inside
from ibca_lightning.data.tables.table import encode
from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.use.picture_list import list_pictures
from tests.command_line import REPOSITORY, ibca
from tests.data.storage.servers import BUCKET, Front


def gets(front: Front, name: str) -> int:
    return sum(method == "GET" and path.endswith(name) for method, path in front.asked)


# --- the same answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_url_is_answered_as_a_folder_is(scheme: str, remote_tree: str, tree: Path, tmp_path: Path, front: Front):
    there = remote_tree
    if scheme == "http":
        shutil.copytree(tree, tmp_path / "tree")
        there = f"http://127.0.0.1:{web(tmp_path).port}/tree"
    here = str(tree)
    assert sorted(storage.names(there)) == sorted(storage.names(here))
    assert storage.entries(there) == storage.entries(here)
    assert sorted(storage.files(there)) == sorted(storage.files(here))
    assert sorted(storage.files_below(there)) == sorted(storage.files_below(here))
    for name in ("", "images", "train.csv", "images/none.png", "none"):
        for asked in (storage.exists, storage.is_file, storage.is_folder):
            assert asked(os.path.join(there, name)) == asked(os.path.join(here, name)), (asked, name)
    ids = [name for name in storage.files_below(f"{here}/images") if name.endswith(".png")]
    assert storage.beginning(f"{there}/images/{ids[0]}", 8) == b"\x89PNG\r\n\x1a\n"
    assert np.array_equal(read_image(f"{there}/images/{ids[0]}"), read_image(f"{here}/images/{ids[0]}"))
    assert Path(storage.here(f"{there}/train.csv")).read_bytes() == Path(here, "train.csv").read_bytes()
    assert absent(f"{there}/images", encode([*ids, "a/none.png"])) == [len(ids)]
    assert {*list_pictures([f"{there}/images/a/*.png"]).files} == {*list_pictures([f"{here}/images/a/*.png"]).files}
    assert {*list_pictures([f"{there}/images"]).files} == {*list_pictures([f"{here}/images"]).files}


def web(folder: Path) -> Front:
    """A web server that shows folders as pages, as Python's does."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return Front(server.server_port)


def test_a_web_server_that_says_more_than_it_is_asked_for():
    import gzip
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    sent, packed = [0], gzip.compress(bytes(10**6))

    class Talker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if self.path == "/packed.csv":
                self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                self.wfile.write(packed)
                return
            self.end_headers()
            with suppress(OSError):
                while sent[0] < 2**26:
                    sent[0] += self.wfile.write(bytes(2**16))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Talker)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there = f"http://127.0.0.1:{server.server_port}"
    try:
        assert remote.read(f"{there}/endless.png", 1000) == bytes(1000)
        assert remote.read(f"{there}/packed.csv", 10**6) == packed
    finally:
        server.shutdown()
        server.server_close()
    assert sent[0] < 2**25


@pytest.mark.parametrize("says", ["nothing", "its size", "less"])
@pytest.mark.parametrize("bound", ["the limit", "the disk"])
def test_a_copy_without_end_is_refused(says: str, bound: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    sent = [0]

    class Talker(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            if says == "its size" or (says == "less" and self.command == "HEAD"):
                self.send_header("Content-Length", str(2**34 if says == "its size" else 9))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):
                while self.command == "GET" and sent[0] < 2**28:
                    sent[0] += self.wfile.write(bytes(2**16))

        do_HEAD = do_GET  # noqa: N815 - as http.server wants it

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Talker)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if bound == "the limit":
        monkeypatch.setattr(remote, "MAX_COPY", 2**24, raising=False)
        words = "a file of at most 16777216 bytes at http.*/t.csv"
    else:
        free = shutil.disk_usage(tmp_path)._replace(free=2**24)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
        words = "No space left on device for .*XDG_CACHE_HOME"
    try:
        with pytest.raises(InputError, match=words) as caught:
            storage.here(f"http://127.0.0.1:{server.server_port}/t.csv")
    finally:
        server.shutdown()
        server.server_close()
    assert (f"{2**34} bytes" in str(caught.value)) == (says == "its size")
    assert sent[0] < 2**27
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # nothing is left of the copy


def test_a_large_file_of_a_bucket_is_refused_before_it_is_copied(
    s3: Any, front: Front, monkeypatch: pytest.MonkeyPatch
):
    s3.pipe(url := f"s3://{BUCKET}/copies/large.csv", bytes(1000))
    monkeypatch.setattr(remote, "MAX_COPY", 999, raising=False)
    with pytest.raises(InputError, match=r"a file of at most 999 bytes at s3://.*, got 1000 bytes"):
        storage.here(url)
    monkeypatch.setattr(remote, "MAX_COPY", 1000)
    assert len(Path(storage.here(url)).read_bytes()) == 1000


def test_many_folders_are_listed_together(remote_tree: str, s3: Any, front: Front):
    for patient in range(12):
        s3.pipe(f"{BUCKET}/patients/{patient}/1.png", b"x")
    front.asked.clear()
    assert absent(f"s3://{BUCKET}/patients", encode([f"{p}/1.png" for p in range(12)])) == []
    assert len(front.asked) <= 2


def test_what_a_bucket_does_not_list_is_not_asked_for(s3: Any, front: Front):
    for name in ("0/a.png", "0/.b.png", "1/a.png"):
        s3.pipe(f"{BUCKET}/sparse/{name}", b"x")
    folder, names = f"s3://{BUCKET}/sparse", [f"{p}/a.png" for p in range(30)]
    front.asked.clear()
    assert absent(folder, encode(names)) == [*range(2, 30)]
    assert absent(folder, encode(["0/a.png", *(f"0/{n}.png" for n in range(20))])) == [*range(1, 21)]
    assert absent(folder, encode([f"none/{n}.png" for n in range(20)])) == [*range(20)]
    assert len(front.asked) <= 6
    hidden = encode([*names, "0/.b.png", "0/.c.png"])  # a listing leaves them out
    assert absent(folder, hidden) == [*range(2, 30), 31]


def test_names_that_mean_more_on_the_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = ["a#1.bin", "a?2.bin", "a 3.bin", "x#y/4.bin", "x#y/a?5.bin"]
    for name in [*names, "a", "x"]:  # the last two are what would be read instead
        (tmp_path / "w 1" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "w 1" / name).write_text(name)
    there, here = f"http://127.0.0.1:{web(tmp_path).port}/w 1", str(tmp_path / "w 1")
    assert sorted(storage.files_below(there)) == sorted(storage.files_below(here)) == sorted([*names, "a", "x"])
    assert storage.entries(there) == storage.entries(here)
    assert sorted(storage.files(there)) == sorted(storage.files(here))
    assert sorted(storage.names(f"{there}/x#y")) == ["4.bin", "a?5.bin"]
    assert absent(there, encode([*names, "a#2.bin"])) == [len(names)]
    for name in names:
        assert storage.beginning(f"{there}/{name}", 99) == name.encode()
        assert Path(storage.here(f"{there}/{name}")).read_text() == name
    assert remote.matching(f"{there}/a*1.bin", there) == ["a#1.bin"]
    assert remote.matching(f"{there}/x#y/?.bin", f"{there}/x#y") == ["4.bin"]


def test_paths_stay_within_a_root_behind_a_url():
    root, where = "s3://ward/tree", "t.csv, line 2"
    assert inside("s3://ward/tree/images/1.png", root, f"{root}/images", where) == "1.png"
    for name in ("s3://ward/other/1.png", "https://elsewhere/1.png", "../1.png", "/etc/passwd"):
        with pytest.raises(InputError):
            inside(name, root, f"{root}/images", where)
    with pytest.raises(InputError):
        inside("s3://ward/tree/1.png", "data", "data", where)
    assert storage.common_folder(["s3://ward/tree/a/b", "s3://ward/tree/c"]) == "s3://ward/tree"


def test_data_files_are_asked_for_by_the_storage_alone():
    asked = re.compile(
        r"os\.(listdir|scandir|walk|open|stat|path\.(l?exists|isfile|isdir|getsize))\b"
        r"|[^.\w]open\(|\.iterdir\(|glob\(|np\.(load|fromfile|memmap)\("
    )
    # What is written on this machine, and the maps that are mapped from it; memory, and the caches' own files; what
    # was unpacked here; packs, whose shards are copied here before they are opened.
    own = {
        "made_pictures.py", "chest_boxes.py", "npz_pictures.py", "fundus_tiles.py", "map_files.py", "pairs.py",
        "cache.py", "disk_cache.py", "split_file.py", "chest_mnist.py", "writing.py", "record.py", "shards.py",
        "run_split.py", "parquet.py",
    }  # fmt: skip
    rooms = {room: [*(REPOSITORY / "ibca_lightning" / room).rglob("*.py")] for room in ("data", "datasets", "run")}
    # The others of `run` ask for files of runs, which are written here.
    rooms["run"] = [path for path in rooms["run"] if path.name in ("lightning_cli.py", "relative_paths.py")]
    found = [
        f"{path.name}: {line.strip()}"
        for paths in rooms.values()
        for path in paths
        if path.name not in own and "storage" not in path.parts
        for line in path.read_text().splitlines()
        if asked.search(line) and not re.search(r"storage\.|lexists|offline", line)  # offline runs of W&B
    ]
    assert [len(files) > 1 for files in rooms.values()] == [True] * 3
    assert found == []


# --- copies, and caches -------------------------------------------------------------------------------------------


def test_a_copy_is_made_once_and_again_when_the_file_changes(s3: Any, front: Front):
    url = f"s3://{BUCKET}/copies/t.csv"
    s3.pipe(url, b"first")
    assert Path(storage.here(url)).read_bytes() == Path(storage.here(url)).read_bytes() == b"first"
    assert gets(front, "t.csv") == 1
    s3.pipe(url, b"other")  # of the same size
    copy = Path(storage.here(url))
    assert (copy.read_bytes(), copy.name) == (b"other", "t.csv")
    assert copy.stat().st_mode & 0o077 == 0 or copy.parent.stat().st_mode & 0o077 == 0


def test_a_file_that_changes_while_it_is_copied(s3: Any, front: Front, monkeypatch: pytest.MonkeyPatch):
    url, changes = f"s3://{BUCKET}/copies/changing.csv", [b"two", b"six"]
    s3.pipe(url, b"one")

    def change(method: str, path: str) -> None:
        if method == "GET" and "changing" in path and "list-type" not in path and changes:
            s3.pipe(url, changes.pop(0))  # through the same server, which waits with this answer

    front.fault = change
    assert Path(storage.here(url)).read_bytes() == b"six"
    changes += [b"%d" % n for n in range(9)]
    s3.pipe(url, b"new")
    with pytest.raises(InputError, match="stays as it is"):
        storage.here(url)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_caches_read_a_picture_once_until_it_changes(kind: str, s3: Any, front: Front, tmp_path: Path):
    url, layout = f"s3://{BUCKET}/cached/{kind}.bin", Layout(2, 0)
    s3.pipe(url, b"\1")
    cache = MemoryCache(1, layout) if kind == "memory" else DiskCache(str(tmp_path), layout, {}, [url.encode()])

    def fetched() -> int:
        def make() -> Any:
            return np.full((2, 2, 3), storage.content(url, 9)[0], np.uint8), []

        return int(cache.fetch(0, [url], make)[0][0, 0, 0])

    assert [fetched(), fetched()] == [1, 1]
    assert gets(front, f"{kind}.bin") == 1
    s3.pipe(url, b"\2")
    assert [fetched(), fetched()] == [2, 2]
    assert gets(front, f"{kind}.bin") == 2
    s3.rm(url)
    assert Signature.of([url]) is None


def test_what_a_killed_process_left_of_a_copy_is_removed(s3: Any, front: Front, tmp_path: Path):
    url = f"s3://{BUCKET}/copies/left.csv"
    s3.pipe(url, b"first")
    copy = Path(storage.here(url))
    old, young = (copy.with_name(f".{at:08x}.left.csv") for at in (1, 2))
    for part in (old, young):
        part.write_bytes(b"fi")
    os.utime(old, (0, 0))
    s3.pipe(url, b"other")
    assert Path(storage.here(url)).read_bytes() == b"other"
    assert (old.exists(), young.exists(), copy.exists()) == (False, True, True)  # the young may be another process's


def test_a_full_disk_is_no_fault_of_the_storage(s3: Any, front: Front, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    s3.pipe(f"{BUCKET}/copies/t.csv", b"first")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        storage.here(f"s3://{BUCKET}/copies/t.csv")


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["s3", "http"])
@pytest.mark.parametrize("fault", [503, 500, 429, "truncated"])
def test_what_passes_is_asked_again(scheme: str, fault: int | str, s3: Any, front: Front):
    s3.pipe(f"{BUCKET}/faults/1.bin", b"12345678")
    url, left = at(scheme, front, s3, "faults/1.bin"), [fault]
    front.fault = lambda method, path: left.pop() if method == "GET" and "1.bin" in path and left else None
    assert storage.beginning(url, 99) == b"12345678"
    assert not left


@pytest.mark.parametrize("scheme", ["s3", "http"])
@pytest.mark.parametrize(("fault", "words"), [(503, "503 Service"), (403, "access to"), (401, "access to")])
def test_what_stays_is_one_line(scheme: str, fault: int, words: str, s3: Any, front: Front):
    s3.pipe(f"{BUCKET}/faults/1.bin", b"12345678")
    url = at(scheme, front, s3, "faults/1.bin")
    front.fault = lambda method, path: fault
    for ask in (storage.exists, storage.is_folder, storage.entries, storage.here, read_image, Signature.of):
        with pytest.raises(InputError, match=words) as caught:
            ask([url] if ask == Signature.of else url)
        # Neither a picture's own fault, to be passed over, nor anything that the server said, nor keys.
        assert not isinstance(caught.value, PictureError)
        assert "\n" not in str(caught.value)
        assert "s3cr3t" not in str(caught.value)
    with pytest.raises(InputError, match=words):  # else the others alone would decide the depth of a data set
        depth_of(lambda _: url, 1)


def test_a_status_without_a_name_is_a_number():
    said = str(remote._refused("https://ward/1.png", OSError(), 520))
    assert "a storage that answers for https://ward/1.png, got 520;" in said


def at(scheme: str, front: Front, s3: Any, key: str) -> str:
    """A URL of what is in the bucket; by the web it is open to all."""
    s3.chmod(f"{BUCKET}/{key}", "public-read")
    return f"s3://{BUCKET}/{key}" if scheme == "s3" else f"http://127.0.0.1:{front.port}/{BUCKET}/{key}"


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_server_that_says_nothing(scheme: str, s3: Any, front: Front, monkeypatch: pytest.MonkeyPatch):
    import fsspec.config
    import s3fs

    s3.pipe(f"{BUCKET}/faults/1.bin", b"12345678")
    url = at(scheme, front, s3, "faults/1.bin")
    monkeypatch.setattr(remote, "_SILENT", 0.2)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 0.2}})
    front.fault = lambda method, path: "silent"
    with pytest.raises(InputError, match="a storage that answers"):
        storage.beginning(url, 9)


def test_a_server_that_is_not_there(front: Front, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="a storage that answers"):
        storage.exists("http://127.0.0.1:9/1.bin")


def test_what_vanished_or_is_empty_is_as_it_is_locally(s3: Any, front: Front):
    url = f"s3://{BUCKET}/faults/gone.png"
    s3.pipe(url, b"")
    with pytest.raises(PictureError, match="0 bytes"):
        read_image(url)
    s3.rm(url)
    with pytest.raises(PictureError, match="nothing there"):
        read_image(url)
    assert storage.here(url) == url
    assert not storage.exists(f"s3://{BUCKET}-of-nobody/1.png")


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://me:pa55word@host/scans", "s3://AKIA:pa55word@ward/scans", "HTTPS://pa55word@host/scans",
        "https://ward.s3.example/x?X-Amz-Signature=pa55word", "s3://ward/x?AWSAccessKeyId=1&Signature=pa55word",
    ],
)  # fmt: skip
def test_a_url_with_credentials_is_refused_and_not_repeated(url: str, here: Path):
    config = here / "e.yaml"
    config.write_text(f"data:\n  class_path: CSVDataModule\n  init_args:\n    root: {url}\n")
    for arguments in (
        ("predict", "--ckpt_path", url, "--images", "x", "--output", "out"),
        ("fit", "--config", "endo", f"--data.root={url}"),
        ("fit", "--config", config),
        ("check", "--config", config),
    ):
        result = ibca(*arguments)
        assert result.code == 2
        assert len(result.errors) == 1
        assert "a URL without user, password" in result.err
        assert "pa55word" not in result.err + result.out
    with pytest.raises(InputError) as caught:
        storage.exists(url.replace("HTTPS", "https"))
    assert "pa55word" not in str(caught.value)
    assert [path.name for path in here.iterdir()] == ["e.yaml"]


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match=r"gcsfs, .*ibca-lightning\[remote\]"):
        storage.exists("gs://ward/scans")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fit", "--config", "endo", "--run_dir", "s3://ward/run"), "--run_dir on this machine"),
        (("predict", "--ckpt_path", "x", "--images", "x", "--output", "s3://ward/out"), "--output on this machine"),
        (("check", "--config", "endo", "--output", "s3://ward/out"), "--output on this machine"),
        (("faithfulness", "--config", "endo", "--ckpt_path", "s3://ward/best.ckpt"), "--output on this machine"),
        (("explain", "--ckpt_path", "x", "--images", "x", "--output", "s3://ward/out"), "--output on this machine"),
    ],
)
def test_nothing_is_written_behind_a_url(arguments: tuple[str, ...], words: str, here: Path):
    result = ibca(*arguments)
    assert (result.code, words in result.err) == (2, True), result.err
    assert not [*here.iterdir()]


def test_what_is_mapped_or_made_lies_here():
    data = importlib.import_module("ibca_lightning.data")
    with pytest.raises(InputError, match="stored maps"):
        data.FrozenMaps("s3://ward/maps")
    from ibca_lightning.datasets.layouts.made_pictures import writable

    with pytest.raises(InputError, match="pairs_dir"), writable("pictures", "s3://ward/pairs", "pairs_dir"):
        pass
