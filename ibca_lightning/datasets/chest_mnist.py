"""ChestMNIST: findings in small chest radiographs, 14 labels, from one file."""

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ibca_lightning.data.options import check_choice
from ibca_lightning.data.pictures.transforms import Transform
from ibca_lightning.data.tables.table import Table, encode
from ibca_lightning.datasets.layouts.npz_pictures import ArrayDataset, read_array, unpack
from ibca_lightning.datasets.layouts.released import ReleasedSet
from ibca_lightning.system.errors import InputError

Size = Literal[28, 64, 128, 224]
_MOST = 112_120  # pictures in a split


class ChestMNIST(ReleasedSet):
    """ChestMNIST of MedMNIST v2: ChestX-ray14 shrunk to 28, 64, 128 or 224 pixels, in one npz file for each size.

    112,120 frontal radiographs (gray, 8 bits) of 30,805 patients. Official split: 78,468 training, 11,219 validation
    and 22,433 test pictures. The file does not say whose pictures they are: each is its own group, and that no patient
    stands in two splits cannot be checked here. Labels, text-mined from reports, in the order of the file:
    atelectasis, cardiomegaly, effusion, infiltration, mass, nodule, pneumonia, pneumothorax, consolidation, edema,
    emphysema, fibrosis, pleural (pleural thickening), hernia. Published: ResNet-18 at 28 pixels, AUC 0.768.

    The pictures are unpacked once into `.npy` files of their own (88 MB at 28 pixels, 5.6 GB at 224), which all
    processes map: they are in memory once at most, however many workers and runs there are. So `cache` is refused, and
    so is `fold`, as each split is an array of its own.

    Licence CC BY 4.0. Citation: Yang et al., "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D
    biomedical image classification", Scientific Data 10, 41, 2023. Data: Zenodo, record 10519652.

    Expected tree: `root/chestmnist.npz` for 28 pixels, `root/chestmnist_{64,128,224}.npz` for the others.

    Args:
        root: Folder of the data set.
        size: Side of the pictures in the file, 28, 64, 128 or 224; `image_size` is what they are resized to.
        unpack_dir: Folder for the unpacked pictures; None for `root`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    names = (
        *("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax"),
        *("consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"),
    )
    _help = "get ChestMNIST (Zenodo, record 10519652) as root/chestmnist.npz or root/chestmnist_{64,128,224}.npz"

    def __init__(self, root: str, size: Size = 28, unpack_dir: str | None = None, **common: Any) -> None:
        super().__init__(root, **common)
        check_choice("size", size, Size)
        for option, value, none in (("cache", self.cache, "none"), ("fold", self.fold, None)):
            if value != none:
                raise InputError(
                    f"data.{option} left out for ChestMNIST, which maps one array for each official split",
                    value,
                    f"remove data.{option}",
                )
        self.size = size
        self.unpack_dir = self.root if unpack_dir is None else os.fspath(unpack_dir)

    def prepare_data(self) -> None:
        """Unpack the pictures, on one process of each machine."""
        for split in ("train", "val", "test"):
            self._unpacked(split)

    def official(self) -> Mapping[str, Table]:
        """Read the labels of the three splits."""
        archive = self._archive()
        return {split: self._table(archive, split) for split in ("train", "val", "test")}

    def _archive(self) -> str:
        return self.present("chestmnist.npz" if self.size == 28 else f"chestmnist_{self.size}.npz")

    def _unpacked(self, split: str) -> str:
        return unpack(self._archive(), f"{split}_images", self.unpack_dir, _MOST * 3 * self.size**2 + 2**16)

    def _dataset(self, name: str, transform: Transform) -> ArrayDataset:
        table, path = self.table(name), self._unpacked(name)
        pictures = np.load(path, mmap_mode="r")
        expected = (len(table), self.size, self.size)
        if pictures.shape[:3] != expected or pictures.shape[3:] not in ((), (3,)) or pictures.dtype != np.uint8:
            raise InputError(
                f"'{name}_images' of shape {expected} and type uint8 in {table.file}",
                f"{pictures.shape} of {pictures.dtype}",
                "restore the file, or correct data.size",
            )
        return ArrayDataset(table, path, transform)

    def _table(self, archive: str, split: str) -> Table:
        labels = read_array(archive, f"{split}_labels")
        if labels.ndim != 2 or labels.shape[1] != len(self.names) or not np.isin(labels, (0, 1)).all():
            raise InputError(
                f"'{split}_labels' of 0 and 1 for {len(self.names)} classes in {archive}",
                f"shape {labels.shape}, values {np.unique(labels)[:5].tolist()}",
                "restore the file: it may be another MedMNIST set",
            )
        names = encode([f"{split}/{row:06d}.png" for row in range(len(labels))])
        rows = np.arange(len(labels), dtype=np.int32)
        return Table(f"{archive} ({split})", "", rows, names, labels.astype(np.int8), names)
