"""What every data module shares: sizes, loaders, random numbers."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from ibca_lightning.data import storage
from ibca_lightning.data.cache import Cache, CacheKind, Layout, MemoryCache
from ibca_lightning.data.dataset import PictureDataset
from ibca_lightning.data.label_noise import LabelNoise, changes
from ibca_lightning.data.loader import Loader, OnBadImage, make_loader
from ibca_lightning.data.options import check_choice, check_whole
from ibca_lightning.data.pictures.bit_depth import BitDepth
from ibca_lightning.data.pictures.masks import MaskFolder
from ibca_lightning.data.pictures.reading import depth_of
from ibca_lightning.data.pictures.transforms import Crop, Resize, Transform, evaluation_transform, training_transform
from ibca_lightning.data.sampling import BalancedSampler, EpochSampler
from ibca_lightning.data.tables.doubts import Doubt, table_doubts
from ibca_lightning.data.tables.label_policy import LabelPolicy, settled
from ibca_lightning.data.tables.label_space import LabelSpace, match, read_label_space
from ibca_lightning.data.tables.sites import Sites
from ibca_lightning.data.tables.split_file import apply_splits
from ibca_lightning.data.tables.splits import GroupOverlap, check_overlap, cross_validated
from ibca_lightning.data.tables.table import Table, decode
from ibca_lightning.marks.option import Marks
from ibca_lightning.system.errors import DataWarning, InputError

if TYPE_CHECKING:  # albumentations takes seconds to import; jsonargparse reads this block when it needs the type
    from ibca_lightning.data.pictures.augmentation import Augment

log = logging.getLogger(__name__)


class MultiLabelDataModule(LightningDataModule):
    """Base of all data modules. One of your own implements `class_names`, `train_set`, `val_set` and `test_sets`.

    A batch is `{"image": uint8 (B, C, S, S), "label": int8 (B, L) in {0, 1, -1}, "index": int64 (B,), "id": list[str],
    "group": list[str]}`, and where the data have them `"mask": bool (B, L, S, S)`, `"subgroup": dict[str, list[str]]`.
    Pictures are normalised by the model, on the device.

    Args:
        image_size: S, side of the square pictures in pixels.
        batch_size: Pictures in a batch.
        num_workers: Worker processes of each loader; 0 reads in the main process.
        augment: `none`, `default` (flips, small turns, scalings and shifts, brightness and contrast), or a list of
            albumentations transforms that keep size and uint8.
        resize: `stretch` pictures to the square, or keep their proportions and `pad` with black.
        balanced_sampling: Draw training rows so that every class comes as often (`BalancedSampler`), instead of each
            row once an epoch.
        crop: `field_of_view` first cuts the box round the lit disc out of a fundus or endoscopy picture, and leaves a
            picture in which there is no such disc as it is; masks are cut alike.
        on_bad_image: Whether a picture that cannot be read is an `error`, or is passed over (`skip`): another row takes
            its place in training, figures of validation and test do without it, and a warning at the end of each epoch
            counts and names what is missing.
        bit_depth: 8, 10, 12, 14 or 16: of pictures whose files do not say how many of 16 bits they use; or `each` by
            what it uses. None takes that of the checkpoint in test, and else the largest that some pictures of the
            training table use, found in `setup`. The model keeps it.
        in_channels: C, of every picture: 3 is RGB, which gray ones become; 1 gray; another number as TIFF, NPZ or NPY
            files have it.
        drawn_noise: Probability that shapes of no kind are drawn on a training picture, anew each epoch and before it
            is augmented (`draw_noise`). Training batches then have `"drawn_mask"`, bool (B, 1, S, S): where.

    Raises:
        InputError: If a value is out of range.

    Attributes:
        rename: What becomes of the names of pictures and groups in batches and split files (`--hash_names`).
        label_noise: What makes training labels wrong on purpose; a data module with tables has it as an option.
        pair: Whether each picture is two, side by side, which are augmented alike, each on its side.
        marks: Which artefacts are drawn on the pictures as shortcuts; likewise.
    """

    rename: Callable[[str], str] = staticmethod(str)
    label_noise: LabelNoise | None = None
    pair = False
    marks: Marks | None = None

    def __init__(
        self,
        image_size: int = 384,
        batch_size: int = 16,
        num_workers: int = 4,
        augment: Augment = "default",
        resize: Resize = "stretch",
        balanced_sampling: bool = False,
        crop: Crop = "none",
        on_bad_image: OnBadImage = "error",
        bit_depth: BitDepth | None = None,
        in_channels: int = 3,
        drawn_noise: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = (
            ("image_size", image_size, 1), ("batch_size", batch_size, 1), ("num_workers", num_workers, 0),
            ("in_channels", in_channels, 1),
        )  # fmt: skip
        for name, value, least in sizes:
            check_whole(name, value, least)
        if not isinstance(augment, list) and augment not in ("none", "default"):
            raise InputError("data.augment: none, default or a list of transforms", repr(augment), "correct the value")
        check_choice("resize", resize, Resize)
        check_choice("crop", crop, Crop)
        check_choice("on_bad_image", on_bad_image, OnBadImage)
        if not 0 <= drawn_noise <= 1:
            raise InputError("data.drawn_noise in [0, 1]", repr(drawn_noise), "correct the value")
        self.image_size, self.batch_size, self.num_workers = image_size, batch_size, num_workers
        self.augment, self.resize, self.balanced_sampling = augment, resize, balanced_sampling
        if bit_depth is not None:
            check_choice("bit_depth", bit_depth, BitDepth)
        self.crop, self.on_bad_image, self.in_channels = crop, on_bad_image, in_channels
        self.drawn_noise = drawn_noise
        self.bit_depth: int | str | None = bit_depth
        self._sets: dict[str, Dataset[Any]] = {}
        self._seed: int | None = None

    @property
    def class_names(self) -> list[str]:
        """The L labels in the order of the label vector; known before `setup`."""
        raise NotImplementedError(f"{type(self).__name__} must implement class_names")

    def train_set(self) -> Dataset[Any]:
        """Return the training set; called once. Its pictures go through `self.training_transform()`.

        Random numbers of an item, from torch, numpy or `random`, are seeded by seed, epoch and place in the epoch.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement train_set")

    def val_set(self) -> Dataset[Any]:
        """Return the validation set; called once. Its pictures go through `self.evaluation_transform()`."""
        raise NotImplementedError(f"{type(self).__name__} must implement val_set")

    def test_sets(self) -> Mapping[str, Dataset[Any]]:
        """Return the test sets by name, the names and order those of `test_names`; called once."""
        raise NotImplementedError(f"{type(self).__name__} must implement test_sets")

    @property
    def num_labels(self) -> int:
        """L; known before `setup`."""
        return len(self.class_names)

    @property
    def exclusive_classes(self) -> list[list[str]]:
        """Groups of classes of which a picture has one at most, as far as the data say so."""
        return []

    @property
    def test_names(self) -> list[str]:
        """Names of the test sets; known before `setup`."""
        return ["test"]

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What prediction needs beside `image_size` to read a picture as test does; plain data, whole after `setup`."""
        depth = {} if self.bit_depth in (None, "each") else {"bit_depth": str(self.bit_depth)}
        channels = {"in_channels": str(self.in_channels)} if self.in_channels != 3 else {}
        pair = {"pair": "yes"} if self.pair else {}
        return {"resize": self.resize} | ({"crop": self.crop} if self.crop != "none" else {}) | depth | channels | pair

    def training_transform(self) -> Transform:
        """Return the transform of the training set."""
        return training_transform(self.image_size, self.augment, self.preprocessing, self.drawn_noise)

    def evaluation_transform(self) -> Transform:
        """Return the transform of validation and test."""
        return evaluation_transform(self.image_size, self.preprocessing)

    def read_tables(self) -> None:
        """Read what is cheap to read and tells wrong data: called before the model is built. Here there is nothing."""

    def doubts(self) -> list[Doubt]:
        """Return what the tables of `split_files` say that may spoil a result: a fit warns of it."""
        tables = self.split_files().values()
        return [doubt for splits in tables for doubt in table_doubts(splits, self.class_names)]

    def instruments(self) -> list[str]:
        """Return what is in these data on purpose and makes their figures none of the data as they are."""
        return [] if self.marks is None else [self.marks.summary(self.class_names)]

    def find_bit_depth(self) -> None:
        """Set `bit_depth` where it is None, before the first transform is made; `setup` does. Here it stays."""

    def setup(self, stage: str | None = None) -> None:
        """Make the data sets that a stage, or each, needs, so that wrong data stop a run before it starts."""
        self._seed = None  # that of the run which begins here
        if stage == "predict" and self.marks is not None:
            fix = "leave data.marks out; ibca test has figures and predictions with them"
            raise InputError("data as they are for predict: no marks are drawn there", "data.marks", fix)
        self.find_bit_depth()
        for said in [*self.instruments(), *self.doubts()] if stage == "fit" else ():
            rank_zero_warn(str(said), category=DataWarning)
        for name, stages in (("train", "fit"), ("val", ("fit", "validate")), ("test", ("test", "predict"))):
            if stage is None or stage in stages:
                self._set(name)

    def train_dataloader(self) -> Loader:
        """Return the training batches, shuffled or drawn by class.

        The last batch is dropped if it is not full and another one is: BatchNorm cannot train on one picture. A batch
        is here that of all processes together, so that several leave out what one would; which rows, each epoch draws.
        """
        dataset, trainer = self._set("train"), self.trainer
        world, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        drop_last = -(-len(dataset) // world) > self.batch_size  # type: ignore[arg-type]
        shared: dict[str, Any] = {"num_replicas": world, "rank": rank, "drop_last": drop_last}
        if self.balanced_sampling:
            sampler: EpochSampler = BalancedSampler(dataset, self.training_labels(), self._shared_seed(), **shared)
        else:
            sampler = EpochSampler(dataset, self._shared_seed(), **shared)
        return self._loader(dataset, sampler=sampler, drop_last=drop_last)

    def state_dict(self) -> dict[str, int]:
        """Return the seed of order and augmentation, which a run that is taken up goes on with."""
        return {} if self._seed is None else {"seed": self._seed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take up a run's seed."""
        self._seed = state_dict["seed"]

    def split_files(self) -> Mapping[str, Mapping[str, Table]]:
        """Return what `splits.csv` is written from: tables by split, by what stands between the name and `.csv`."""
        return {}

    def label_changes(self) -> Mapping[str, list[tuple[str, str, int, int]]]:
        """Return what `label_noise` has changed, by what stands between the name and `.csv`, as for `split_files`."""
        return {"": self._changes} if self.label_noise else {}

    def _noisy(self, table: Table) -> Table:
        """The training table as `label_noise` leaves it."""
        if self.label_noise is None:
            return table
        noisy = self.label_noise.applied(table)
        self._changes = changes(table, noisy, self.class_names)
        return noisy

    def training_labels(self) -> NDArray[np.int8]:
        """Return the labels (N, L) of the training set, in {0, 1, -1}: what weights and sampling may be made from.

        Raises:
            InputError: If the training set has no attribute `labels`.
        """
        labels = getattr(self._set("train"), "labels", None)
        if labels is None:
            expected = "a training set with `labels`, an int8 array (N, L)"
            raise InputError(expected, "none", "add it, or use no balanced option")
        return np.asarray(labels, dtype=np.int8)

    def val_dataloader(self) -> Loader:
        """Return the validation batches, in order."""
        return self._loader(self._set("val"))

    def test_dataloader(self) -> Loader | list[Loader]:
        """Return the test batches, in order; a list in the order of `test_names` where there are several sets."""
        self._set("test")
        loaders = [self._loader(self._sets[f"test.{name}"]) for name in self.test_names]
        return loaders[0] if len(loaders) == 1 else loaders

    def predict_dataloader(self) -> Loader | list[Loader]:
        """Return what `test_dataloader` returns."""
        return self.test_dataloader()

    def _set(self, name: str) -> Dataset[Any]:
        if name == "test":
            if f"test.{self.test_names[0]}" not in self._sets:
                sets = self.test_sets()
                self._sets.update({f"test.{key}": sets[key] for key in self.test_names})
            return self._sets[f"test.{self.test_names[0]}"]
        if name not in self._sets:
            self._sets[name] = self.train_set() if name == "train" else self.val_set()
        return self._sets[name]

    def _shared_seed(self) -> int:
        """The seed of the run: that of the first process, where nobody seeded them alike."""
        if self._seed is None:
            seed, trainer = torch.initial_seed(), self.trainer
            self._seed = int(trainer.strategy.broadcast(seed) if trainer and trainer.world_size > 1 else seed)
        return self._seed

    def _loader(self, dataset: Dataset[Any], **options: Any) -> Loader:
        rank = self.trainer.global_rank if self.trainer else 0
        shared: dict[str, Any] = {"rank": rank, "on_bad_image": self.on_bad_image, "rename": self.rename}
        return make_loader(dataset, self.batch_size, self.num_workers, **shared, **options)


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

    def read_tables(self) -> None:
        """Read the tables, which stay read."""
        self.split_tables()

    def split_tables(self) -> Mapping[str, Table]:
        """Return all tables by split: `tables` with `splits` or `fold`, `labels` and `label_space`; read once.

        Raises:
            InputError: If a table is wrong, or a group or picture stands in two splits.
        """
        if self._tables is None:
            tables = self.tables()
            if self.splits is not None:
                tables = apply_splits(self.splits, tables, self.rename)
            elif self.fold is not None:
                tables = cross_validated(tables, self.fold, self.folds, self.split_seed)
            check_overlap(tables, self.group_overlap)
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
