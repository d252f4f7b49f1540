import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from ibca_lightning.data import ChestMNIST
from ibca_lightning.datasets.layouts.npz_pictures import read_array, unpack
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_chest_mnist
from tests.datasets.contract import DataModuleContract
from tests.faults.test_strangers import npz


class TestChestMNIST(DataModuleContract):
    class_names: ClassVar = list(fake_chest_mnist.LABELS)
    rows: ClassVar = dict(fake_chest_mnist.SPLITS)
    has_files = has_folds = False

    def write(self, root: Path) -> None:
        fake_chest_mnist.write(root)

    def module(self, root: Path, **common: Any) -> ChestMNIST:
        return ChestMNIST(str(root), **common)


@pytest.mark.parametrize("size", [28, 64])
def test_items_are_those_of_the_file(tmp_path: Path, size: int) -> None:
    fake_chest_mnist.write(tmp_path, size)
    made = fake_chest_mnist.arrays(size)
    data = ChestMNIST(str(tmp_path), size=size, image_size=size, num_workers=0, batch_size=30)  # type: ignore[arg-type]
    data.setup()
    batch = next(iter(data.test_dataloader()))
    assert torch.equal(batch["image"], torch.from_numpy(made["test_images"])[:, None].expand(-1, 3, -1, -1))
    assert batch["label"].tolist() == made["test_labels"].tolist()


@pytest.mark.parametrize("option", [{"cache": "memory"}, {"cache": "disk"}, {"fold": 0}])
def test_options_without_a_meaning_here_are_refused(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"data\.{next(iter(option))} left out for ChestMNIST"):
        ChestMNIST(str(tmp_path), **option)


def test_pictures_in_colour_stay_so(tmp_path: Path) -> None:
    made = fake_chest_mnist.arrays()
    made = {name: np.stack([a, a // 2, a // 3], -1) if "images" in name else a for name, a in made.items()}
    np.savez(tmp_path / "chestmnist.npz", **made)
    data = ChestMNIST(str(tmp_path), image_size=28, num_workers=0)
    data.setup("test")
    item = data.test_sets()["test"][3]
    assert item["image"].permute(1, 2, 0).tolist() == made["test_images"][3].tolist()


def test_pictures_are_unpacked_once_and_again_for_another_archive(tmp_path: Path) -> None:
    fake_chest_mnist.write(tmp_path)
    data = ChestMNIST(str(tmp_path), unpack_dir=str(tmp_path / "unpacked"))
    data.prepare_data()
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "unpacked").iterdir()}
    assert len(files) == 3
    ChestMNIST(str(tmp_path), unpack_dir=str(tmp_path / "unpacked")).setup()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "unpacked").iterdir()} == files
    fake_chest_mnist.write(tmp_path, seed=1)
    data = ChestMNIST(str(tmp_path), unpack_dir=str(tmp_path / "unpacked"), image_size=28)
    first = data.val_set()[0]["image"][0]
    assert first.tolist() == fake_chest_mnist.arrays(seed=1)["val_images"][0].tolist()


def test_a_worker_gets_no_copy_of_the_pictures(tmp_path: Path) -> None:
    fake_chest_mnist.write(tmp_path, 128)
    data = ChestMNIST(str(tmp_path), size=128, image_size=16)
    dataset = data.train_set()
    item = dataset[0]
    packed = pickle.dumps(dataset)
    assert len(packed) < 42 * 128 * 128 / 10
    data.augment = "none"
    assert torch.equal(pickle.loads(pickle.dumps(data.val_set()))[0]["image"], data.val_set()[0]["image"])
    assert item["image"].shape == (3, 16, 16)


def test_a_stopped_run_leaves_nothing_and_several_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_chest_mnist.write(tmp_path)
    archive, folder = str(tmp_path / "chestmnist.npz"), tmp_path / "unpacked"

    def stopped(source: Any, target: Any, length: int) -> None:
        target.write(source.read(100))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", stopped)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, "train_images", str(folder), 10**6)
    assert list(folder.iterdir()) == []
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: unpack(archive, "train_images", str(folder), 10**6), range(8)))
    assert [str(path) for path in folder.iterdir()] == list(paths)
    assert np.array_equal(np.load(paths.pop()), fake_chest_mnist.arrays()["train_images"])


def test_a_wrong_archive_is_named(tmp_path: Path) -> None:
    file = tmp_path / "chestmnist.npz"

    def wrong(said: str, **changes: Any) -> None:
        np.savez(file, **{**fake_chest_mnist.arrays(), **changes})
        with pytest.raises(InputError, match=said):
            ChestMNIST(str(tmp_path)).setup()

    wrong("'train_labels' of 0 and 1 for 14 classes", train_labels=np.zeros((42, 11), np.uint8))
    wrong(r"'val_labels' of 0 and 1.*values \[2\]", val_labels=np.full((28, 14), 2, np.uint8))
    wrong(r"'test_images' of shape \(28, 28, 28\)", test_images=np.zeros((28, 64, 64), np.uint8))
    wrong("'train_images' .*float32", train_images=np.zeros((42, 28, 28), np.float32))
    wrong("'train_images' of shape", train_images=np.zeros((41, 28, 28), np.uint8))
    np.savez(file, train_images=np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(InputError, match=r"an array 'train_labels' in .*got the arrays train_images"):
        ChestMNIST(str(tmp_path)).setup()
    fake_chest_mnist.write(tmp_path)
    whole = file.read_bytes()
    for at, damaged in enumerate((whole[:-40], b"no archive", b"", whole[:3000] + bytes(200) + whole[3200:])):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"an npz archive at .*chestmnist\.npz.*restore"):
            ChestMNIST(str(tmp_path), unpack_dir=str(tmp_path / f"unpacked{at}")).setup()


def test_arrays_beyond_bounds_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "chestmnist.npz"
    fake_chest_mnist.write(tmp_path)
    with pytest.raises(InputError, match=r"damaged \(it unpacks to more than 999 bytes\)"):
        unpack(str(file), "train_images", str(tmp_path), 999)
    monkeypatch.setattr("ibca_lightning.datasets.layouts.npz_pictures.MAX_TABLE", 200)
    with pytest.raises(InputError, match="more than 200 bytes"):
        read_array(str(file), "train_labels")
    for kind, size in (("|V100", 0), ("|u1", 3), ("|O", 0)):
        npz(str(file), kind, (4,), data=bytes(size))
        with pytest.raises(InputError, match="another size than it says"):
            read_array(str(file), "arr_0")
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(InputError, match="no regular file"):
        read_array(str(file), "train_labels")


def test_missing_files_and_wrong_options_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root.*Zenodo"):
        ChestMNIST(str(tmp_path / "none")).setup()
    fake_chest_mnist.write(tmp_path)
    with pytest.raises(InputError, match=r"chestmnist_224\.npz in .*Zenodo, record 10519652"):
        ChestMNIST(str(tmp_path), size=224).setup()
    with pytest.raises(InputError, match=r"data\.size: 28, 64, 128 or 224, got 32"):
        ChestMNIST(str(tmp_path), size=32)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"unpacked pictures .*set data\.unpack_dir"):
        ChestMNIST(str(tmp_path), unpack_dir=str(tmp_path / "file")).setup()
