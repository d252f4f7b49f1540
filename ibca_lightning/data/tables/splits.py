"""Seeded splits by group, stratified by label; and the check that no group stands in two splits.

Our own on purpose: scikit-learn spreads one label at a time over groups, not many labels with unknown ones.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from ibca_lightning.data.tables.distinct import distinct, shared
from ibca_lightning.data.tables.groups.grouping import otherwise_written
from ibca_lightning.data.tables.table import Table, decode, pooled
from ibca_lightning.system.errors import DataWarning, InputError

GroupOverlap = Literal["error", "warn"]

_PASSES = 20
_NAMED = 4  # of those that stand in two splits, in a message
_MANY_GROUPS = 500  # beyond this many groups one pass comes close, and fewer are made
_BLOCK = 4096  # groups that are numbers of Python at once: of millions these would fill gigabytes


def split_groups(
    groups: NDArray[np.bytes_], labels: NDArray[np.int8], fractions: Sequence[float], seed: int
) -> list[NDArray[np.intp]]:
    """Divide rows into parts so that no group is cut and every label is spread alike.

    Groups are placed one after the other, those that hold a large share of some label first, each into the part where
    it adds least to the sum over labels of (have - want)^2 / want, shares of each label: iterative stratification
    (Sechidis et al., ECML PKDD 2011) for groups, which bring several labels at once. Of some such passes in random
    orders the best is taken. The result depends on the groups, the labels and the seed, not on the order of the rows.

    Args:
        groups: (N,) the group of each row.
        labels: (N, L) in {0, 1, -1}.
        fractions: The share of each of the P parts; they sum to 1.
        seed: Chooses among good splits.

    Returns:
        For each part its rows, in order; none is empty.

    Raises:
        InputError: If there are fewer groups than parts, or the seed is none.
    """
    given: object = seed  # of Python it may be anything
    if not isinstance(given, int | np.integer) or given < 0:
        raise InputError("data.split_seed, a whole number from 0", given, "correct the value")
    names, code = distinct(groups)
    if len(names) < len(fractions):
        fix = "give the splits as files of their own, or correct group_column"
        raise InputError(f"at least {len(fractions)} groups to split by group", len(names), fix)
    # What each group brings: positives of each label, then rows; as shares of the whole.
    shares = np.empty((len(names), labels.shape[1] + 1))
    for at, label in enumerate(labels.T):
        shares[:, at] = np.bincount(code[label == 1], minlength=len(names))
    shares[:, -1] = np.bincount(code)
    shares /= np.maximum(shares.sum(axis=0), 1)

    random = np.random.default_rng(seed)
    passes = max(1, min(_PASSES, _PASSES * _MANY_GROUPS // len(names)))
    trials = [_place(shares, fractions, random) for _ in range(passes)]
    part_of, _ = min(trials, key=lambda trial: trial[1])
    for part in range(len(fractions)):
        if not (part_of == part).any():
            # Fractions too small for the groups at hand: an empty split is never what was meant.
            candidates = np.flatnonzero(part_of == np.bincount(part_of).argmax())
            part_of[candidates[shares[candidates, -1].argmin()]] = part
    return [np.flatnonzero(part_of[code] == part) for part in range(len(fractions))]


def split_fold(
    groups: NDArray[np.bytes_], labels: NDArray[np.int8], fold: int, folds: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide rows for one turn of a cross-validation: `folds` parts by `split_groups`, of which one validates.

    Returns:
        Training rows and validation rows, in order; every fold of one seed has the same parts.

    Raises:
        InputError: If there is no such fold, or there are fewer groups than folds.
    """
    if folds < 2:
        raise InputError("data.folds of 2 or more", folds, "correct the value")
    if not 0 <= fold < folds:
        raise InputError(f"data.fold from 0 to {folds - 1}", fold, "correct the value, or raise data.folds")
    parts = split_groups(groups, labels, [1 / folds] * folds, seed)
    return np.sort(np.concatenate(parts[:fold] + parts[fold + 1 :])), parts[fold]


def cross_validated(tables: Mapping[str, Table], fold: int, folds: int, seed: int) -> dict[str, Table]:
    """Make one turn of a cross-validation of the rows of `train` and `val`, as `split_fold`; other splits stay."""
    rows = pooled([tables["train"], tables["val"]])
    train, val = split_fold(rows.groups, rows.labels, fold, folds, seed)
    return {**tables, "train": rows.take(train), "val": rows.take(val)}


def keep_share(groups: NDArray[np.bytes_], labels: NDArray[np.int8], fraction: float, seed: int) -> NDArray[np.intp]:
    """Keep whole groups that hold a share in (0, 1] of the rows and of every label; at least one, chosen by the seed.

    Returns:
        The rows, in order.

    Raises:
        InputError: If the fraction is out of range, or there is one group only.
    """
    if not 0 < fraction <= 1:
        raise InputError("data.train_fraction above 0 and up to 1", fraction, "correct the value")
    if fraction == 1:
        return np.arange(len(groups))
    return split_groups(groups, labels, [fraction, 1 - fraction], seed)[0]


def _place(
    shares: NDArray[np.float64], fractions: Sequence[float], random: np.random.Generator
) -> tuple[NDArray[np.intp], float]:
    """Place groups in one random order; return the part of each group, and how far the parts are from their shares."""
    order = np.argsort(-shares.max(axis=1) * random.uniform(0.5, 1, len(shares)), kind="stable")
    have = [[0.0] * shares.shape[1] for _ in fractions]
    part_of = np.empty(len(shares), dtype=np.intp)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        own = shares[block]
        rows, labels = np.nonzero(own)
        brought = list(zip(labels.tolist(), own[rows, labels].tolist(), strict=True))
        ends = np.cumsum(np.bincount(rows, minlength=len(block))).tolist()
        placed, begin = [], 0
        for end in ends:
            brings, begin = brought[begin:end], end
            costs = [
                sum([share * (share + 2 * (part[label] - want)) / want for label, share in brings])
                for part, want in zip(have, fractions, strict=True)
            ]
            best = costs.index(min(costs))
            placed.append(best)
            for label, share in brings:
                have[best][label] += share
        part_of[block] = placed
    wanted = np.asarray(fractions)[:, None]
    present = shares.any(axis=0)
    return part_of, float((((np.array(have) - wanted) ** 2 / wanted)[:, present]).sum())


def split_off(tables: Mapping[str, Table], fractions: Mapping[str, float], seed: int) -> dict[str, Table]:
    """Split off from `train` what is not given as a table of its own.

    Args:
        tables: `train`, and the splits that are given.
        fractions: For each split the share of `train` it gets where it is not given; `val` must get some, another
            split is left out where its share is 0.
        seed: Chooses the split.

    Raises:
        InputError: If a fraction is out of range or there are too few groups.
    """
    wanted = {name: fraction for name, fraction in fractions.items() if name not in tables}
    for name, fraction in wanted.items():
        if not 0 <= fraction < 1 or (name == "val" and fraction == 0):
            raise InputError(f"data.{name}_fraction above 0 and below 1", fraction, "correct the value")
    wanted = {name: fraction for name, fraction in wanted.items() if fraction > 0}
    rest = 1 - sum(wanted.values())
    if rest <= 0:
        raise InputError("fractions that leave something to train on", wanted, "lower them")
    if not wanted:
        return dict(tables)
    train = tables["train"]
    parts = split_groups(train.groups, train.labels, [rest, *wanted.values()], seed)
    return {**tables, **{name: train.take(rows) for name, rows in zip(["train", *wanted], parts, strict=True)}}


class SpellingWarning(DataWarning):
    """Groups of two splits that differ in their spelling alone; `ibca check` finds each of them by itself."""


def check_overlap(splits: Mapping[str, Table], overlap: GroupOverlap) -> None:
    """Refuse, as an InputError, or only report, a group or a picture that stands in two splits."""
    tables = list(splits.items())
    for at, (name, table) in enumerate(tables):
        for other_name, other in tables[at + 1 :]:
            what, columns = "picture", (table.names, other.names)
            both = shared(*columns) if table.folder == other.folder else table.names[:0]
            if not len(both):
                what, columns = "group", (table.groups, other.groups)
                both = shared(*columns)
            if not len(both):
                own = np.array_equal(table.groups, table.names)  # every picture is its own group
                for here, there in ([] if own else otherwise_written(table.groups, other.groups))[:1]:
                    rank_zero_warn(
                        f"groups that may be one and the same, written otherwise: '{decode(table.groups[here])}' in "
                        f"{name} ({table.where(here)}) and '{decode(other.groups[there])}' in {other_name} "
                        f"({other.where(there)}); write a group in one way, or expect figures that are too good",
                        category=SpellingWarning,
                    )
                continue
            first, second = (
                split.where(int(np.flatnonzero(column == both[0])[0]))
                for split, column in zip((table, other), columns, strict=True)
            )
            also = "".join(f", also '{decode(value)}'" for value in both[1:_NAMED])
            error = InputError(
                f"every {what} in one split only",
                f"'{decode(both[0])}' in {name} ({first}) and in {other_name} ({second}){also}, "
                f"{len(both)} such in all",
                "correct the splits, or set group_overlap to warn",
            )
            if overlap == "error":
                raise error
            rank_zero_warn(str(error))
