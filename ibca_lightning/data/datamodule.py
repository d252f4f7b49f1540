"""What the data modules share that read pictures named in tables: labels, splits, marks, caches."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from ibca_lightning.data import storage
from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.cache import Cache, CacheKind, Layout, MemoryCache
from ibca_lightning.data.dataset import PictureDataset
from ibca_lightning.data.label_noise import LabelNoise
from ibca_lightning.data.options import check_choice
from ibca_lightning.data.pictures.masks import MaskFolder
from ibca_lightning.data.pictures.reading import depth_of
from ibca_lightning.data.pictures.transforms import Transform
from ibca_lightning.data.tables.label_policy import LabelPolicy, settled
from ibca_lightning.data.tables.label_space import LabelSpace, match, read_label_space
from ibca_lightning.data.tables.sites import Sites
from ibca_lightning.data.tables.split_file import apply_splits
from ibca_lightning.data.tables.splits import GroupOverlap, check_overlap, cross_validated
from ibca_lightning.data.tables.table import Table, decode
from ibca_lightning.marks.option import Marks
from ibca_lightning.system.errors import InputError

log = logging.getLogger(__name__)


class TableDataModule(MultiLabelDataModule):
    """Base of the data modules that read pictures named in tables; one of them sets `names` and implements `tables`.

    Args:
        labels: What becomes of labels that are not known; what it leaves open is as the data set has it.
        label_space: The classes to read the data with, where they are not its own: names, a checkpoint of `ibca fit`
            (to test it on other data), or a text file with a name a line. Classes are matched by `label_space.match`;
            one that the data set does not have is unknown in every row.
        label_aliases: Further names for `label_space`, from a class of the data set to one of the label space.
        splits: A `splits.csv` of an earlier run, to train, validate and test on the same rows again; None splits by
            seed what the data set leaves open.
        fold: Cross-validation: training and validation rows together are divided by group, with every label spread
            alike, and this part, from 0, validates; the test rows stay. None keeps the splits of the data set.
        folds: Number of parts.
        cache: Where pictures are kept, decoded and resized, from one epoch to the next: `none`, `memory` (shared by the
            workers, gone with the process), or `disk` (shared by processes and runs, never stale; see `DiskCache`).
            They are augmented, and marks drawn, anew each time.
        cache_dir: Folder of `cache: disk`; None for `ibca_lightning` in the user's cache folder.
        label_noise: Makes labels of the training split wrong on purpose: `{flip: 0.2, missed: 0.5, seed: 0}`.
        marks: Draws artefacts that accompany the classes, to measure what shortcuts do: `{rho: 0.95}`; see `Marks`. The
            test set becomes three, `same`, `independent` and `reversed`; batches have `"spurious_mask"`, the pixels of
            each class's mark, bool (B, L, S, S).
        sites: Learn at some sites and test at each: `{column: hospital, test: [B]}`, one of data.subgroup_columns.
        common: The arguments of `MultiLabelDataModule`.

    Raises:
        InputError: If a value is out of its range, two of them exclude each other, or `label_space` cannot be read.

    Attributes:
        names: The classes of its tables.
        group_overlap: Whether a group, or a picture, in two splits is an `error` or a reason to `warn`.
        split_seed: Chooses the folds, and what is split off where a data set says so.
        default_labels: The data set's own policy; a class sets it.
        label_policy: `labels` over it: what reads the labels in `tables`.
        unsettled: Labels of `class_names` by split, of tables that are read, with the codes of `LabelPolicy`.
    """

    names: Sequence[str] = ()
    default_labels = LabelPolicy()
    group_overlap: GroupOverlap = "error"
    split_seed = 0

    def __init__(
        self,
        labels: LabelPolicy | None = None,
        label_space: list[str] | str | None = None,
        label_aliases: dict[str, str] | None = None,
        splits: str | None = None,
        fold: int | None = None,
        folds: int = 5,
        cache: CacheKind = "none",
        cache_dir: str | None = None,
        label_noise: LabelNoise | None = None,
        marks: Marks | None = None,
        sites: Sites | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        check_choice("cache", cache, CacheKind)
        self.label_noise, self.marks, self.sites = label_noise, marks, sites
        if marks is not None and sites is not None:
            raise InputError("data.marks or data.sites", "both", "each has test sets of its own: leave one out")
        if marks is not None and type(self).train_set is not TableDataModule.train_set:
            fix = "implement tables alone, or leave data.marks out"
            raise InputError("the train_set of TableDataModule for data.marks", f"one of {type(self).__name__}", fix)
        self.cache, self.cache_dir = cache, cache_dir
        self.label_space, self.label_aliases = read_label_space(label_space), label_aliases or {}
        if self.label_space and type(self).class_names is not TableDataModule.class_names:
            expected = f"{type(self).__name__} with `names` or `own_names`, for data.label_space"
            raise InputError(expected, "a class_names of its own", "rename it to own_names")
        self._space: LabelSpace | None = None
        if splits is not None and fold is not None:
            raise InputError("one of data.splits and data.fold", "both", "leave one out")
        self.splits, self.fold, self.folds = splits, fold, folds
        self.label_policy = labels.over(self.default_labels) if labels else self.default_labels
        self._tables: Mapping[str, Table] | None = None
        self.unsettled: dict[str, NDArray[np.int8]] = {}
        self._given: dict[str, NDArray[np.int8]] = {}  # labels by split, before label_noise

    @property
    def own_names(self) -> list[str]:
        """The classes of the tables, in their order; known before `setup`."""
        return list(self.names)

    @property
    def class_names(self) -> list[str]:
        """The L labels: those of `label_space`, or the data set's own."""
        return list(self.label_space or self.own_names)

    def tables(self) -> Mapping[str, Table]:
        """Return the tables `train`, `val` and, if there is one, `test`, with labels of `own_names`; called once."""
        raise NotImplementedError(f"{type(self).__name__} must implement tables")

    @property
    def reads_files(self) -> bool:
        """Whether the names of the tables are files, and not, say, places in an array."""
        kind = type(self)
        return kind.train_set is TableDataModule.train_set and kind._dataset is TableDataModule._dataset

    def find_bit_depth(self) -> None:
        """Look at some pictures of the training table."""
        if self.bit_depth is None and self.reads_files and "train" in self.split_tables():
            table = self.table("train")
            depth = depth_of(lambda row: os.path.join(table.folder, table.name(row)), len(table), self.in_channels)
            if depth is not None:
                log.info("bit depth of the pictures in %s: %d (data.bit_depth)", table.folder, depth)
            self.bit_depth = depth or "each"

    @property
    def masks(self) -> MaskFolder | None:
        """The folder of the masks of `own_names`; None where there are none."""
        return None

    def space(self) -> LabelSpace | None:
        """Return where the classes of `label_space` stand in the tables; None without that option."""
        if self._space is None and self.label_space is not None:
            own = self.own_names
            self._space = match(self.label_space, own, self.label_aliases)
            log.info(self._space.summary(own))
        return self._space

    @property
    def test_names(self) -> list[str]:
        """`test`, or where marks are drawn their three test sets, or the sites of the test split."""
        if self.sites is not None:
            return list(self.sites.tests(self.table("test")))
        return ["test"] if self.marks is None else list(self.marks.test_shares)

    def train_set(self) -> Dataset[Any]:
        """Return the training set."""
        return self._painted("train", self._dataset("train", self.training_transform()))

    def val_set(self) -> Dataset[Any]:
        """Return the validation set."""
        share = self.marks.rho if self.marks else None
        return self._painted("val", self._dataset("val", self.evaluation_transform()), share)

    def test_sets(self) -> Mapping[str, Dataset[Any]]:
        """Return the one test set, or the three of `marks`, which share its cache, or that of each site."""
        test = self._dataset("test", self.evaluation_transform())
        if self.sites is not None:
            return {name: Subset(test, rows.tolist()) for name, rows in self.sites.tests(self.table("test")).items()}
        shares = self.marks.test_shares if self.marks else {"test": None}
        return {name: self._painted("test", copy(test), share) for name, share in shares.items()}

    def table(self, name: str) -> Table:
        """Return the table `train`, `val` or `test`, with the labels of `class_names`.

        Raises:
            InputError: If there is no such split.
        """
        if name not in self.split_tables():
            fix = f"set data.{name}_csv, or data.{name}_fraction to split it off by group"
            raise InputError(f"a {name} split", "none", fix)
        return self.split_tables()[name]

    def _painted(self, split: str, dataset: PictureDataset, share: float | None = None) -> PictureDataset:
        """Give a data set its marks; `share` as for `Marks.painter`."""
        if self.marks is not None:
            names = [decode(name) for name in self.table(split).names]
            dataset.painter = self.marks.painter(names, self._given[split], self.class_names, share)
        return dataset

    def _dataset(self, name: str, transform: Transform) -> PictureDataset:
        table, masks = self.table(name), self.space_masks()
        return PictureDataset(table, transform, masks, self._cache(table, masks))

    def _cache(self, table: Table, masks: MaskFolder | None) -> Cache | None:
        layout = Layout(self.image_size, 0 if masks is None else 1, self.in_channels)
        if self.cache == "memory":
            return MemoryCache(len(table), layout)
        if self.cache == "disk":
            from ibca_lightning.data.disk_cache import DiskCache
            from ibca_lightning.data.storage.remote import default_folder

            folders = [storage.absolute(table.folder), storage.absolute(masks.path) if masks else ""]
            paths = (f"{folders}{decode(name)}".encode() for name in table.names)
            return DiskCache(self.cache_dir or default_folder(), layout, self.preprocessing, paths)
        return None

    def split_tables(self) -> Mapping[str, Table]:
        """Return all tables by split: `tables` with `splits`, `fold` or `run_split`, `labels`, `label_space`, once.

        Raises:
            InputError: If a table is wrong, or a group or picture stands in two splits.
        """
        if self._tables is None:
            tables, overlap = self.tables(), self.group_overlap
            if self.splits is not None:
                tables = apply_splits(self.splits, tables, self.rename)
            elif self.fold is not None:
                tables = cross_validated(tables, self.fold, self.folds, self.split_seed)
            if self.run_split is not None and (kept := self.run_split.kept(tables, self.rename)) is not None:
                tables, overlap = kept, "warn"  # it is trained: what it has done can only be told
            check_overlap(tables, overlap)
            if self.marks is not None:
                self.marks.kinds_of(self.class_names)
            self._tables = {split: self._read(split, table) for split, table in tables.items()}
        return self._tables

    def training_labels(self) -> NDArray[np.int8]:
        """Return the labels (N, L) of the training table, in {0, 1, -1}."""
        return self.table("train").labels

    def split_files(self) -> Mapping[str, Mapping[str, Table]]:
        """Return the tables, for one file."""
        return {"": self.split_tables()}

    def _read(self, split: str, table: Table) -> Table:
        space = self.space()
        self.unsettled[split] = table.labels if space is None else space.labels(table.labels)
        read = replace(table, labels=settled(self.unsettled[split], training=split == "train"))
        if self.sites is not None and split != "test":
            read = self.sites.labelled(read.take(self.sites.rows(read, split)))
        self._given[split] = read.labels
        return self._noisy(read) if split == "train" else read

    def space_masks(self) -> MaskFolder | None:
        """Return the folder of the masks with the bits of `class_names`; None where there are none."""
        masks, space = self.masks, self.space()
        if masks is None or space is None:
            return masks
        return replace(masks, bits=tuple(None if at is None else masks.bits[at] for at in space.sources))
