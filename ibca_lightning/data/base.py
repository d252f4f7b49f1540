"""What every data module shares: sizes, loaders, random numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ibca_lightning.data.label_noise import LabelNoise, changes
from ibca_lightning.data.loader import Loader, OnBadImage, make_loader
from ibca_lightning.data.options import check_choice, check_whole
from ibca_lightning.data.pictures.bit_depth import BitDepth
from ibca_lightning.data.pictures.transforms import Crop, Resize, Transform, evaluation_transform, training_transform
from ibca_lightning.data.run_split import RunSplit
from ibca_lightning.data.sampling import BalancedSampler, EpochSampler
from ibca_lightning.data.tables.doubts import Doubt, table_doubts
from ibca_lightning.data.tables.table import Table
from ibca_lightning.marks.option import Marks
from ibca_lightning.system.errors import DataWarning, InputError

if TYPE_CHECKING:  # albumentations takes seconds to import; jsonargparse reads this block when it needs the type
    from ibca_lightning.data.pictures.augmentation import Augment


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
        run_split: What the run of the model has trained on, which is not to be evaluated on; None asks nothing.
        label_noise: What makes training labels wrong on purpose; a data module with tables has it as an option.
        pair: Whether each picture is two, side by side, which are augmented alike, each on its side.
        marks: Which artefacts are drawn on the pictures as shortcuts; likewise.
    """

    rename: Callable[[str], str] = staticmethod(str)
    run_split: RunSplit | None = None
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
        """Read the tables, if there are any, which tell wrong data: called before the model is built.

        Raises:
            InputError: If a table is wrong, or would evaluate a model on what it was trained on.
        """
        for tables in self.split_files().values():
            if self.run_split is not None:
                self.run_split.require_unseen(tables, self.rename)

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
        if self.run_split is not None:
            self.read_tables()
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
