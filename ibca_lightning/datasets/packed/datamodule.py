"""Pictures that `ibca pack` has put into shards, in a folder or on an object store: for sets of millions."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ibca_lightning.data.cache import Prepared
from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.dataset import PictureDataset
from ibca_lightning.data.pictures.masks import MaskFolder
from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.data.pictures.transforms import Transform
from ibca_lightning.data.storage.remote import default_folder
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.packed.place import Place
from ibca_lightning.datasets.packed.record import NAME, read_record, read_table
from ibca_lightning.datasets.packed.shards import Shards
from ibca_lightning.system.errors import InputError

_TOGETHER = 16  # shards among which pictures are shuffled: a gigabyte


class PackedPictures(TableDataModule):
    """Pictures in shards, which `ibca pack` has written from those of another data module.

    A batch is that of the loose files: the shards hold their bytes as they are, so size, crop, augmentation, marks and
    label noise are chosen here. Rows, order, splits and masks are those that were packed. An epoch is a function of
    seed and epoch, as with loose files, and of up to 16 shards (1 GiB), without `fold` or `splits`, the very same; of
    more, shards are shuffled, and pictures among 16 shards at a time, so that each shard is read, or fetched, once.
    Evaluation reads each row once.

    Args:
        root: Where the pack lies: a folder, or an address such as `s3://bucket/folder`.
        local_gb: Of shards that lie elsewhere so many GB are kept on this machine, in `cache_dir`.
        common: The arguments of `TableDataModule`: image_size, batch_size, num_workers, augment, resize, ...

    Raises:
        InputError: If there is no whole pack, `cache` is asked for, or other `labels` than those that were packed.
    """

    def __init__(self, root: str, local_gb: float = 50.0, **common: Any) -> None:
        super().__init__(**common)
        if self.cache != "none":
            fix = "leave it out; data.local_gb keeps shards of another machine on this one"
            raise InputError("no data.cache for packed pictures", self.cache, fix)
        self.root, self.local_gb = os.fspath(root), local_gb
        self._place = Place(self.root)
        if (record := read_record(self._place)) is None or not record.whole:
            got = f"no {NAME} there" if record is None else "one that was interrupted"
            fix = "give `ibca pack --config EXPERIMENT --output DIR` (it goes on where it was), or correct data.root"
            raise InputError(f"a whole pack at {self.root}", got, fix)
        policy = LabelPolicy(**record.labels)
        if self.label_policy.over(policy) != policy:
            fix = "leave it out, or pack the data with it"
            raise InputError("data.labels as the data were packed with", "another", fix)
        self.record, self.label_policy, self.bit_depth = record, policy, self.bit_depth or record.bit_depth
        self.names, self.pair, self.group_overlap = record.class_names, record.pair, record.group_overlap
        self._shards: Shards | None = None

    def find_bit_depth(self) -> None:
        """Take that of the pack, also where joined sets have asked for none."""
        self.bit_depth = self.bit_depth or self.record.bit_depth

    @property
    def exclusive_classes(self) -> list[list[str]]:
        """Those of the data that were packed."""
        return self.record.exclusive_classes

    @property
    def origin(self) -> str:
        """What was packed, for the model card."""
        return f"the pictures of {self.record.source}, packed"

    @property
    def masks(self) -> MaskFolder | None:
        """Which bit marks which class; the masks lie beside the pictures."""
        bits = self.record.mask_bits
        return None if bits is None else MaskFolder(self.root, tuple(bits))

    def tables(self) -> Mapping[str, Table]:
        """Read the tables of the pack."""
        local, record = self.shards().local, self.record
        return {split: read_table(self.root, record, split, local(f"{split}/table.npz")) for split in record.rows()}

    def shards(self) -> Shards:
        """Return the shards of all splits, whose indices are read once."""
        if self._shards is None:
            folder = os.path.join(self.cache_dir or default_folder(), "packs", self.record.id)
            self._shards = Shards(self._place, self.record.rows(), folder, int(self.local_gb * 1e9))
        return self._shards

    def _dataset(self, name: str, transform: Transform) -> "PackedDataset":
        return PackedDataset(self.table(name), transform, self.space_masks(), self.shards(), in_order=name != "train")


class PackedDataset(PictureDataset):
    """Rows of a table whose pictures lie in shards, as items of a batch.

    Args:
        table: The N rows; `lines` are the numbers of their pictures.
        transform: What makes a picture S x S.
        masks: The bits of the masks; None where there are none.
        shards: Where the pictures lie.
        in_order: Whether rows are read in order; those of training are, once `arranged`. Else nothing is fetched ahead.
    """

    def __init__(
        self, table: Table, transform: Transform, masks: MaskFolder | None, shards: Shards, in_order: bool
    ) -> None:
        super().__init__(table, transform, masks)
        self.shards = shards
        self._shard = shards.of(table.lines).astype(np.int32)
        # The turn of each shard in an epoch: worker processes see what the process of the sampler writes.
        self._turns = torch.full((len(shards),), -1, dtype=torch.int32).share_memory_()  # type: ignore[no-untyped-call]
        if in_order:
            self._take_turns(np.unique(self._shard))
        self._part = -1

    def arranged(self, rows: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Put the rows of an epoch into an order that reads a few shards at a time, in the same way in all processes.

        Args:
            rows: As they were drawn.
            random: Draws the order of the shards; of few enough the rows stay as they are.
        """
        shards, places = np.unique(self._shard[rows], return_inverse=True)
        if len(shards) <= _TOGETHER:
            self._take_turns(shards)
            return rows
        turns = random.permutation(len(shards))
        self._take_turns(shards[np.argsort(turns)])
        return rows[np.argsort(turns[places] // _TOGETHER, kind="stable")]

    def _take_turns(self, shards: NDArray[np.int32]) -> None:
        self._turns[:] = -1
        self._turns[torch.from_numpy(shards).long()] = torch.arange(len(shards), dtype=torch.int32)

    def picture(self, row: int) -> PictureFile:
        """Return the picture of a row as its file is."""
        return PictureFile(self.table.name(row), self.shards.read(int(self.table.lines[row]))[0])

    def _prepared(self, row: int, name: str) -> Prepared:
        part = int(self._turns[int(self._shard[row])]) // _TOGETHER
        if self.shards.place.remote and part not in (-1, self._part):
            parts, self._part = self._turns.numpy() // _TOGETHER, part
            self.shards.expect([*np.flatnonzero(parts == part), *np.flatnonzero(parts == part + 1)])
        picture, mask = self.shards.read(int(self.table.lines[row]))
        return self._prepare(PictureFile(name, picture), name if len(mask) else None, mask_data=mask)
