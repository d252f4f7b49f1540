"""What the run of a model has trained on: none of it may be what the model is tested on."""

import os
from collections.abc import Callable, Mapping, Sequence
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
            kept = apply_splits(str(file := self._file(tables, rename)), tables, rename)
        except (InputError, FileNotFoundError):
            return None
        what = "these tables would be split otherwise than those that the model was trained with"
        other = "(for other pictures of the same names give a copy of the checkpoint outside of its run)"
        rank_zero_warn(f"{what}; the split of {file} is kept {other}", category=DataWarning)
        return kept

    def require_unseen(self, tables: Mapping[str, Table], rename: Callable[[str], str] = str) -> None:
        """Refuse held-out pictures that the model was trained on, or warn of them.

        Raises:
            InputError: Counts them, and names the first and the file that says so.
        """
        for split in self.held_out:
            if not (seen := self._seen(split, tables, rename)):
                continue
            file = self._file(tables, rename)
            fix = "give the pictures that it was trained with, or others alone; of equal names, with a copy of the "
            fix += "checkpoint outside of its run"
            if self.answer != "keep":
                fix = f"give --data.splits {file}"
            got = f"{len(seen)} of {len(tables[split])} that it was trained on, '{seen[0]}' first ({file})"
            error = InputError(f"{split} pictures that the model has not seen", got, fix)
            if self.answer != "warn":
                raise error
            rank_zero_warn(str(error), category=DataWarning)

    def _file(self, tables: Mapping[str, Table], rename: Callable[[str], str]) -> Path:
        """Of the files of joined sets, which may come in another order or alone, the one that names most pictures."""
        own, files = Path(self.folder, f"splits{self.suffix}.csv"), sorted(Path(self.folder).glob("splits*.csv"))
        if len(files) < 2:
            return files[0] if files else own
        names = {rename(table.name(row)) for table in tables.values() for row in range(len(table))}

        def fit(file: Path) -> tuple[int, bool]:
            rows = _rows(file)
            return 2 * sum(name in names for name, _ in rows) - len(rows), file == own

        return max(files, key=fit)

    def _seen(self, split: str, tables: Mapping[str, Table], rename: Callable[[str], str]) -> list[str]:
        """The rows of a split that the run has trained on. A name of both splits is that of two pictures."""
        if (table := tables.get(split)) is None:
            return []
        ids: dict[str, set[str]] = {"train": set(), split: set()}
        for name, in_split in _rows(self._file(tables, rename)):
            ids.setdefault(in_split, set()).add(name)
        names = [rename(table.name(row)) for row in range(len(table))]
        return [name for name in names if name in ids["train"] and name not in ids[split]]


def _rows(file: Path) -> Sequence[tuple[str, str]]:
    return read_splits(os.fspath(file)) or ()
