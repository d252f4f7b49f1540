"""Stored maps of a frozen backbone in place of pictures: a run costs what its head costs."""

import os
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.dataset import described
from ibca_lightning.data.label_noise import LabelNoise
from ibca_lightning.data.pictures.masks import unpack
from ibca_lightning.data.pictures.views import turned
from ibca_lightning.data.storage import require_local
from ibca_lightning.data.tables.sites import Sites
from ibca_lightning.data.tables.splits import keep_share, split_fold
from ibca_lightning.data.tables.table import Table, pooled
from ibca_lightning.datasets.layouts.map_files import MapSplit, read_record
from ibca_lightning.marks.option import Marks
from ibca_lightning.system.errors import InputError


class FrozenMaps(MultiLabelDataModule):
    """Maps that `ibca maps` has written, for a model with the same frozen backbone.

    A batch is that of any data module, but for `"features"`, the backbone's stages, each float16 (B, C, H, W), in place
    of `"image"`. Training draws one of the stored views (flips and quarter turns) of each picture; validation and test
    see the picture as it is. The model's checkpoint is the same as one trained on pictures.

    Args:
        root: Folder of the maps.
        batch_size: Pictures in a batch.
        num_workers: Worker processes of each loader; reading is so cheap that 0 is best.
        fold: Cross-validation: training and validation pictures together are divided by group, with every label spread
            alike, and this part, from 0, validates. None keeps the stored splits.
        folds: Number of parts.
        split_seed: Chooses folds and `train_fraction`; independent of `seed_everything`.
        train_fraction: Share of the training groups to train on, in (0, 1].
        image_size: S; only to say that it is meant to be that of the maps.
        augment: `default` for a random view, `none` for the picture as it is.
        val_masks: Whether validation batches have the masks. Figures of localisation take longer than the training of
            a small head on maps; without them a validation is figures of classification alone. Tests always have them.
        balanced_sampling: Draw training maps so that every class comes as often.
        train_masks: Whether training batches have the masks, turned as their view is; for the term `mask_guidance`.
        label_noise: As for a table: labels of the training split made wrong on purpose.
        marks: None: they are drawn on pictures, and so by `ibca maps`; what the maps were made with stands in the
            attribute of that name.
        sites: As for a table: learn at some sites, and test at each, by a subgroup column that the maps have.
        drawn_noise: Probability that a training picture is one of those with noise on it, which `ibca maps --drawn` has
            written. Training batches then have `"drawn_mask"`, bool (B, 1, S, S): where.

    Raises:
        InputError: If there are no complete maps, or an argument is wrong or does not agree with them.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 32,
        num_workers: int = 0,
        fold: int | None = None,
        folds: int = 5,
        split_seed: int = 0,
        train_fraction: float = 1.0,
        image_size: int | None = None,
        augment: Literal["none", "default"] = "default",
        val_masks: bool = True,
        balanced_sampling: bool = False,
        train_masks: bool = False,
        label_noise: LabelNoise | None = None,
        marks: Marks | None = None,
        sites: Sites | None = None,
        drawn_noise: float = 0.0,
    ) -> None:
        self.root = os.fspath(root)
        require_local(self.root, "stored maps (data.root)", "copy them: they are mapped into memory")
        self.record = record = read_record(self.root)
        if image_size not in (None, record.image_size):
            raise InputError(
                f"data.image_size {record.image_size}, that of the maps in {self.root}", image_size,
                "leave it out, or write maps of that size"
            )  # fmt: skip
        super().__init__(
            record.image_size, batch_size, num_workers, augment, balanced_sampling=balanced_sampling,
            drawn_noise=drawn_noise,
        )  # fmt: skip
        self.fold, self.folds, self.split_seed, self.train_fraction = fold, folds, split_seed, train_fraction
        self.val_masks, self.train_masks, self.label_noise = val_masks, train_masks, label_noise
        self.marks = _drawn(record.data)
        if marks is not None:
            fix = "write maps of marked pictures: ibca maps --data.marks ... --output ANOTHER"
            raise InputError("no data.marks for stored maps", "some", fix)
        if drawn_noise and not record.splits["train"].drawn:
            fix = "write them with ibca maps --drawn 4 --output ANOTHER"
            raise InputError(f"maps with noise drawn for data.drawn_noise at {self.root}", "none", fix)
        self.sites = sites
        self._splits: dict[str, MapSplit] = {}
        self._chosen: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None

    @property
    def class_names(self) -> list[str]:
        """Those of the data that the maps are of."""
        return self.record.class_names

    @property
    def test_names(self) -> list[str]:
        """Those of the data that the maps are of, or the sites of its test set."""
        if self.sites is None:
            return self.record.test_names
        return list(self.sites.tests(self._split(f"test.{self.record.test_names[0]}").table))

    @property
    def preprocessing(self) -> dict[str, Any]:
        """That of the data that the maps are of."""
        return self.record.preprocessing

    @property
    def origin(self) -> str:
        """What the maps are of, for the model card."""
        name = str(self.record.data.get("class_path", "an unknown data module")).rpartition(".")[2]
        return f"the pictures of {name} as stored maps of the frozen backbone, in precision {self.record.precision}"

    def require_backbone(
        self,
        name: str,
        feature_stride: int | list[int],
        fingerprint: str,
        normalisation: tuple[list[float], ...],
        feature_blocks: int = 0,
    ) -> None:
        """Refuse a model whose backbone, or (mean, std) of pictures, is not the one that made the maps.

        Raises:
            InputError: Names the first thing that differs.
        """
        record = self.record
        for what, theirs, ours, fix in (
            ("backbone", record.backbone, name, "set --model.backbone"),
            ("feature_stride", record.feature_stride, feature_stride, "set --model.feature_stride"),
            ("feature_blocks", record.feature_blocks, feature_blocks, "set --model.feature_blocks"),
            ("backbone weights", record.fingerprint, fingerprint, "give the same --model.checkpoint_path or init_from"),
            ("mean and std of pictures", (record.mean, record.std), normalisation, "set --model.normalisation"),
        ):
            if theirs != ours:
                raise InputError(f"the {what} {theirs} of the maps in {self.root}", ours, f"{fix}, or write maps of it")

    def train_set(self) -> "MapDataset":
        """Return the training set."""
        dataset = MapDataset(self._both(), self._rows()[0], self.train_masks, self.augment != "none", self.drawn_noise)
        table = dataset.table if self.sites is None else self.sites.labelled(dataset.table)
        dataset.table = self._noisy(table)
        return dataset

    def val_set(self) -> "MapDataset":
        """Return the validation set."""
        return MapDataset(self._both(), self._rows()[1], self.val_masks)

    def test_sets(self) -> Mapping[str, "MapDataset"]:
        """Return the test sets."""
        if self.sites is not None:
            whole = self._split(f"test.{self.record.test_names[0]}")
            return {name: MapDataset([whole], rows) for name, rows in self.sites.tests(whole.table).items()}
        sets = {name: self._split(f"test.{name}") for name in self.test_names}
        return {name: MapDataset([split], np.arange(len(split.table))) for name, split in sets.items()}

    def split_files(self) -> Mapping[str, Mapping[str, Table]]:
        """Return id and group of every row, for one file."""
        pool, rows = self._pool(), self._rows()
        tables = {"train": pool.take(rows[0]), "val": pool.take(rows[1])}
        if self.record.test_names == ["test"]:  # several sets of other names may show the same scenes
            tables["test"] = self._split("test.test").table
        return {"": tables}

    def _both(self) -> list[MapSplit]:
        return [self._split("train"), self._split("val")]

    def _pool(self) -> Table:
        return pooled([split.table for split in self._both()])

    def _split(self, name: str) -> MapSplit:
        if name not in self._splits:
            self._splits[name] = MapSplit(self.root, self.record, name)
        return self._splits[name]

    def _rows(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows that train and those that validate, counted through both splits."""
        if self._chosen is None:
            pool = self._pool()
            training, validation = np.split(np.arange(len(pool)), [len(self._split("train").table)])
            if self.fold is not None:
                training, validation = split_fold(pool.groups, pool.labels, self.fold, self.folds, self.split_seed)
            if self.sites is not None:
                training = training[self.sites.rows(pool.take(training), "train")]
                validation = validation[self.sites.rows(pool.take(validation), "val")]
            kept = keep_share(pool.groups[training], pool.labels[training], self.train_fraction, self.split_seed)
            self._chosen = training[kept], validation
        return self._chosen


def _drawn(source: Mapping[str, Any]) -> Marks | None:
    """The marks on the pictures that maps were made of."""
    options = source.get("init_args") or {}
    given = {name.partition(".")[2]: options[name] for name in options if name.startswith("marks.")}
    try:
        return Marks(**given) if given else None
    except TypeError:
        raise InputError("data.marks as `ibca maps` writes them", reprlib.repr(given), "write the maps again") from None


class MapDataset(Dataset[dict[str, Any]]):
    """Rows of stored maps as items of a batch.

    An item is `{"features": list of float16 (C, H, W), "label": int8 (L,), "index": int64, "id": str, "group": str}`,
    with `"subgroup"` where there are such columns, and the masks, bool (K, S, S), where there are such and if wanted;
    with `"drawn_mask"`, bool (1, S, S), where there is a chance of noise.

    Args:
        splits: Where the rows lie.
        rows: Which of them, counted through all splits.
        masks: Whether to give the masks.
        any_view: Draw one of the views at random instead of taking the picture as it is.
        drawn_noise: Probability of a view with noise drawn on it, instead of one without.
    """

    def __init__(
        self,
        splits: Sequence[MapSplit],
        rows: NDArray[np.intp],
        masks: bool = True,
        any_view: bool = False,
        drawn_noise: float = 0.0,
    ) -> None:
        self.splits, self.rows, self.masks, self.any_view = splits, rows, masks, any_view
        self.drawn_noise = drawn_noise
        self.table = pooled([split.table for split in splits]).take(rows)
        self._starts = np.cumsum([0, *(len(split.table) for split in splits)])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> NDArray[np.int8]:
        """(N, L) in {0, 1, -1}."""
        return self.table.labels

    def __getitem__(self, at: int) -> dict[str, Any]:
        """Read one row."""
        place = int(self.rows[at])
        part = int(np.searchsorted(self._starts, place, side="right")) - 1
        split, row = self.splits[part], place - int(self._starts[part])
        item = described(self.table, at)
        view = self._view(split)
        item["features"] = [torch.from_numpy(stage) for stage in split.maps(row, view)]
        if self.drawn_noise:
            noise = unpack(list(split.planes(row, "drawn")), split.drawn)
            item["drawn_mask"] = noise[view - split.views, None] if view >= split.views else torch.zeros_like(noise[:1])
        for name, count in split.masks.items() if self.masks else ():
            masks = unpack(list(split.planes(row, name)), count)
            item[name] = turned(masks, view % split.views, split.pair).contiguous()
        return item

    def _view(self, split: MapSplit) -> int:
        """Draw from torch's generator, which the loader seeds by `seed_everything`, epoch and place in the epoch."""
        view = int(torch.randint(split.views, ())) if self.any_view else 0
        if not self.drawn_noise or float(torch.rand(())) >= self.drawn_noise:
            return view
        views = range(split.views, split.views + split.drawn, 1 if self.any_view else split.views)
        return views[int(torch.randint(len(views), ()))]
