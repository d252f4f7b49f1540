"""What the named sets share: a folder, what to do where it is not as released, official tables, what is split off."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.tables.paths import check_root
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.data.tables.splits import split_off
from ibca_lightning.data.tables.table import Table, build_table
from ibca_lightning.datasets.layouts.copies import first_present


class ReleasedSet(TableDataModule):
    """Base of the named sets; one of them sets `_help` and `names`, and implements `official`.

    Args:
        root: Folder of the data set.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...

    Raises:
        InputError: If an argument is wrong; wrong files are reported when they are read.

    Attributes:
        fractions: For each split that the release lacks its share of the training rows.
        subgroup_columns: Columns kept for figures by subgroup.
    """

    _help = ""  # what to do where a file is missing: where to get the set, and its tree
    fractions: Mapping[str, float] = {}
    subgroup_columns: Sequence[str] = ()

    def __init__(self, root: str, **common: Any) -> None:
        super().__init__(**common)
        self.root = os.fspath(root)

    def tables(self) -> Mapping[str, Table]:
        """Read the tables of the release, and split off by group what they leave open."""
        return split_off(self.official(), self.fractions, self.split_seed)

    def official(self) -> Mapping[str, Table]:
        """Return the tables of the release by split; of one without splits, all rows as `train`."""
        raise NotImplementedError(f"{type(self).__name__} must implement official")

    def present(self, *candidates: str) -> str:
        """Return the first of some paths below the root, or below its one folder, that exists.

        Raises:
            InputError: If none does: what is there instead, and where to get the set.
        """
        check_root(self.root, self._help)
        return first_present(self.root, candidates, self._help)

    def rows(
        self,
        sheet: Sheet,
        pictures: Sequence[str],
        folder: str | None = None,
        labels: NDArray[np.int8] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Table:
        """Make a table with the labels of `own_names`.

        Args:
            sheet: Its text.
            pictures: For each row the path of its picture below `folder`.
            folder: The picture folder; None for the root.
            labels: (N, L); None reads the columns of the sheet.
            groups: For each row its group; None where every picture is its own.

        Raises:
            InputError: With file and line, where a row is wrong.
        """
        names, folder = self.own_names, self.root if folder is None else folder
        labels = self.label_policy.cells(sheet, names) if labels is None else labels
        columns = self.subgroup_columns
        return build_table(
            sheet, names, pictures, self.root, folder, labels=labels, groups=groups, subgroup_columns=columns
        )


class OpenSplitSet(ReleasedSet):
    """Base of the sets whose release has no validation split: it is split off from training by group.

    Args:
        root: Folder of the data set.
        val_fraction: Share of the training rows that becomes validation, in (0, 1).
        split_seed: Chooses the split; independent of `seed_everything`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    def __init__(self, root: str, val_fraction: float = 0.2, split_seed: int = 0, **common: Any) -> None:
        super().__init__(root, **common)
        self.fractions: dict[str, float] = {"val": val_fraction}
        self.split_seed = split_seed
