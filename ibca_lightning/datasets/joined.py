"""Several data sets as one: trained together, tested each by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.tables.doubts import ONE_SIDED, Doubt, one_sided
from ibca_lightning.data.tables.label_space import intersection, read_label_space, union
from ibca_lightning.data.tables.table import Table
from ibca_lightning.marks.option import Marks
from ibca_lightning.system.errors import InputError


class JoinedDataModule(MultiLabelDataModule):
    """Several data sets with tables, whose classes need not be the same.

    Training and validation are those of all sets together, each test set stays by itself under the name of its set. A
    class that a set does not have is unknown in all of its rows, so it is learnt from the sets that do have it. Ids and
    groups begin with the name of the set. Sizes, batches and augmentation are those given here, whatever the sets say;
    everything else (`root`, `labels`, `label_aliases`, `splits`, ...) is each set's own.

    Args:
        sets: The data modules.
        label_space: `union` of their classes, or `intersection`, under the names of the first set that has them; or
            whatever `TableDataModule` takes. Names are matched as there.
        marks: As for a table (`Marks`), for all sets: a class has one kind of mark in all of them, `conflicts` and
            `at_least` hold in each, and each has its three test sets.
        common: The arguments of `MultiLabelDataModule`: image_size, batch_size, num_workers, augment, resize,
            crop, balanced_sampling, drawn_noise, ...

    Raises:
        InputError: If there are no two sets, or a value is out of range.
    """

    def __init__(
        self, sets: list[TableDataModule], label_space: list[str] | str = "union", marks: Marks | None = None,
        **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(**common)
        self.marks = marks
        if len(sets) < 2:
            raise InputError("two data modules or more in data.sets", len(sets), "name them, or use the one by itself")
        for each in sets:
            for name in ("label_space", "marks"):
                if getattr(each, name) is not None:
                    fix = "set it once, for all"
                    raise InputError(f"data.{name} of the joined sets", f"one of {type(each).__name__}", fix)
            if each.sites is not None:
                fix = "use the set by itself, or leave data.sites out"
                raise InputError("joined sets, each a site", f"data.sites of {type(each).__name__}", fix)
            each.image_size, each.augment = self.image_size, self.augment
            each.resize, each.crop, each.in_channels = self.resize, self.crop, self.in_channels
            each.bit_depth = self.bit_depth
        self.sets = dict(zip(_names(sets), sets, strict=True))
        self.label_space = label_space if label_space in ("union", "intersection") else read_label_space(label_space)
        self._classes: list[str] | None = None

    @property
    def class_names(self) -> list[str]:
        """The classes of `label_space`."""
        if self._classes is None:
            spaces = [[s.label_aliases.get(name, name) for name in s.own_names] for s in self.sets.values()]
            if self.label_space == "union":
                self._classes = union(spaces)
            elif self.label_space == "intersection":
                self._classes = intersection(spaces)
            else:
                self._classes = list(self.label_space or [])
        return list(self._classes)

    @property
    def test_names(self) -> list[str]:
        """The names of the sets, or of the three test sets of each where marks are drawn."""
        shares = self.marks.test_shares if self.marks else ()
        return [f"{name}.{share}" for name in self.sets for share in shares] or list(self.sets)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """That of all sets, which must agree: a model reads a picture in one way.

        Raises:
            InputError: If they do not.
        """
        own = super().preprocessing
        for name, each in self.sets.items():
            if each.preprocessing != own:
                raise InputError(f"data.sets that read pictures alike ({own})", f"{each.preprocessing} of {name}",
                                 "set the same for all of them and for data itself")  # fmt: skip
        return own

    def prepare_data(self) -> None:
        """Prepare each set, on one process of each machine."""
        for each in self.sets.values():
            each.prepare_data()

    def read_tables(self) -> None:
        """Read the tables of each set."""
        for each in self._ready().values():
            each.read_tables()

    def doubts(self) -> list[Doubt]:
        """Return what each set says of itself; of classes that one lacks, another may have what is to be learnt."""
        sets = self._ready().items()
        own = [doubt._replace(what=f"{name}: {doubt.what}") for name, each in sets for doubt in each.doubts()]
        together = one_sided(self.training_labels(), self.class_names)
        return [*together, *(doubt for doubt in own if doubt.kind not in ONE_SIDED)]

    def find_bit_depth(self) -> None:
        """Find the largest of all sets, and read each with that: pictures of 8 bits have none."""
        if self.bit_depth is None:
            for each in self._ready().values():
                each.find_bit_depth()
            depths = [each.bit_depth for each in self.sets.values() if isinstance(each.bit_depth, int)]
            self.bit_depth = max(depths, default="each")
            for each in self.sets.values():
                each.bit_depth = self.bit_depth

    def training_labels(self) -> NDArray[np.int8]:
        """Return the labels (N, L) of all training sets, in {0, 1, -1}."""
        return np.concatenate([each.training_labels() for each in self._ready().values()])

    def train_set(self) -> JoinedDataset:
        """Join the training sets."""
        return JoinedDataset({name: each.train_set() for name, each in self._ready().items()})

    def val_set(self) -> JoinedDataset:
        """Join the validation sets."""
        return JoinedDataset({name: each.val_set() for name, each in self._ready().items()})

    def test_sets(self) -> Mapping[str, JoinedDataset]:
        """Return the test set of each set, or its three."""
        if self.marks is None:
            return {name: JoinedDataset({name: each.test_sets()["test"]}) for name, each in self._ready().items()}
        sets = {name: each.test_sets() for name, each in self._ready().items()}
        return {
            f"{name}.{share}": JoinedDataset({name: own[share]})
            for name, own in sets.items() for share in self.marks.test_shares
        }  # fmt: skip

    def label_changes(self) -> Mapping[str, list[tuple[str, str, int, int]]]:
        """Return what each set's `label_noise` has changed, by its name."""
        return {f".{name}": rows for name, each in self._ready().items() for rows in each.label_changes().values()}

    def split_files(self) -> Mapping[str, Mapping[str, Table]]:
        """Return the tables of each set, by its name."""
        return {f".{name}": each.split_tables() for name, each in self._ready().items()}

    def _ready(self) -> dict[str, TableDataModule]:
        for name, each in self.sets.items():
            each.label_space, each.rename, each.marks = self.class_names, self.rename, self.marks
            each.run_split = self.run_split and replace(self.run_split, suffix=f".{name}")
            # ibca check switches these off.
            each.trainer, each.augment, each.drawn_noise = self.trainer, self.augment, self.drawn_noise
        return self.sets


class JoinedDataset(Dataset[dict[str, Any]]):
    """Data sets one behind the other.

    An item is that of its data set with `index` counted through all, and the name of its set before `id` and `group`.
    Masks and subgroups are left out unless all sets have them (and the same subgroups): a batch needs equal items.

    Args:
        parts: The data sets by name.
    """

    def __init__(self, parts: Mapping[str, Dataset[Any]]) -> None:
        self.parts = dict(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts.values())])  # type: ignore[arg-type]
        self._keys: set[str] | None = None

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, at: int) -> dict[str, Any]:
        """Return one item."""
        number = int(np.searchsorted(self._starts, at, side="right")) - 1
        name, part = list(self.parts.items())[number]
        item = dict(part[at - int(self._starts[number])])
        item["index"] = torch.tensor(at)
        item |= {key: f"{name}/{item[key]}" for key in ("id", "group")}
        return {key: value for key, value in item.items() if key not in self._unshared()}

    def _unshared(self) -> set[str]:
        """The keys that not all sets have, found without reading a picture."""
        if self._keys is None:
            masked = [getattr(part, "masks", None) is not None for part in self.parts.values()]
            columns = [tuple(getattr(getattr(part, "table", None), "subgroups", ())) for part in self.parts.values()]
            self._keys = {"mask"} if not all(masked) else set()
            self._keys |= {"subgroup"} if len(set(columns)) > 1 else set()
        return self._keys


def _names(sets: Sequence[object]) -> list[str]:
    """The class names of the sets, numbered where one comes again."""
    names: list[str] = []
    for each in sets:
        name = type(each).__name__
        taken = sum(other == name or other.startswith(f"{name}_") for other in names)
        names.append(f"{name}_{taken + 1}" if taken else name)
    return names
