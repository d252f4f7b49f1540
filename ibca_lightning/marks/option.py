"""`data.marks`: which artefacts accompany which classes, and how strongly."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.marks.kinds import KINDS
from ibca_lightning.marks.painter import Painter, random_numbers
from ibca_lightning.system.errors import InputError, doubled


@dataclass(frozen=True)
class Marks:
    """An instrument for tests of methods: artefacts drawn on the pictures, so that each class has one as a shortcut.

    Each class has a kind of mark of its own. P(mark | label 1) = rho and P(mark | label 0) = 1 - rho, in training and
    validation; a label that is not known has none. In place of `test` there are three test sets of the same pictures:
    `same` (rho), `independent` (0.5) and `reversed` (1 - rho), which differ in the marks alone. Marks lie on no lesion
    of the masks, and are drawn before augmentation. How a mark looks and where it lies depends on seed, picture and
    class; whether it is there also on which pictures its split has, and never on order or processes.

    The number of pictures that contradict the rule is exact: of a class's positives those without its mark, and of its
    negatives those with it, are each the share 1 - rho. In training they are the share `conflicts` of either, and no
    fewer than `at_least`, where there are so many. Those of a smaller number are among those of a larger one.

    Args:
        rho: In [0, 1]; 0.5 is no shortcut.
        kinds: One for each class, in the order of the classes; further ones are not drawn. None has the seed choose.
        seed: Of everything that is drawn.
        conflicts: In [0, 1]; None for 1 - rho, or for 0 where `at_least` is given: with that alone, so many exactly.
        at_least: Number of pictures.

    Raises:
        InputError: A value is out of range, or a kind is not known or named twice.
    """

    rho: float = 0.95
    kinds: list[str] | None = None
    seed: int = 0
    conflicts: float | None = None
    at_least: int | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        for name, share in (("rho", self.rho), ("conflicts", self.conflicts or 0.0)):
            if not 0 <= share <= 1:
                raise InputError(f"data.marks.{name} in [0, 1]", repr(share), "correct the value")
        for name, number in (("seed", self.seed), ("at_least", self.at_least or 0)):
            if isinstance(number, bool) or number < 0:
                raise InputError(f"data.marks.{name} of 0 or more", repr(number), "correct the value")
        kinds = self.kinds or []
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise InputError(f"some of {', '.join(KINDS)} in data.marks.kinds", unknown[0], "correct the name")
        if double := doubled(kinds):
            raise InputError("every kind once in data.marks.kinds", f"{double[0]} twice", "correct the list")

    @property
    def test_shares(self) -> dict[str, float]:
        """P(mark | label 1) of each test set."""
        return {"same": self.rho, "independent": 0.5, "reversed": 1 - self.rho}

    def kinds_of(self, class_names: Sequence[str]) -> list[str]:
        """Return the kind of each class.

        Raises:
            InputError: If there are more classes than kinds.
        """
        drawn = np.random.default_rng(self.seed).permutation(list(KINDS)).tolist() if self.kinds is None else self.kinds
        if len(class_names) > len(drawn):
            fix = f"name further kinds ({', '.join(KINDS)}), or fewer classes"
            raise InputError(f"a kind of mark for each of {len(class_names)} classes in data.marks", len(drawn), fix)
        return list(drawn[: len(class_names)])

    def summary(self, class_names: Sequence[str]) -> str:
        """Say that marks are drawn, and which."""
        pairs = ", ".join(map(" with ".join, zip(class_names, self.kinds_of(class_names), strict=True)))
        return f"data.marks draws artefacts on these pictures on purpose (rho {self.rho:g}, seed {self.seed}): {pairs}"

    def painter(
        self, names: Sequence[str], labels: NDArray[np.int8], class_names: Sequence[str], share: float | None = None
    ) -> Painter:
        """Return what paints the pictures of one split.

        Args:
            names: Of the N pictures.
            labels: (N, L) in {0, 1, -1}.
            class_names: L names.
            share: P(mark | label 1); None for a training split, which may have other numbers of conflicts.
        """
        chance = np.array([[self._chance(name, label) for label in class_names] for name in names], np.float64)
        chance = chance.reshape(labels.shape)
        least = 0
        if share is None:
            least, share = self.at_least or 0, self.rho if self.at_least is None else 1.0
            share = share if self.conflicts is None else 1 - self.conflicts
        shown = (labels >= 0) & ((labels == 1) != _contrary(chance, labels, 1 - share, least))
        kinds = self.kinds_of(class_names)
        return Painter(tuple(kinds), tuple(partial(random_numbers, self.seed, name) for name in class_names), shown)

    def _chance(self, picture: str, label: str) -> float:
        """A number from 0 to 1 that belongs to a picture and a class."""
        word = hashlib.blake2b(f"{self.seed}/{label}/{picture}".encode(errors="surrogateescape"), digest_size=8)
        return int.from_bytes(word.digest(), "little") / 2**64


def _contrary(
    chance: NDArray[np.float64], labels: NDArray[np.int8], share: float, least: int
) -> NDArray[np.bool_]:  # fmt: skip
    """(N, L): where label and mark disagree, in a share of the rows of each class and value; those of least chance."""
    contrary = np.zeros(labels.shape, bool)
    for label in range(labels.shape[1]):
        for value in (0, 1):
            rows = np.flatnonzero(labels[:, label] == value)
            number = max(math.floor(share * len(rows) + 0.5), least)
            contrary[rows[np.argsort(chance[rows, label], kind="stable")[:number]], label] = True
    return contrary
