"""A pack gives what the loose files give: items, splits, epochs, figures, however it was written and read."""

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from ibca_lightning.data import ChestXray14, CSVDataModule, JoinedDataModule, PackedPictures
from ibca_lightning.data.label_noise import LabelNoise
from ibca_lightning.data.run_split import RunSplit
from ibca_lightning.data.storage import remote
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.tables.sites import Sites
from ibca_lightning.data.tables.split_file import split_rows
from ibca_lightning.datasets.packed import datamodule, record, shards, writing
from ibca_lightning.datasets.packed.place import Place
from ibca_lightning.datasets.packed.record import read_record, read_table
from ibca_lightning.datasets.packed.shards import Shards
from ibca_lightning.datasets.packed.writing import write_pack
from ibca_lightning.marks.option import Marks
from ibca_lightning.run.callbacks.attention_pictures import _in_proportion
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, ibca, rows, written
from tests.datasets import fake_chest_xray14, fake_csv
from tests.datasets.contract import DataModuleContract

SMALL: dict[str, Any] = {"image_size": 32, "batch_size": 4, "num_workers": 0}
SHARD = 60_000  # bytes: some pictures each


def loose(tree: Path, **options: Any) -> CSVDataModule:
    columns = {"group_column": "patient", "image_dir": "images", "mask_dir": "masks", "subgroup_columns": ["sex"]}
    return CSVDataModule(str(tree), "all.csv", test_fraction=0.2, exclude_columns=["age"], **columns, **SMALL | options)


class TestPackedPictures(DataModuleContract):
    class_names: ClassVar = list(fake_csv.LABELS)
    rows: ClassVar = {"train": 60}
    has_masks = True
    has_files = False

    def write(self, root: Path) -> None:
        fake_csv.write(root / "loose")
        write_pack(loose(root / "loose"), str(root / "pack"), 8_000)  # most pictures have a shard of their own

    def module(self, root: Path, **common: Any) -> PackedPictures:
        return PackedPictures(str(root / "pack"), **common)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loose")
    fake_csv.write(root)
    return root


@pytest.fixture(scope="module")
def root(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of some ten shards; who changes it takes a copy."""
    root = tmp_path_factory.mktemp("packed") / "pack"
    write_pack(loose(tree), str(root), SHARD)
    return root


def packed(root: object, **options: Any) -> PackedPictures:
    return PackedPictures(str(root), **SMALL | options)


def items(module: Any, split: str) -> list[Any]:
    dataset = {"train": module.train_set, "val": module.val_set}.get(split, lambda: module.test_sets()["test"])()
    return [dataset[at] for at in range(len(dataset))]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def assert_equal(module: PackedPictures, other: CSVDataModule) -> None:
    for split in ("train", "val", "test"):
        ours, theirs = items(module, split), items(other, split)
        assert len(ours) == len(theirs) > 0
        assert all(same(*pair) for pair in zip(ours, theirs, strict=True))
        assert "mask" in ours[0]


def test_every_item_is_that_of_the_loose_files(root: Path, tree: Path) -> None:
    assert_equal(packed(root, augment="none"), loose(tree, augment="none"))
    other = {"augment": "none", "resize": "pad", "image_size": 48}
    assert_equal(packed(root, **other), loose(tree, **other))
    assert packed(root).exclusive_classes == loose(tree).exclusive_classes


def epoch(module: Any, ranks: int = 1, rank: int = 0, skip: int = 0) -> list[Any]:
    """The batches of the first epoch of one process, behind some that a stopped run was given."""
    strategy = SimpleNamespace(broadcast=lambda seed: 7)
    module.trainer = SimpleNamespace(global_rank=rank, world_size=ranks, strategy=strategy)
    module.setup("fit")
    torch.manual_seed(7)
    loader = module.train_dataloader()
    if skip:
        loader.load_state_dict({"batches": skip, "batch_size": 4})
    return list(loader)


def test_an_epoch_of_few_shards_is_that_of_the_loose_files(root: Path, tree: Path) -> None:
    assert all(same(*pair) for pair in zip(epoch(packed(root)), epoch(loose(tree)), strict=True))


@pytest.mark.parametrize("balanced", [False, True])
def test_an_epoch_of_many_shards_reads_some_at_a_time(
    balanced: bool, root: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datamodule, "_TOGETHER", 2)
    options = {"balanced_sampling": balanced}
    module = packed(root, **options)
    batches = epoch(module)
    ids = [name for batch in batches for name in batch["id"]]
    everything = [name for batch in epoch(loose(tree, **options)) for name in batch["id"]]
    if not balanced:  # which rows the drop_last of the last batch leaves out is another matter
        assert len({*ids}) == len(ids) == len(everything)
    assert ids != everything
    table = module.table("train")
    shard = dict(zip(map(table.name, range(len(table))), module.shards().of(table.lines).tolist(), strict=True))
    assert len({*shard.values()}) > 5
    parts = [shard[name] for name in ids]
    for one in {*parts}:  # of each shard all pictures, before those of all but one other
        first, last = parts.index(one), len(parts) - parts[::-1].index(one)
        assert len({*parts[first:last]}) <= 2
    # Two processes train together on what one does, and a run that is taken up goes on.
    halves = [epoch(packed(root, batch_size=2, **options), 2, rank) for rank in range(2)]
    for whole, *parts_of_it in zip(batches, *halves, strict=True):
        assert sorted(whole["id"]) == sorted(name for part in parts_of_it for name in part["id"])
    assert all(same(*pair) for pair in zip(epoch(packed(root, **options), skip=3), batches[3:], strict=True))


def test_folds_and_a_split_file_divide_the_rows_as_they_divide_the_loose_ones(
    root: Path, tree: Path, tmp_path: Path
) -> None:
    def ids(module: Any) -> list[list[str]]:
        return [sorted(map(table.name, range(len(table)))) for table in module.split_tables().values()]

    assert ids(packed(root, fold=1, folds=3)) == ids(loose(tree, fold=1, folds=3))
    module = loose(tree)
    (tmp_path / "splits.csv").write_text(
        "id,group,split\n" + "".join(f"{','.join(row)}\n" for row in split_rows(loose(tree, fold=0).split_tables()))
    )
    assert ids(packed(root, splits=str(tmp_path / "splits.csv"))) == ids(loose(tree, fold=0)) != ids(module)
    evaluated = packed(root)
    evaluated.run_split = RunSplit(str(tmp_path), ("val",), "keep")  # of a run on the loose files
    assert ids(evaluated) == ids(loose(tree, fold=0))


def test_labels_are_settled_by_the_rows_that_train(tree: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"labels": LabelPolicy(uncertain="one", blank="zero")}
    write_pack(loose(tree, **options), str(tmp_path), SHARD)
    for more in ({}, {"fold": 1, "folds": 3}, {"label_space": ["C", "A"]}):
        ours, theirs = (module.split_tables() for module in (packed(tmp_path, **more), loose(tree, **options, **more)))
        for split in ("train", "val", "test"):
            own, other = (
                dict(zip(each.names.tolist(), each.labels.tolist(), strict=True))
                for each in (ours[split], theirs[split])
            )
            assert own == other
    assert (packed(tmp_path).table("train").labels >= 0).all()
    packed(tmp_path, **options)
    with pytest.raises(InputError, match=r"data\.labels as the data were packed with, got another; leave it out"):
        packed(tmp_path, labels=LabelPolicy(uncertain="zero"))


def test_litdata_reads_the_shards(root: Path, tree: Path) -> None:
    from litdata import StreamingDataset

    module = loose(tree)
    samples = [[bytes(part) for part in sample] for sample in StreamingDataset(str(root / "val"))]
    table = module.table("val")
    names = [table.name(row) for row in range(len(table))]
    assert samples == [
        [(tree / "images" / name).read_bytes(), (tree / "masks" / name).with_suffix(".png").read_bytes()]
        for name in names
    ]


@pytest.fixture
def interrupted(root: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pack that was stopped when half of the training pictures were in it."""
    count = iter(range(20))

    def sample(*given: Any) -> list[bytes]:
        if next(count, None) is None:
            raise KeyboardInterrupt
        return own(*given)

    own = writing._sample
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_sample", sample)
        with pytest.raises(KeyboardInterrupt):
            write_pack(loose(tree), str(tmp_path / "pack"), SHARD)
    return tmp_path / "pack"


def test_a_pack_that_was_stopped_does_not_train_and_goes_on(
    interrupted: Path, root: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 1 < len([*interrupted.rglob("*.bin")]) < 8
    with pytest.raises(InputError, match=r"a whole pack at .*, got one that was interrupted; give `ibca pack"):
        packed(interrupted)
    with pytest.raises(InputError, match=r"a pack of the same data, or none, at .*, got one of others"):
        write_pack(loose(tree, split_seed=5), str(interrupted), SHARD)
    (interrupted / ".part-killed").mkdir()
    read: list[int] = []
    own = writing._sample
    monkeypatch.setattr(writing, "_sample", lambda *given: read.append(given[-1]) or own(*given))
    write_pack(loose(tree), str(interrupted), SHARD)
    assert len(read) < 60, "what was there is not read again"
    files = [
        sorted(path.relative_to(each) for path in each.rglob("*") if path.is_file()) for each in (interrupted, root)
    ]
    assert files[0] == files[1]
    for name in files[0]:
        if name.suffix == ".bin":
            assert (interrupted / name).read_bytes() == (root / name).read_bytes()
    assert_equal(packed(interrupted, augment="none"), loose(tree, augment="none"))
    before = [path.stat().st_mtime_ns for path in sorted(interrupted.rglob("*.bin"))]
    write_pack(loose(tree), str(interrupted), SHARD)
    assert before == [path.stat().st_mtime_ns for path in sorted(interrupted.rglob("*.bin"))]


def test_what_a_pack_would_not_carry_is_refused(tree: Path, tmp_path: Path) -> None:
    fake_chest_xray14.write(tmp_path / "chest")
    joined = JoinedDataModule([loose(tree), loose(tree)])
    for data, message in (
        (loose(tree, marks=Marks(0.5)), r"as they are for ibca pack, got data\.marks; leave it out here"),
        (loose(tree, label_noise=LabelNoise(0.1)), r"as they are for ibca pack, got data\.label_noise"),
        (loose(tree, sites=Sites("sex", test=["F"])), r"as they are for ibca pack, got data\.sites"),
        (ChestXray14(str(tmp_path / "chest"), boxes=True), "one test set for ibca pack, got test, boxes"),
        (joined, "files of pictures for ibca pack, got JoinedDataModule; pack each"),
    ):
        with pytest.raises(InputError, match=message):
            write_pack(data, str(tmp_path / "pack"))
    assert not (tmp_path / "pack").exists()


def test_marks_noise_and_sites_are_those_of_the_runs_on_a_pack(root: Path, tree: Path) -> None:
    noise = LabelNoise(0.3)
    assert np.array_equal(
        packed(root, label_noise=noise).training_labels(), loose(tree, label_noise=noise).training_labels()
    )
    assert (
        packed(root, sites=Sites("sex", test=["F"])).test_names
        == loose(tree, sites=Sites("sex", test=["F"])).test_names
    )
    for one, other in zip(*(items(each(marks=Marks(0.5)), "val") for each in (
        lambda **own: packed(root, **own), lambda **own: loose(tree, **own)
    )), strict=True):  # fmt: skip
        assert same(one, other)


def test_litdata_is_asked_for_before_anything_is_written(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ibca-lightning\[packed\]'"):
        write_pack(loose(tree), str(tmp_path / "pack"))
    assert not (tmp_path / "pack").exists()


def spoilt(root: Path, name: str) -> None:
    """Do to a copy what the name says."""
    shard, table, index, record = (
        root / at for at in ("val/chunk-0-0.bin", "val/table.npz", "val/index.json", "pack.json")
    )
    if name == "no shard":
        shard.unlink()
    elif name == "short shard":
        os.truncate(shard, 500)
    elif name == "wrong shard":
        shard.write_bytes(b"\xff" * shard.stat().st_size)
    elif name == "no table":
        table.unlink()
    elif name == "other table":
        shutil.copy(root / "test/table.npz", table)
    elif name == "junk table":
        table.write_bytes(b"junk")
    elif name == "other index":
        shutil.copy(root / "train/index.json", index)
    elif name == "junk index":
        index.write_text('{"chunks": [{"filename": "../../a.bin", "chunk_bytes": 1, "chunk_size": 10}]}')
    elif name == "endless index":
        index.write_text('{"chunks": [{"filename": "a.bin", "chunk_bytes": Infinity, "chunk_size": 10}]}')
    elif name == "names of no text":
        with np.load(table) as arrays:
            plain = dict(arrays)
        plain["names"][3] = b"a\xff"
        np.savez(table, **plain)
    elif name == "fewer numbers":
        with np.load(table) as arrays:
            plain = dict(arrays)
        plain["lines"] = plain["lines"][:-1]
        np.savez(table, **plain)
    elif name == "a class twice":
        content = json.loads(record.read_text())
        record.write_text(
            json.dumps(content | {"class_names": [content["class_names"][0]] * len(content["class_names"])})
        )
    elif name == "short record":
        content = json.loads(record.read_text())
        record.write_text(
            json.dumps(content | {"splits": content["splits"] | {"train": content["splits"]["train"][:2]}})
        )
    elif name == "junk record":
        record.write_text("[" * 100_000)
    else:
        record.write_text(json.dumps(json.loads(record.read_text()) | {"mask_bits": [9, 1, 2]}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no shard", "a shard at .*val/chunk-0-0.bin .*, got nothing there; restore it"),
        ("short shard", "a shard of [0-9]+ bytes at .*val/chunk-0-0.bin .*, got 500 bytes"),
        ("wrong shard", "a shard as it was written at .*val/chunk-0-0.bin .*, got a damaged one"),
        ("no table", "the table of [0-9]+ rows at .*val/table.npz, got none"),
        ("other table", "the table of [0-9]+ rows at .*val/table.npz, got none, or another"),
        ("junk table", "the table of [0-9]+ rows at .*val/table.npz, got none, or another"),
        ("other index", "an index of [0-9]+ pictures at .*val/index.json, got [0-9]+; restore it"),
        ("fewer numbers", "the table of [0-9]+ rows at .*val/table.npz, got none, or another"),
        ("a class twice", "pack.json as `ibca pack` writes it, got something else; write the pack again"),
        ("names of no text", "the table of [0-9]+ rows at .*val/table.npz, got none, or another"),
        ("endless index", "an index of [0-9]+ pictures at .*val/index.json, got none, or a damaged one"),
        ("short record", r"pack.json as `ibca pack` writes it, got something else"),
        ("junk index", "an index of [0-9]+ pictures at .*val/index.json, got"),
        ("junk record", r"pack.json as `ibca pack` writes it, got something else"),
        ("wrong record", r"pack.json as `ibca pack` writes it, got something else"),
    ],
)
def test_what_is_damaged_is_one_line(name: str, message: str, root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    spoilt(copy, name)
    with pytest.raises(InputError, match=message):
        items(packed(copy), "val")


def test_joined_packs_read_with_the_depth_of_their_pictures(root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    record = json.loads((copy / "pack.json").read_text())
    (copy / "pack.json").write_text(json.dumps(record | {"bit_depth": 12}))
    joined = JoinedDataModule([packed(copy), packed(copy)], **SMALL)
    joined.find_bit_depth()
    assert {each.bit_depth for each in (joined, *joined.sets.values())} == {12}


def test_no_pack_and_no_cache(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a whole pack at .*, got no pack\.json there; give `ibca pack"):
        packed(tmp_path)
    with pytest.raises(InputError, match=r"no data\.cache for packed pictures, got disk"):
        packed(root, cache="disk")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An object store in memory."""
    monkeypatch.setattr(remote, "_SCHEMES", (*remote._SCHEMES, "memory://"))
    MemoryFileSystem.store.clear()
    yield "memory://bucket/pack"
    MemoryFileSystem.store.clear()


def test_a_pack_on_a_store_is_fetched_shard_by_shard_and_room_is_made(store: str, tree: Path, tmp_path: Path) -> None:
    write_pack(loose(tree, bit_depth=12), store, SHARD)
    # Folders of their own: a thread may still fetch ahead into the first.
    whole, small, third = ({"augment": "none", "cache_dir": str(tmp_path / name)} for name in "abc")
    assert_equal(packed(store, **whole), loose(tree, augment="none"))
    assert packed(store, **whole).preprocessing["bit_depth"] == "12"
    files = sorted(path.name for path in (tmp_path / "a").rglob("*.bin"))
    assert len(files) == len([name for name in MemoryFileSystem.store if name.endswith(".bin")]) > 8
    module = packed(store, **small, local_gb=3 * SHARD / 1e9)
    assert_equal(module, loose(tree, augment="none"))
    assert 0 < len([*(tmp_path / "b").rglob("*.bin")]) <= 4 + shards._LOCKS, "those that were being fetched may be more"
    # What is gone, or cannot be reached, is one line.
    del MemoryFileSystem.store["/bucket/pack/val/chunk-0-0.bin"]
    with pytest.raises(InputError, match=r"at memory://bucket/pack/val/chunk-0-0.bin .*line.*, got nothing there"):
        items(packed(store, **third), "val")
    with pytest.raises(InputError, match=r"no pack\.json"):
        packed(store + "2")


@pytest.mark.parametrize(
    "address", ["s3://me:hidden@b/p", "https://host/p?sig=hidden", "nope://hidden", "a::s3://m:hidden@b"]
)
def test_addresses_that_no_pack_has_are_refused_and_not_repeated(address: str, tree: Path) -> None:
    for call in (packed, lambda address: write_pack(loose(tree / "none"), address)):
        with pytest.raises(InputError, match=r"a (URL without user|folder, or an address)") as refused:
            call(address)
        assert "hidden" not in str(refused.value)


def test_a_pack_is_written_to_folders_and_object_stores_alone(tree: Path) -> None:
    with pytest.raises(InputError, match=r"s3:// or gs://, for --output, got https://host/pack"):
        write_pack(loose(tree / "none"), "https://host/pack")
    assert ibca("pack", "e.yaml", "--output", "https://host/pack").code == 2


def test_a_bucket_that_is_not_there_is_one_line(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", none)
    with pytest.raises(InputError, match=r"a bucket for memory://bucket/pack/a, got none; make it"):
        Place(store).write("a", b"")


def test_a_folder_is_taken_by_its_name(tree: Path, here: Path) -> None:
    for name in ("~", "a::b"):
        write_pack(loose(tree), name, SHARD)
        assert (here / name / "pack.json").is_file()
        assert len(packed(name).train_set()) > 0


def test_a_full_disk_here_and_a_store_that_refuses_are_told_apart(
    store: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pack(loose(tree), store, SHARD)
    module = packed(store, cache_dir=str(tmp_path))
    module.read_tables()
    for error, message in (
        (OSError(errno.ENOSPC, "No space left on device"), r"copies of shards at .*packs.*, got No space left"),
        (OSError("signature=hidden"), r"a storage that answers for memory://bucket/pack/val/chunk-0-0.bin"),
    ):
        monkeypatch.setattr(MemoryFileSystem, "get_file", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        with pytest.raises(InputError, match=message) as refused:
            module.val_set()[0]
        assert "hidden" not in str(refused.value)


def test_shards_are_fetched_before_they_are_needed(store: str, tree: Path, tmp_path: Path) -> None:
    write_pack(loose(tree), store, SHARD)
    module = packed(store, cache_dir=str(tmp_path))
    dataset: Any = module.train_set()
    dataset[0]
    assert module.shards()._wanted is None, "rows that come in any order, as joined ones do, are not fetched ahead"
    dataset.arranged(np.arange(len(dataset)), np.random.default_rng(0))
    dataset[0]
    wanted = [module.shards()._names[shard] for shard in np.unique(module.shards().of(module.table("train").lines))]
    for _ in range(500):
        if all([*tmp_path.rglob(name)] for name in wanted):
            return
        time.sleep(0.02)
    raise AssertionError("they were not fetched")


def test_no_more_is_fetched_ahead_than_may_be_kept(
    store: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pack(loose(tree), store, SHARD)
    module = packed(store, cache_dir=str(tmp_path), local_gb=2.5 * SHARD / 1e9)
    own, asked = module.shards(), list[int]()
    monkeypatch.setattr(shards, "_fetch_on", lambda *_: None)
    for _ in range(3):
        own.expect(range(len(own)))
    while own._wanted is not None and not own._wanted[1].empty():
        asked.append(own._wanted[1].get() or 0)
    assert 0 < sum(own._sizes[shard] for shard in asked) <= 2.5 * SHARD


def test_what_killed_fetches_left_is_removed_and_threads_end(store: str, tree: Path, tmp_path: Path) -> None:
    write_pack(loose(tree), store, SHARD)
    module = packed(store, cache_dir=str(tmp_path))
    folder = Path(module.shards().folder, "val")
    folder.mkdir(parents=True, exist_ok=True)
    for name, age in (("01234567", 2 * 86400), ("89abcdef", 0)):
        (part := folder / f".{name}.chunk-0-0.bin").write_bytes(b"")
        os.utime(part, (time.time() - age,) * 2)
    items(module, "val")
    assert [part.name[1:9] for part in folder.glob(".*")] == ["89abcdef"]
    before = threading.active_count()
    own = Shards(Place(store), module.record.rows(), str(tmp_path / "other"), 10**9)
    own.expect([])
    assert threading.active_count() > before
    del own
    for _ in range(500):
        if threading.active_count() == before:
            return
        time.sleep(0.02)
    raise AssertionError("the threads have not ended")


@pytest.mark.parametrize("name", ["pack.json", "val/index.json", "val/table.npz", "val/chunk-0-0.bin"])
def test_a_pipe_is_not_waited_for(name: str, root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises((InputError, OSError)):
        items(packed(copy), "val")


def test_a_table_that_unpacks_to_more_than_any_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_MOST", 100)
    with pytest.raises(InputError, match=r"the table of [0-9]+ rows at"):
        packed(root).read_tables()


def test_a_packed_picture_is_drawn_in_its_proportions(root: Path, tree: Path) -> None:
    ours, theirs = packed(root).val_set(), loose(tree).val_set()
    square = np.zeros((32, 32, 3), np.uint8)
    shapes = [_in_proportion(square, each, 0).shape for each in (ours, theirs)]
    assert shapes[0] == shapes[1] != square.shape


def test_a_hashed_name_keeps_the_suffix_that_dicom_is_known_by(tree: Path, tmp_path: Path) -> None:
    rows = ["image,patient,A", *(f"{at}{'.DCM' if at % 2 else '.png'},p{at},{at % 3 % 2}" for at in range(20))]
    (tmp_path / "all.csv").write_text("\n".join(rows) + "\n")
    for at in range(20):
        shutil.copy(next((tree / "images").rglob("*.png")), tmp_path / f"{at}{'.DCM' if at % 2 else '.png'}")
    data = CSVDataModule(str(tmp_path), "all.csv", group_column="patient", test_fraction=0.2, bit_depth=8, **SMALL)
    data.rename = lambda name: f"{abs(hash(name)):020d}"  # type: ignore[method-assign]
    write_pack(data, str(tmp_path / "pack"))
    table = packed(tmp_path / "pack").table("train")
    assert {name.decode()[20:] for name in table.names.tolist()} == {"", ".DCM"}


def test_names_can_be_hashed(tree: Path, tmp_path: Path) -> None:
    data = loose(tree)
    data.rename = lambda name: f"{abs(hash(name)):020d}"  # type: ignore[method-assign]
    write_pack(data, str(tmp_path))
    own = read_record(Place(str(tmp_path)))
    assert own is not None
    plain = data.table("train")
    table = read_table(str(tmp_path), own, "train", str(tmp_path / "train/table.npz"))
    assert table.groups.tolist() == [data.rename(name.decode()).encode() for name in plain.groups.tolist()]
    assert not {*table.names.tolist()} & {*plain.names.tolist()}
    assert not any(b"_000.png" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert same(items(packed(tmp_path), "val")[0]["image"], items(data, "val")[0]["image"])


def test_a_run_on_a_pack_is_the_run_on_the_files(tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree, mask_dir="masks"))
    said = done("pack", "e.yaml", "--output", here / "pack").out
    assert f"next: --data PackedPictures --data.root {here / 'pack'}" in said
    options = ("--trainer.max_epochs", 1, "--seed_everything", 3)
    done("fit", "e.yaml", "--run_dir", "loose", *options)
    done("fit", "e.yaml", "--data", "PackedPictures", "--data.root", here / "pack", "--run_dir", "packed", *options)
    ours, theirs = (rows(here / run / "metrics.csv") for run in ("packed", "loose"))
    for one, other in zip(ours, theirs, strict=True):
        assert {key: value for key, value in one.items() if "time" not in key} == {
            key: value for key, value in other.items() if "time" not in key
        }
    assert (
        "PackedPictures: the pictures of CSVDataModule, packed"
        in (here / "packed/checkpoints/model_card.md").read_text()
    )
    assert "packed " in done("list", "datasets").out
    result = ibca("pack", "--config", "e.yaml", "--output", here / "e.yaml/x")
    assert (result.code, len(result.errors)) == (2, 1)
