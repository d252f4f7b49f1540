"""Labels of the training split made wrong on purpose, to measure what helps against wrong labels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.tables.table import Table
from ibca_lightning.system.errors import InputError


@dataclass(frozen=True)
class LabelNoise:
    """An instrument for tests of methods; `label_noise.csv` of the run lists what it changed.

    What becomes of a label depends on seed, id and class alone, so that it is the same in every fold.

    Args:
        flip: Share of the known labels that are turned over.
        missed: Share of the positives that become 0, instead of `flip` for them.
        seed: Draws them.
        split: `train`; figures of validation and test on wrong labels would be no figures.

    Raises:
        InputError: A share is not in [0, 1), or the split is another one.
    """

    flip: float = 0.0
    missed: float | None = None
    seed: int = 0
    split: str = "train"

    def __post_init__(self) -> None:
        """Check what Python callers gave."""
        shares = (self.flip, self.missed or 0.0)
        if not all(0 <= share < 1 for share in shares):
            raise InputError("data.label_noise with flip and missed in [0, 1)", shares, "correct them")
        if self.split != "train":
            raise InputError("data.label_noise of the split train alone", self.split, "leave split out")

    def applied(self, table: Table) -> Table:
        """Return a table with wrong labels."""
        known = table.labels >= 0
        share = np.where(table.labels == 1, self.flip if self.missed is None else self.missed, self.flip)
        wrong = known & (self._draws(table) < share)
        return replace(table, labels=np.where(wrong, 1 - table.labels, table.labels).astype(np.int8))

    def _draws(self, table: Table) -> NDArray[np.float64]:
        """(N, L), from 0 to 1."""
        size = 4 * table.labels.shape[1]
        bits = (hashlib.shake_256(b"%d/" % self.seed + bytes(name)).digest(size) for name in table.names)
        return np.frombuffer(b"".join(bits), np.uint32).reshape(table.labels.shape) / 2**32


def changes(before: Table, after: Table, class_names: Sequence[str]) -> list[tuple[str, str, int, int]]:
    """Return each label that is not as the table has it: id, class, label, and what is given in its place."""
    places = np.argwhere(before.labels != after.labels).tolist()
    return [(before.name(i), class_names[c], int(before.labels[i, c]), int(after.labels[i, c])) for i, c in places]
