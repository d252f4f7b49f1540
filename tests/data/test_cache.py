import hashlib
import multiprocessing
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ibca_lightning.data import CSVDataModule, cache, disk_cache
from ibca_lightning.data.cache import Layout, MemoryCache, Signature
from ibca_lightning.data.dataset import PictureDataset
from ibca_lightning.data.storage.remote import default_folder
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_csv

ROWS = 10  # of the training table
ENTRY = 64


def module(root: str, folder: str, **changes: Any) -> CSVDataModule:
    options = {"image_dir": "images", "mask_dir": "masks", "val_csv": "val.csv", "exclude_columns": ["age", "sex"]}
    options |= {"image_size": 48, "num_workers": 0, "augment": "none", "cache": "disk", "cache_dir": folder, **changes}
    return CSVDataModule(root, group_column="patient", **options)  # type: ignore[arg-type]


def read(dataset: PictureDataset, order: int = 1) -> tuple[int, str]:
    """Number of pictures that were prepared, and a hash of all pixels and masks in the order of rows."""
    prepare, made = PictureDataset._prepare, []

    def counted(self: PictureDataset, *files: str) -> Any:
        made.append(files)
        return prepare(self, *files)

    PictureDataset._prepare = counted  # type: ignore[method-assign]
    try:
        items = {row: dataset[row] for row in range(len(dataset))[::order]}
    finally:
        PictureDataset._prepare = prepare  # type: ignore[method-assign]
    total = hashlib.sha256()
    for row in sorted(items):
        total.update(items[row]["image"].numpy().tobytes() + items[row]["mask"].numpy().tobytes())
    return len(made), total.hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fake_csv.write(tmp_path / "data", rows=20)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust time stamps at once: files of the tests are younger than two seconds."""
    monkeypatch.setattr(cache, "_SETTLED", 0.0)


def fresh(root: Path, folder: Path, **changes: Any) -> tuple[int, str]:
    return read(module(str(root), str(folder), **changes).train_set())


def in_process(target: Callable[..., None], *arguments: Any) -> Any:
    """Start a process of its own; forked, because importing torch once more takes seconds."""
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


def fill(root: Path, folder: Path, order: int, output: Path) -> None:
    output.write_text(read(module(str(root), str(folder)).train_set(), order)[1])


def die(root: Path, folder: Path, after: int) -> None:
    """End as `kill -9` does, half way through a write."""
    write, calls = disk_cache._write_all, []

    def dying(file: int, data: bytes, at: int) -> None:
        calls.append(at)
        if len(calls) == after:
            os.pwrite(file, data[: len(data) // 2], at)
            os.kill(os.getpid(), signal.SIGKILL)
        write(file, data, at)

    disk_cache._write_all = dying
    fresh(root, folder)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_the_second_epoch_prepares_nothing_and_gives_the_same(root: Path, tmp_path: Path, kind: str) -> None:
    plain = fresh(root, tmp_path / "c", cache="none")
    assert plain[0] == ROWS
    dataset = module(str(root), str(tmp_path / "c"), cache=kind).train_set()
    assert read(dataset) == (ROWS, plain[1])
    assert read(dataset) == (0, plain[1])


def test_what_lies_on_disk_serves_later_runs_and_other_splits(root: Path, tmp_path: Path) -> None:
    made, pixels = fresh(root, tmp_path / "c")
    assert (made, fresh(root, tmp_path / "c")) == (ROWS, (0, pixels))
    reordered = root / "train.csv"
    lines = reordered.read_text().splitlines()
    reordered.write_text("\n".join([lines[0], *lines[:3:-1]]))
    assert fresh(root, tmp_path / "c")[0] == 0
    for changes in ({"image_size": 32}, {"resize": "pad"}, {"crop": "field_of_view"}):
        assert fresh(root, tmp_path / "c", **changes)[0] == ROWS - 3
    assert fresh(root, tmp_path / "c")[0] == 0


def test_another_reader_version_finds_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh(root, tmp_path / "c")
    monkeypatch.setattr(disk_cache, "READER_VERSION", 1000)
    assert fresh(root, tmp_path / "c")[0] == ROWS


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_file_that_changes_is_read_again_though_its_size_and_time_stay(
    root: Path, tmp_path: Path, kind: str, part: str
) -> None:
    dataset = module(str(root), str(tmp_path / "c"), cache=kind).train_set()
    before = read(dataset)
    name = dataset.table.name(0)
    path = root / part / (name if part == "images" else str(Path(name).with_suffix(".png")))
    shape = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape
    while True:  # other pixels in a file of the same length
        old, status = path.read_bytes(), path.stat()
        random = np.random.default_rng().integers(0, 255, shape, dtype=np.uint8)
        options = [cv2.IMWRITE_PNG_COMPRESSION, 0] if path.suffix == ".png" else []
        cv2.imwrite(str(path), random, options)
        if path.stat().st_size == status.st_size and path.read_bytes() != old:
            break
        read(dataset)
    read(dataset)
    held = read(dataset)
    assert held[0] == 0
    cv2.imwrite(str(path), 255 - random, options)
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    made, pixels = read(dataset)
    assert made == 1
    assert len({before[1], held[1], pixels}) == 3
    assert fresh(root, tmp_path / "c", cache="none")[1] == pixels


def test_a_copied_data_set_is_known_by_its_content(root: Path, tmp_path: Path) -> None:
    made, pixels = fresh(root, tmp_path / "c")
    shutil.copytree(root, tmp_path / "copy")
    shutil.rmtree(root)
    assert fresh(tmp_path / "copy", tmp_path / "c") == (0, pixels)
    (folder,) = (tmp_path / "c").iterdir()
    assert (folder / "pictures.bin").stat().st_size == made * 48 * 48 * 4


def test_young_files_are_hashed_until_their_time_stamps_say_enough(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_SETTLED", 1e9)
    hashes: list[Any] = []
    content = disk_cache._content
    monkeypatch.setattr(disk_cache, "_content", lambda files: hashes.append(files) or content(files))
    assert [fresh(root, tmp_path / "c")[0] for _ in range(3)] == [ROWS, 0, 0]
    assert len(hashes) == 3 * ROWS
    (index,) = (tmp_path / "c").glob("*/index.bin")
    assert index.stat().st_size == ROWS * ENTRY
    monkeypatch.setattr(cache, "_SETTLED", 0.0)
    assert [fresh(root, tmp_path / "c")[0] for _ in range(2)] == [0, 0]
    assert len(hashes) == 4 * ROWS


def test_two_processes_share_a_cache_while_they_fill_it(root: Path, tmp_path: Path) -> None:
    expected = fresh(root, tmp_path / "other", cache="none")[1]
    outputs = [tmp_path / name for name in ("forwards", "backwards")]
    both = [in_process(fill, root, tmp_path / "c", order, out) for order, out in zip((1, -1), outputs, strict=True)]
    for process in both:
        process.join(60)
    assert [output.read_text() for output in outputs] == [expected] * 2
    assert fresh(root, tmp_path / "c") == (0, expected)
    (folder,) = (tmp_path / "c").iterdir()
    assert (folder / "pictures.bin").stat().st_size == ROWS * 48 * 48 * 4  # nothing twice


@pytest.mark.parametrize("write", [5, 6])  # odd writes are slots, even ones entries: a third of the work is done
def test_a_killed_process_leaves_a_cache_to_go_on_with(root: Path, tmp_path: Path, write: int) -> None:
    expected = fresh(root, tmp_path / "other", cache="none")[1]
    process = in_process(die, root, tmp_path / "c", write)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (index,) = (tmp_path / "c").glob("*/index.bin")
    assert index.stat().st_size == 2 * ENTRY + (32 if write == 6 else 0)
    assert fresh(root, tmp_path / "c") == (ROWS - 2, expected)
    assert fresh(root, tmp_path / "c") == (0, expected)
    assert index.stat().st_size == ROWS * ENTRY
    assert index.with_name("pictures.bin").stat().st_size == ROWS * 48 * 48 * 4


@pytest.mark.parametrize("harm", ["pixels", "zeros", "short", "entry", "zero entry"])
def test_a_damaged_cache_is_made_again_where_it_is_damaged(root: Path, tmp_path: Path, harm: str) -> None:
    expected = fresh(root, tmp_path / "c")[1]
    (index,) = (tmp_path / "c").glob("*/index.bin")
    file = index if "entry" in harm else index.with_name("pictures.bin")
    size = file.stat().st_size // ROWS
    with open(file, "r+b") as opened:
        if harm == "short":
            opened.truncate(9 * size + 100)
        else:
            opened.seek(3 * size + (40 if harm == "entry" else 0))
            opened.write(b"\0" * size if "zero" in harm else b"\7\7\7\7")
    assert fresh(root, tmp_path / "c") == (1, expected)
    assert fresh(root, tmp_path / "c") == (0, expected)


def test_each_of_many_contents_is_found_without_a_look_at_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "_BLOCK", 7)
    files = [tmp_path / f"{at}" for at in range(100)]

    def cache_of(files: list[Path]) -> disk_cache.DiskCache:
        paths = [str(file).encode() for file in files]
        return disk_cache.DiskCache(str(tmp_path / "c"), Layout(2, 0), {"resize": "stretch"}, paths)

    def value(held: disk_cache.DiskCache, at: int, file: Path) -> int:
        return int(held.fetch(at, [str(file)], lambda: (np.full((2, 2, 3), at, np.uint8), []))[0].max())

    filled = cache_of(files)
    for at, file in enumerate(files):
        file.write_bytes(b"%d" % at)
        assert value(filled, at, file) == at
    copies = [file.rename(file.with_name(f"copy of {file.name}")) for file in files]
    reads: list[bytes] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *where: reads.append(pread(*where)) or reads[-1])
    for held in (filled, cache_of(copies)):  # that which wrote it, and that which reads it in blocks
        reads.clear()
        assert [value(held, 99 - at, copy) for at, copy in enumerate(copies)] == list(range(100))
        assert len(b"".join(reads)) < 64 * 100 * 20  # a look through the index for each would be 64 * 100 * 100


def test_a_file_that_changes_while_it_is_read_is_not_kept(root: Path, tmp_path: Path) -> None:
    held = disk_cache.DiskCache(str(tmp_path / "c"), Layout(2, 0), {"resize": "stretch"}, [b"x"])
    file = tmp_path / "x"
    file.write_bytes(b"one")

    def changing() -> cache.Prepared:
        file.write_bytes(b"two")
        return np.full((2, 2, 3), 1, np.uint8), []

    held.fetch(0, [str(file)], changing)
    after, _ = held.fetch(0, [str(file)], lambda: (np.full((2, 2, 3), 2, np.uint8), []))
    assert (after == 2).all()


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_workers_share_what_they_read(root: Path, tmp_path: Path, kind: str) -> None:
    options: Any = {"cache": kind, "num_workers": 2, "batch_size": ROWS}
    data = module(str(root), str(tmp_path / "c"), **options)
    data.setup("fit")
    assert sorted(name for batch in data.train_dataloader() for name in batch["id"]) == sorted(
        data.table("train").name(row) for row in range(ROWS)
    )
    made, pixels = read(data._sets["train"])  # type: ignore[arg-type]
    assert made == 0
    assert fresh(root, tmp_path / "c", cache="none")[1] == pixels


def test_augmentation_comes_after_the_cache_and_leaves_it_alone(root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    dataset = module(str(root), str(tmp_path / "c"), augment="default").train_set()
    first, again = ([item["image"] for item in dataset] for _ in range(2))  # type: ignore[attr-defined]
    assert not all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert fresh(root, tmp_path / "c") == (0, fresh(root, tmp_path / "c", cache="none")[1])


def test_a_memory_cache_goes_to_spawned_workers_empty() -> None:
    held = MemoryCache(3, Layout(2, 1))
    copy = pickle.loads(pickle.dumps(held))
    assert (copy.rows, copy.layout.bytes) == (3, 16)
    assert not copy._signatures.any()


def test_a_signature_tells_names_apart_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    os.link(tmp_path / "a", tmp_path / "b")
    one, two = (Signature.of([str(tmp_path / name)]) for name in "ab")
    assert one is not None
    assert one != two
    assert Signature.of([str(tmp_path / "a"), str(tmp_path / "c")]) is None


def test_too_little_memory_or_space_is_said_in_one_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "free_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"GB of free memory for data\.cache: memory \(10 pictures\).*cache: disk"):
        fresh(root, tmp_path / "c", cache="memory")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(InputError, match=r"GB of free space for the cache in .*, got 0\.0 GB; .*data\.cache_dir"):
        fresh(root, tmp_path / "c")


def test_a_disk_that_fills_up_stops_with_one_line_and_is_never_skipped(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    data = module(str(root), str(tmp_path / "c"), on_bad_image="skip")
    data.setup("fit")
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(InputError, match=r"space for the cache in .*line 2\), got No space left on device; free some"):
        next(iter(data.val_dataloader()))


def test_a_folder_that_cannot_be_written_and_wrong_values(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cache that can be written at .*file"):
        fresh(root, tmp_path / "file")
    with pytest.raises(InputError, match=r"data\.cache: none, memory or disk, got 'ram'"):
        CSVDataModule(str(root), cache="ram")


def test_the_default_folder_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == "/somewhere/ibca_lightning"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/x")
    assert default_folder() == "/home/x/.cache/ibca_lightning"
