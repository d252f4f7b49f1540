"""What the run of a model has trained on: none of it may be what the model is tested on."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from ibca_lightning.data.tables.split_file import apply_splits, read_splits
from ibca_lightning.data.tables.table import Table
from ibca_lightning.system.errors import DataWarning, InputError

Hashes = NDArray[np.int64]


@dataclass(frozen=True)
class RunSplit:
    """The split of the run whose model is now evaluated, or trained on; pictures are known by their ids.

    Attributes:
        folder: Of the run. One without a `splits.csv` of ours says nothing, and nothing is asked.
        held_out: The splits, of `val` and `test`, that the model must not have seen.
        answer: To a picture in them that it has: `keep` the run's split where the tables hold the same pictures, and
            else refuse; `refuse`; or `warn`.
        suffix: Of the file, for one of several joined sets.
        elsewhere: The pictures lie in another folder than the run's, which is there too: those of equal names may be
            others, of another hospital, and are told of alone.

    A file is read once: 8 bytes a picture are kept, hashes of the ids, of which two of a million are equal by chance in
    one of 37 million cases.
    """

    folder: str
    held_out: tuple[str, ...]
    answer: Literal["keep", "refuse", "warn"]
    suffix: str = ""
    elsewhere: bool = False
    _read: dict[tuple[Path, int], Mapping[str, Hashes]] = field(default_factory=dict, repr=False, compare=False)

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
        """Refuse held-out pictures that the model was trained on, or warn of them; they are known by their names.

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
            if self.elsewhere:
                fix = "they lie in another folder than the run's; if they are the same, the figures are too good"
            what = "with names of those that it was trained on" if self.elsewhere else "that it was trained on"
            got = f"{len(seen)} of {len(tables[split])} {what}, '{seen[0]}' first ({file})"
            error = InputError(f"{split} pictures that the model has not seen", got, fix)
            if self.answer != "warn" and not self.elsewhere:
                raise error
            rank_zero_warn(str(error), category=DataWarning)

    def _file(self, tables: Mapping[str, Table], rename: Callable[[str], str]) -> Path:
        """Of the files of joined sets, which may come in another order or alone, the one that names most pictures."""
        own, files = Path(self.folder, f"splits{self.suffix}.csv"), sorted(Path(self.folder).glob("splits*.csv"))
        if len(files) < 2:
            return files[0] if files else own
        hashes = np.concatenate([_hashed(_names(table, rename)) for table in tables.values()])

        def fit(file: Path) -> tuple[int, bool]:
            rows = np.concatenate([*self._ids(file).values(), np.empty(0, np.int64)])
            return 2 * int(np.isin(rows, hashes).sum()) - len(rows), file == own

        return max(files, key=fit)

    def _seen(self, split: str, tables: Mapping[str, Table], rename: Callable[[str], str]) -> list[str]:
        """The rows of a split that the run has trained on. A name of both splits is that of two pictures."""
        if (table := tables.get(split)) is None:
            return []
        ids, names, none = self._ids(self._file(tables, rename)), _names(table, rename), np.empty(0, np.int64)
        hashes = _hashed(names)
        seen = np.isin(hashes, ids.get("train", none)) & ~np.isin(hashes, ids.get(split, none))
        return [names[row] for row in np.flatnonzero(seen)]

    def _ids(self, file: Path) -> Mapping[str, Hashes]:
        """The hashes of the ids of each split in a file of ours; {} of another."""
        key = file, hash(str(file))  # a process that is not forked hashes text otherwise
        if key not in self._read:
            splits: dict[str, list[int]] = {}
            for name, split in read_splits(file) or ():
                splits.setdefault(split, []).append(hash(name))
            self._read[key] = {split: np.array(own, np.int64) for split, own in splits.items()}
        return self._read[key]


def _names(table: Table, rename: Callable[[str], str]) -> list[str]:
    return [rename(name.decode()) for name in table.names.tolist()]


def _hashed(names: Iterable[str]) -> Hashes:
    return np.array([hash(name) for name in names], np.int64)
