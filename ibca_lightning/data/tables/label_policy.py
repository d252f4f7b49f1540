"""What becomes of a label that is not known: uncertain ones, blanks, lists of names, readers who disagree."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.tables.labels import UNKNOWN, is_blank, no_labels, parse_label, plain_name, require_columns
from ibca_lightning.data.tables.listed_names import listed_names
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError

Unknown = Literal["ignore", "zero", "one"]
Readers = Literal["majority", "any", "all"]

_VALUES: dict[str, int] = {"ignore": UNKNOWN, "zero": 0, "one": 1}
# Uncertain labels that training alone takes as 0 or 1; `settled` writes what they are in a split.
_ZERO_IN_TRAINING, _ONE_IN_TRAINING = -2, -3


@dataclass(frozen=True)
class LabelPolicy:
    """How the labels of a table become 0, 1 and -1 (unknown).

    An unknown label carries no gradient and counts in no figure. `blank` and `readers` say what a table means, and
    hold for every split. `uncertain` is a choice about training, and by default holds for the training split alone:
    a figure over guessed labels is no figure of the test set. A validation split that is split off from training is
    read as validation.

    What is None is as the data set has it (`TableDataModule.default_labels`), and otherwise as said below.

    Args:
        uncertain: What a label of -1 becomes: it stays unknown (`ignore`), or `zero` or `one`; for all classes, or a
            mapping by class name (`*` for the others, which are ignored without it). CheXpert's U-Ignore, U-Zeros and
            U-Ones (Irvin et al. 2019, arXiv 1901.07031). None: `ignore`.
        blank: What an empty cell, `NaN` or `NA` becomes, in the same form. None: `ignore`.
        readers: How several readers of one picture are joined, over those whose label is known: by `majority`, of
            which a tie is uncertain; positive where `any` or where `all` say so. None: `majority`.
        evaluation: Whether `uncertain` also replaces the labels of validation and test. None: false.

    Raises:
        InputError: If a value is none of these.

    Examples:
        >>> from ibca_lightning.data.tables.label_policy import LabelPolicy, settled
        >>> from ibca_lightning.data.tables.sheet import Sheet
        >>> sheet = Sheet("train.csv", ["edema"], [["1"], ["-1"], [""]], lines=[2, 3, 4])
        >>> settled(LabelPolicy(uncertain="one", blank="zero").cells(sheet, ["edema"]), training=True).ravel().tolist()
        [1, 1, 0]
    """

    uncertain: Unknown | dict[str, Unknown] | None = None
    blank: Unknown | dict[str, Unknown] | None = None
    readers: Readers | None = None
    evaluation: bool | None = None

    def __post_init__(self) -> None:
        """Check what Python callers gave."""
        for name in ("uncertain", "blank"):
            value = getattr(self, name)
            for choice in value.values() if isinstance(value, dict) else (value,):
                if choice not in _VALUES and value is not None:
                    raise InputError(f"data.labels.{name} as one of ignore, zero, one", repr(choice), "choose one")
        if self.readers not in (None, *get_args(Readers)):
            raise InputError("data.labels.readers as one of majority, any, all", repr(self.readers), "choose one")

    def over(self, default: "LabelPolicy") -> "LabelPolicy":
        """Return this policy with what it leaves open taken from another."""
        mine = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(default, **{name: value for name, value in mine.items() if value is not None})

    def cells(self, sheet: Sheet, class_names: Sequence[str]) -> NDArray[np.int8]:
        """Read columns of 0, 1, -1 and blanks.

        Returns:
            Labels (N, L) int8 for `build_table`: 0, 1, -1, and codes that `settled` resolves by split.

        Raises:
            InputError: If a column is absent or a value is no label.
        """
        require_columns(sheet, class_names)
        uncertain, blank = self._codes(class_names)
        labels = np.empty((len(sheet), len(class_names)), dtype=np.int8)
        for at, name in enumerate(class_names):
            texts, of_rows = sheet.coded(name)
            values = [_BLANK if is_blank(text) else parse_label(text) for text in texts]
            if None in values:
                raise no_labels(sheet, np.flatnonzero(np.array([value is None for value in values])[of_rows]), name)
            becomes = {0: 0, 1: 1, UNKNOWN: uncertain[at], _BLANK: blank[at]}
            labels[:, at] = np.array([becomes[value] for value in values if value is not None], np.int8)[of_rows]
        return labels

    def lists(
        self,
        texts: Sequence[str],
        class_names: Sequence[str],
        *,
        where: Callable[[int], str],
        separator: str | None,
        aliases: Mapping[str, str] | None = None,
        none: Collection[str] = (),
    ) -> NDArray[np.int8]:
        """Read cells that name the classes that are present.

        Args:
            texts: For each row a cell such as `Mass|Nodule`, or, without a separator, the text of a Python list such as
                `['mass', 'nodule']`. Names are compared without blanks round them and without regard to case.
            class_names: The L classes.
            where: Names a row, for messages (`sheet.where`).
            separator: What stands between two names; None for the text of a list.
            aliases: Other names of classes.
            none: Names that are no class here, such as `No Finding`.

        Returns:
            Labels (N, L) int8: 1 where a class is named and 0 elsewhere; a cell without text is blank for every class,
            an empty list `[]` is 0 for every class.

        Raises:
            InputError: If a name is not known, or a cell is no list.
        """
        at = {plain_name(name): index for index, name in enumerate(class_names)}
        known: dict[str, int | None] = {plain_name(name): None for name in none} | dict(at)
        for alias, name in (aliases or {}).items():
            if plain_name(name) in at:
                known[plain_name(alias)] = at[plain_name(name)]
        _, blank = self._codes(class_names)
        labels = np.zeros((len(texts), len(class_names)), dtype=np.int8)
        for row, text in enumerate(texts):
            if is_blank(text):
                labels[row] = blank
                continue
            for name in listed_names(text, separator, where, row):
                if plain_name(name) not in known:
                    expected = f"labels among {_some(class_names)} in {where(row)}"
                    raise InputError(expected, f"'{name}'", "correct the label")
                index = known[plain_name(name)]
                if index is not None:
                    labels[row, index] = 1
        return labels

    def vote(
        self, labels: NDArray[np.int8], ids: Sequence[str], class_names: Sequence[str]
    ) -> tuple[list[str], NDArray[np.int8]]:
        """Join the readers of each picture, by `readers`.

        Args:
            labels: (N, L) of `cells` or `lists`, one row for each picture and reader.
            ids: The picture of each row.
            class_names: The L classes.

        Returns:
            The U different ids in the order of their first row, and their labels (U, L). A class that no reader of a
            picture knows keeps the label of its first reader.
        """
        first: dict[str, int] = {}
        picture = np.array([first.setdefault(name, len(first)) for name in ids], dtype=np.intp)
        shape = (len(first), labels.shape[1])
        positives, negatives = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        np.add.at(positives, picture, labels == 1)
        np.add.at(negatives, picture, labels == 0)
        rows = np.unique(picture, return_index=True)[1]
        if self.readers in (None, "majority"):
            tie = np.array(self._codes(class_names)[0], dtype=int)
            joined = np.where(positives > negatives, 1, np.where(positives < negatives, 0, tie))
        elif self.readers == "any":
            joined = (positives > 0).astype(int)
        else:
            joined = (negatives == 0).astype(int)
        joined = np.where(positives + negatives > 0, joined, labels[rows])
        return list(first), joined.astype(np.int8)

    def _codes(self, class_names: Sequence[str]) -> tuple[list[int], list[int]]:
        """For each class, what an uncertain label and a blank become."""
        for option in ("uncertain", "blank"):
            value = getattr(self, option)
            strange = [name for name in value if name not in (*class_names, "*")] if isinstance(value, dict) else []
            if strange:
                expected = f"data.labels.{option} by class names ({_some(class_names)}) or *"
                raise InputError(expected, f"'{strange[0]}'", "correct it")
        uncertain = [self._code(self._of(self.uncertain, name)) for name in class_names]
        return uncertain, [_VALUES[self._of(self.blank, name)] for name in class_names]

    def _of(self, choice: Unknown | dict[str, Unknown] | None, name: str) -> Unknown:
        return choice.get(name, choice.get("*", "ignore")) if isinstance(choice, dict) else choice or "ignore"

    def _code(self, choice: Unknown) -> int:
        if choice == "ignore" or self.evaluation:
            return _VALUES[choice]
        return _ZERO_IN_TRAINING if choice == "zero" else _ONE_IN_TRAINING


def settled(labels: NDArray[np.int8], training: bool) -> NDArray[np.int8]:
    """Resolve labels (N, L) of a `LabelPolicy` to {0, 1, -1}, once it is known whether they are for training."""
    if not (labels < UNKNOWN).any():
        return labels
    labels = labels.copy()
    labels[labels == _ZERO_IN_TRAINING] = 0 if training else UNKNOWN
    labels[labels == _ONE_IN_TRAINING] = 1 if training else UNKNOWN
    return labels


_BLANK = -9  # a cell without text, while it is read


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
