"""What the run of a model has trained on: none of it may be what the model is tested on."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning.pytorch.utilities import rank_zero_warn

from ibca_lightning.data.tables.split_file import apply_splits, read_splits
from ibca_lightning.data.tables.table import Table
from ibca_lightning.system.errors import DataWarning, InputError


@dataclass(frozen=True)
class RunSplit:
    """The split of the run whose model is now evaluated, or trained on; pictures are known by their ids.

    Attributes:
        folder: Of the run. One without a `splits.csv` of ours says nothing, and nothing is asked.
        held_out: The splits, of `val` and `test`, that the model must not have seen.
        answer: To a picture in them that it has: `keep` the run's split where the tables hold the same pictures, and
            else refuse; `refuse`; or `warn`.
        suffix: Of the file, for one of several joined sets.
    """

    folder: str
    held_out: tuple[str, ...]
    answer: Literal["keep", "refuse", "warn"]
    suffix: str = ""

    def kept(self, tables: Mapping[str, Table], rename: Callable[[str], str] = str) -> Mapping[str, Table] | None:
        """Divide the tables as the run did, and say so.

        Returns:
            None where they may stay as they are, or do not hold the run's pictures.
        """
        if self.answer != "keep" or not any(self._seen(split, tables, rename) for split in self.held_out):
            return None
        try:
            kept = apply_splits(str(self._file), tables, rename)
        except (InputError, FileNotFoundError):
            return None
        what = "these tables would be split otherwise than those that the model was trained with"
        rank_zero_warn(f"{what}; the split of {self._file} is kept", category=DataWarning)
        return kept

    def require_unseen(self, tables: Mapping[str, Table], rename: Callable[[str], str] = str) -> None:
        """Refuse held-out pictures that the model was trained on, or warn of them.

        Raises:
            InputError: Counts them, and names the first and the file that says so.
        """
        for split in self.held_out:
            if not (seen := self._seen(split, tables, rename)):
                continue
            fix = (
                "give the tables that it was trained with, or new pictures alone (for others of the same names: a copy "
            )
            fix += "of the checkpoint outside of its run)"
            if self.answer != "keep":
                fix = f"give --data.splits {self._file}"
            got = f"{len(seen)} of {len(tables[split])} that it was trained on, '{seen[0]}' first ({self._file})"
            error = InputError(f"{split} pictures that the model has not seen", got, fix)
            if self.answer != "warn":
                raise error
            rank_zero_warn(str(error), category=DataWarning)

    @property
    def _file(self) -> Path:
        return Path(self.folder, f"splits{self.suffix}.csv")

    def _seen(self, split: str, tables: Mapping[str, Table], rename: Callable[[str], str]) -> list[str]:
        """The rows of a split that the run has trained on. A name of both splits is that of two pictures."""
        # A model of joined sets is tested on one of them, and the other way round.
        files = [self._file] if self._file.is_file() else sorted(Path(self.folder).glob("splits*.csv"))
        ids: dict[str, set[str]] = {"train": set(), split: set()}
        for name, in_split in (row for file in files for row in read_splits(os.fspath(file)) or ()):
            ids.setdefault(in_split, set()).add(name)
        table = tables.get(split)
        names = [] if table is None else [rename(table.name(row)) for row in range(len(table))]
        return [name for name in names if name in ids["train"] and name not in ids[split]]
