"""Learning at some sites and testing at each: what a model is worth at another hospital."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.tables.table import Table, decode
from ibca_lightning.system.errors import InputError


@dataclass(frozen=True)
class Sites:
    """Which sites training and validation see; each site of the test split becomes a test set, those not learnt first.

    Args:
        column: One of data.subgroup_columns, such as the hospital.
        train: Sites to learn from, all others to be left out.
        test: Or sites to leave out, all others to be learnt from.
        unlabelled: Whether training pictures of the sites that are left out stay, without their labels.

    Raises:
        InputError: Both of `train` and `test` are given, or none.
    """

    column: str
    train: Sequence[str] | None = None
    test: Sequence[str] | None = None
    unlabelled: bool = False

    def __post_init__(self) -> None:
        """Check what Python callers gave."""
        if bool(self.train) == bool(self.test):
            got = "both" if self.train else "none"
            raise InputError("train or test in data.sites", got, "name the sites to learn from, or to leave out")

    def rows(self, table: Table, split: str) -> NDArray[np.intp]:
        """Return which rows of `train` or `val` are seen.

        Raises:
            InputError: There is no such column or site, or no row is left.
        """
        learnt, known = self._learnt(table), sorted(set(self._values(table)))
        unknown = [name for name in self.train or self.test or [] if name not in known]
        if unknown and split == "train":
            raise InputError(
                f"the sites of data.sites in column {self.column}", unknown[0], f"there are {', '.join(known)}"
            )
        if not learnt.any():
            raise InputError(f"a {split} row of the sites to learn from", "none", "leave out fewer in data.sites")
        return np.flatnonzero(learnt | (self.unlabelled and split == "train"))

    def labelled(self, table: Table) -> Table:
        """Return rows of `train` with unknown labels where their site is not learnt from."""
        labels = np.where(self._learnt(table)[:, None], table.labels, -1)
        return replace(table, labels=labels.astype(np.int8))

    def tests(self, table: Table) -> dict[str, NDArray[np.intp]]:
        """Return the rows of each test set, by a name that may be one of a file."""
        values = self._values(table)
        order = sorted(dict.fromkeys(zip(self._learnt(table).tolist(), values, strict=True)))
        named = np.array(values)
        return {re.sub(r"[^\w.-]", "_", value): np.flatnonzero(named == value) for _, value in order}

    def _learnt(self, table: Table) -> NDArray[np.bool_]:
        named = np.isin(self._values(table), self.train or self.test or [])
        return named if self.train else ~named

    def _values(self, table: Table) -> list[str]:
        if self.column not in table.subgroups:
            known = ", ".join(table.subgroups) or "none"
            fix = f"add {self.column} to data.subgroup_columns"
            raise InputError("the column of data.sites among data.subgroup_columns", f"{known} there", fix)
        return [decode(value) for value in table.subgroups[self.column]]
