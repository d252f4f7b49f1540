"""Seeded splits by group, stratified by label; and the check that no group stands in two splits.

Our own on purpose: scikit-learn spreads one label at a time over groups, not many labels with unknown ones.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from ibca_lightning.data.tables.table import Table, decode, pooled
from ibca_lightning.system.errors import InputError

GroupOverlap = Literal["error", "warn"]

_PASSES = 20
_NAMED = 4  # of those that stand in two splits, in a message
_MANY_GROUPS = 500  # beyond this many groups one pass comes close, and fewer are made


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
        InputError: If there are fewer groups than parts.

    Example:
        Six pictures of three patients, two of whom have the label: no patient is cut, and each part gets one of them.

        >>> import numpy as np
        >>> from ibca_lightning.data.tables.splits import split_groups
        >>> patients = np.array([b"p1", b"p1", b"p1", b"p2", b"p3", b"p3"])
        >>> labels = np.array([[1], [0], [0], [0], [1], [0]], dtype=np.int8)
        >>> train, val = split_groups(patients, labels, [0.6, 0.4], seed=0)
        >>> {str(name) for name in patients[train]} & {str(name) for name in patients[val]}
        set()
        >>> int(labels[train].sum()), int(labels[val].sum())
        (1, 1)
    """
    names, code = np.unique(groups, return_inverse=True)
    if len(names) < len(fractions):
        raise InputError(
            f"at least {len(fractions)} groups to split by group",
            f"{len(names)}",
            "give the splits as files of their own, or correct group_column",
        )
    # What each group brings: positives of each label, then rows; as shares of the whole.
    rows = np.column_stack([labels == 1, np.ones(len(labels), dtype=bool)])
    shares = np.zeros((len(names), rows.shape[1]))
    np.add.at(shares, code, rows.astype(float))
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

    Args:
        groups: (N,) the group of each row.
        labels: (N, L) in {0, 1, -1}.
        fold: Which part validates, from 0.
        folds: Number of parts.
        seed: Chooses the parts; every fold of one seed has the same.

    Returns:
        Training rows and validation rows, in order.

    Raises:
        InputError: If there is no such fold, or there are fewer groups than folds.

    Example:
        >>> import numpy as np
        >>> from ibca_lightning.data.tables.splits import split_fold
        >>> patients, labels = np.array([b"p1", b"p2", b"p3", b"p4"]), np.array([[1], [1], [0], [0]], dtype=np.int8)
        >>> turns = [split_fold(patients, labels, fold, folds=2, seed=0) for fold in (0, 1)]
        >>> [sorted(int(row) for part in turn for row in part) for turn in turns]  # each turn has every row
        [[0, 1, 2, 3], [0, 1, 2, 3]]
        >>> bool((turns[0][1] == turns[1][0]).all())  # what validates in one turn of two trains in the other
        True
    """
    if folds < 2:
        raise InputError("data.folds of 2 or more", folds, "correct the value")
    if not 0 <= fold < folds:
        raise InputError(f"data.fold from 0 to {folds - 1}", fold, "correct the value, or raise data.folds")
    parts = split_groups(groups, labels, [1 / folds] * folds, seed)
    return np.sort(np.concatenate(parts[:fold] + parts[fold + 1 :])), parts[fold]


def cross_validated(tables: Mapping[str, Table], fold: int, folds: int, seed: int) -> dict[str, Table]:
    """Make one turn of a cross-validation of the training and validation rows; other splits stay as they are.

    Args:
        tables: `train`, `val`, and what else there is.
        fold: Which part validates, from 0.
        folds: Number of parts.
        seed: Chooses the parts; every fold of one seed has the same.

    Returns:
        The same splits.

    Raises:
        InputError: If there is no such fold, or there are fewer groups than folds.
    """
    rows = pooled([tables["train"], tables["val"]])
    train, val = split_fold(rows.groups, rows.labels, fold, folds, seed)
    return {**tables, "train": rows.take(train), "val": rows.take(val)}


def keep_share(groups: NDArray[np.bytes_], labels: NDArray[np.int8], fraction: float, seed: int) -> NDArray[np.intp]:
    """Keep whole groups that hold a share of the rows and of every label.

    Args:
        groups: (N,) the group of each row.
        labels: (N, L) in {0, 1, -1}.
        fraction: The share, in (0, 1]; at least one group is kept.
        seed: Chooses the groups.

    Returns:
        The rows, in order.

    Raises:
        InputError: If the fraction is out of range, or there is one group only.

    Example:
        >>> import numpy as np
        >>> from ibca_lightning.data.tables.splits import keep_share
        >>> patients, labels = np.array([b"p1", b"p1", b"p2", b"p2"]), np.array([[1], [0], [1], [0]], dtype=np.int8)
        >>> rows = keep_share(patients, labels, fraction=0.5, seed=0)
        >>> len(rows), len(set(patients[rows]))  # both pictures of one patient
        (2, 1)
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
    for group, brings in zip(order.tolist(), shares[order].tolist(), strict=True):
        nonzero = [(label, share) for label, share in enumerate(brings) if share]
        costs = [
            sum(share * (share + 2 * (part[label] - want)) / want for label, share in nonzero)
            for part, want in zip(have, fractions, strict=True)
        ]
        best = costs.index(min(costs))
        part_of[group] = best
        for label, share in nonzero:
            have[best][label] += share
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

    Returns:
        All splits.

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


def check_overlap(splits: Mapping[str, Table], overlap: GroupOverlap) -> None:
    """Refuse, or only report, a group or a picture that stands in two splits.

    Args:
        splits: The tables by name.
        overlap: `error` or `warn`.

    Raises:
        InputError: If `overlap` is `error` and there is one.
    """
    tables = list(splits.items())
    for at, (name, table) in enumerate(tables):
        for other_name, other in tables[at + 1 :]:
            what, columns = "picture", (table.names, other.names)
            shared = np.intersect1d(*columns) if table.folder == other.folder else table.names[:0]
            if not len(shared):
                what, columns = "group", (table.groups, other.groups)
                shared = np.intersect1d(*columns)
            if not len(shared):
                continue
            first, second = (
                split.where(int(np.flatnonzero(column == shared[0])[0]))
                for split, column in zip((table, other), columns, strict=True)
            )
            also = "".join(f", also '{decode(value)}'" for value in shared[1:_NAMED])
            error = InputError(
                f"every {what} in one split only",
                f"'{decode(shared[0])}' in {name} ({first}) and in {other_name} ({second}){also}, "
                f"{len(shared)} such in all",
                "correct the splits, or set group_overlap to warn",
            )
            if overlap == "error":
                raise error
            rank_zero_warn(str(error))
