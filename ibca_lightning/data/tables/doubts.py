"""What a table says by itself that may silently spoil a result: rare classes, negations, shortcuts, uneven splits.

`ibca fit` warns of it and `ibca check` lists it. Nothing here reads a picture.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from ibca_lightning.data.tables.distinct import distinct
from ibca_lightning.data.tables.groups.group_cells import doubtful_groups
from ibca_lightning.data.tables.groups.respelt import made_dates
from ibca_lightning.data.tables.labels import plain_name
from ibca_lightning.data.tables.table import Table, decode

FEW = 10  # positives; below, a figure of a class is chance, and so is what was learnt of it
PREDICTS = 0.7  # AUROC of a label given a subgroup alone, from which on it is said
ONE_SIDED = ("no positive", "no negative")  # kinds of `one_sided`
_CHANCE = 0.001  # what is likelier than this by chance is not said
_UNEVEN = 0.1  # difference of a value's shares in two splits, from which on it is said
_AGREE = 0.99  # of the rows, for a class to count as the negation of another
_BLOCK = 2**16  # rows whose labels are numbers of a product at once, so that they stay in the cache
NORMAL = re.compile(
    r"(?i)(?<![a-z])(normal|healthy|unremarkable|none|negative$|no[\s_-]*(finding|disease|lesion|abnormalit|patholog))"
)


class Doubt(NamedTuple):
    """One thing to be told: what it is, what to do, and an example, which may name a picture or a patient."""

    kind: str
    what: str
    fix: str
    example: str = ""

    def __str__(self) -> str:
        return f"{self.what}{f', such as {self.example}' if self.example else ''}; {self.fix}"


class Association(NamedTuple):
    """How well a subgroup column alone tells a label in one split, and between which of its values it differs most."""

    split: str
    column: str
    label: str
    auroc: float
    chance: float  # probability of such a difference between the values by chance; a group counts once
    values: tuple[str, str]  # with the largest and with the smallest share of positives
    shares: tuple[float, float]
    rows: tuple[int, int]


def table_doubts(tables: Mapping[str, Table], class_names: Sequence[str]) -> list[Doubt]:
    """Return what is doubtful about the labels of some splits."""
    return [
        *(one_sided(tables["train"].labels, class_names) if "train" in tables else ()),
        *_alike(class_names),
        *_few(tables, class_names),
        *_negations(tables, class_names),
        *shortcuts(tables, class_names),
        *_uneven(tables),
        *_groups(tables),
        *_dates(tables),
    ]


def associations(tables: Mapping[str, Table], class_names: Sequence[str]) -> list[Association]:
    """Return how well each subgroup column tells each label, in each split.

    Of a label both values must be there. Values of a column with fewer than 10 groups count as one, `(rare)`, blank
    ones as a value. The AUROC is that of the share of positives of each row's value; the shares are those of the same
    rows.
    """
    found = []
    for split, table in tables.items():
        groups = _numbered(table) if table.subgroups else np.arange(0)
        for column, cells in table.subgroups.items():
            values, codes = _values(cells, groups)
            pairs, pair = np.unique(groups * len(values) + codes, return_inverse=True)
            parts = np.stack(np.divmod(pairs, len(values)))
            for name, labels in zip(class_names, table.labels.T, strict=True):
                known = labels >= 0
                counts = np.bincount(2 * codes[known] + labels[known], minlength=2 * len(values)).reshape(-1, 2)
                counts, own = counts[counts.sum(axis=1) > 0], values[counts.sum(axis=1) > 0]
                if len(own) < 2 or not counts.sum(axis=0).all():
                    continue
                shares = counts[:, 1] / counts.sum(axis=1)
                order = np.argsort(shares, kind="stable")
                low, high = int(order[0]), int(order[-1])
                found.append(
                    Association(
                        split, column, name, _auroc(counts[order]), _chance_of_groups(parts, pair, labels),
                        (str(own[high]), str(own[low])), (float(shares[high]), float(shares[low])),
                        (int(counts[high].sum()), int(counts[low].sum())),
                    )
                )  # fmt: skip
    return found


def one_sided(labels: NDArray[np.int8], class_names: Sequence[str]) -> Iterator[Doubt]:
    """Say of which classes the training rows hold no positive, or no negative: they cannot be learnt.

    So is read what was meant otherwise: 1 and blank, or 1 and -1, where a blank or -1 means absent.

    Args:
        labels: (N, L) in {0, 1, -1}.
        class_names: The L classes.
    """
    positive, negative, unknown = (np.asarray((labels == value).any(axis=0)) for value in (1, 0, -1))
    for kind, lacking in zip(ONE_SIDED, (~positive, positive & ~negative), strict=True):
        names = [name for name, lacks in zip(class_names, lacking, strict=True) if lacks]
        fix = "leave such a class out, or check its column and the split"
        if kind == "no negative" and unknown[lacking].any():
            fix = (
                "a blank and -1 are unknown: where a blank means absent, set data.labels.blank: zero; where -1 does, "
                f"data.label_values: {{'-1': 0}}; else {fix}"
            )
        if names:
            yield Doubt(kind, f"{kind} in train, and so nothing to be learnt, of {', '.join(names)}", fix)


def _alike(class_names: Sequence[str]) -> Iterator[Doubt]:
    """Classes whose names are one but for case, or for what is hard to see; those are shown by their codes."""
    spelt: dict[str, list[str]] = {}
    for name in class_names:
        spelt.setdefault(plain_name(name), []).append(name)
    for names in spelt.values():
        if len(names) > 1:
            case = len({name.casefold() for name in names}) == 1
            shown = ", ".join(f"'{name}'" if case else ascii(name) for name in names)
            what = f"classes whose names differ in {'case' if case else 'what is hard to see'} alone: {shown}"
            fix = "make one column of them, or name those too many in exclude_columns; where they are two, rename one"
            yield Doubt("alike names", what, fix)


def _few(tables: Mapping[str, Table], class_names: Sequence[str]) -> Iterator[Doubt]:
    for split, table in tables.items():
        if split == "val":
            continue  # of thresholds that rest on few positives, the end of a fit speaks
        groups = _numbered(table)
        largest = np.bincount(groups).max(initial=0)
        once = ", a group counted once" if groups.max(initial=-1) + 1 < len(table) else ""
        columns = np.ascontiguousarray(table.labels.T)
        fix = "expect little of what is learnt of them"
        if split != "train":
            fix = "their figures are mostly chance: read the intervals, or hold out more"
        for value, kind in ((1, "positives"), (0, "negatives")):
            counts = [_few_groups(groups, np.flatnonzero(column == value), largest) for column in columns]
            if few := [f"{name} {count}" for name, count in zip(class_names, counts, strict=True) if 0 < count < FEW]:
                yield Doubt(f"few {kind}", f"fewer than {FEW} {kind} in {split}{once}: {', '.join(few)}", fix)


def _few_groups(groups: NDArray[np.intp], rows: NDArray[np.intp], largest: int) -> int:
    """How many groups some rows are of, or `FEW`, where more rows than the `largest` groups have must be of as many."""
    return len(np.unique(groups[rows])) if len(rows) < FEW * largest else FEW


def _negations(tables: Mapping[str, Table], class_names: Sequence[str]) -> Iterator[Doubt]:
    """Of training: a class that is another one turned round, or what is left where there is none of the others."""
    if "train" not in tables or len(class_names) < 2:
        return
    labels = tables["train"].labels
    present, absent, differ = np.zeros((3, len(class_names), len(class_names)))
    for start in range(0, len(labels), _BLOCK):
        ones, zeros = ((labels[start : start + _BLOCK] == value).astype(np.float32) for value in (1, 0))
        present, absent, differ = present + ones.T @ ones, absent + zeros.T @ zeros, differ + ones.T @ zeros
    both = present + absent + differ + differ.T  # rows in which two classes are known
    varied = (present + differ > 0) & (absent + differ.T > 0)
    differ = differ + differ.T
    paired: set[int] = set()
    for a, b in np.argwhere(np.tril(varied & (differ >= _AGREE * both), -1)).tolist():
        paired |= {a, b}
        yield _negation(class_names[a], f"'{class_names[b]}'", int(both[a, b] - differ[a, b]))
    known = (labels >= 0).all(axis=1)
    for at, contradictions in negating_all(labels[known] == 1, class_names).items():
        if at not in paired:
            yield _negation(class_names[at], "all other classes", contradictions)


def negating_all(rows: NDArray[np.bool_], names: Sequence[str]) -> dict[int, int]:
    """The classes that say no more than that all others are absent, and the rows that contradict it.

    Args:
        rows: (N, L), the classes that are present.
        names: The L classes.
    """
    if len(names) < 3 or not len(rows):
        return {}
    shown = rows.sum(axis=1)
    exclusive = bool((shown == 1).all())  # then each class is what the others are not
    found = {}
    for at, name in enumerate(names):
        normal = NORMAL.search(name) is not None
        same = rows[:, at] == (shown - rows[:, at] > 0)
        # A disease may come nearly always alone; a normal picture with a disease is a contradiction.
        varied = 0 < rows[:, at].sum() < len(rows) and (normal or not exclusive)
        if varied and same.mean() <= (1 - _AGREE if normal else 0):
            found[at] = int(same.sum())
    return found


def _negation(name: str, other: str, rows: int) -> Doubt:
    but = f" (but for {rows} rows, which contradict it)" if rows else ""
    fix = "name one of them in exclude_columns, or know that means over classes count the same thing twice"
    return Doubt("negation", f"class '{name}' is the negation of {other} in train{but}", fix)


def shortcuts(tables: Mapping[str, Table], class_names: Sequence[str]) -> Iterator[Doubt]:
    """Say which subgroup columns tell a label too well, and more so than by chance."""
    every = associations(tables, class_names)
    for split, column in dict.fromkeys((each.split, each.column) for each in every):
        own = [
            each for each in every
            if (each.split, each.column) == (split, column)
            and each.auroc >= PREDICTS and each.chance * len(every) < _CHANCE
        ]  # fmt: skip
        if not own:
            continue
        most = max(own, key=lambda each: each.auroc)
        (high, low), (more, less), (here, there) = most.values, most.shares, most.rows
        others = f" (also {', '.join(each.label for each in own if each is not most)})" if len(own) > 1 else ""
        yield Doubt(
            "shortcut",
            f"'{column}' alone predicts '{most.label}' in {split} (AUROC {most.auroc:.2f}): {more:.0%} of {here} rows "
            f"with '{high}', {less:.0%} of {there} with '{low}'{others}",
            f"a model may learn '{column}' in its place: compare the figures of its values in the report",
        )


def _uneven(tables: Mapping[str, Table]) -> Iterator[Doubt]:
    """Subgroups of which splits hold other shares than chance gives; a group counts once for each of its values."""
    columns = [*next(iter(tables.values())).subgroups] if len(tables) > 1 else []
    if not columns:
        return
    groups = distinct(np.concatenate([table.groups for table in tables.values()]))[1]
    ends = np.cumsum([len(table) for table in tables.values()])[:-1]
    for column in columns:
        values, codes = _values(np.concatenate([table.subgroups[column] for table in tables.values()]), groups)
        parts = zip(np.split(groups, ends), np.split(codes, ends), strict=True)
        counts = np.stack([_groups_with(*own, len(values)) for own in parts], axis=1).astype(np.float64)
        shares = counts / counts.sum(axis=0)
        far = int(np.ptp(shares, axis=1).argmax())
        if np.ptp(shares[far]) < _UNEVEN or _chance(counts) * len(columns) >= _CHANCE:
            continue
        told = ", ".join(f"{share:.0%} of {split}" for split, share in zip(tables, shares[far], strict=True))
        fix = "know that the model is tested on other patients than it learns from, or split the table anew"
        yield Doubt("uneven splits", f"'{column}' is spread unevenly over the splits: '{values[far]}' is {told}", fix)


def _groups(tables: Mapping[str, Table]) -> Iterator[Doubt]:
    """Groups that may be no patient each, of all splits together, as a group is in one alone."""
    grouped = [table.groups for table in tables.values() if not np.array_equal(table.groups, table.names)]
    yield from (Doubt(*each) for each in (doubtful_groups(np.concatenate(grouped)) if grouped else ()))


def _dates(tables: Mapping[str, Table]) -> Iterator[Doubt]:
    """Values of subgroups that are dates among others, as of `5-9` beside `20-29`."""
    for column in next(iter(tables.values())).subgroups:
        cells = distinct(np.concatenate([table.subgroups[column] for table in tables.values()]))[0]
        if dates := made_dates([decode(cell) for cell in cells]):
            what = f"{len(dates)} of {len(cells)} values of '{column}' are dates, as a spreadsheet makes them of 5-9"
            fix = "take them from where they are whole, and keep the column as text"
            yield Doubt("dates for subgroups", what, fix, f"'{dates[0]}'")


def _numbered(table: Table) -> NDArray[np.intp]:
    """(N,) which group each row is of."""
    if np.array_equal(table.groups, table.names):  # each its own: no need to sort millions of names
        return np.arange(len(table))
    return distinct(table.groups)[1]


def _values(cells: NDArray[np.bytes_], groups: NDArray[np.integer]) -> tuple[NDArray[np.str_], NDArray[np.intp]]:
    """The values of a column and which each row has; those of few groups are one."""
    names, codes = distinct(cells)
    texts = np.array([decode(name) or "(blank)" for name in names], dtype=object)
    texts[_groups_with(groups, codes, len(names)) < FEW] = "(rare)"
    values, merged = np.unique(texts.astype(str), return_inverse=True)
    return values, merged[codes]


def _groups_with(groups: NDArray[np.integer], codes: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """How many groups each of `size` values has."""
    return np.bincount(np.unique(groups * size + codes) % size, minlength=size)


def _auroc(counts: NDArray[np.float64]) -> float:
    """AUROC of ranked values, from (K, 2) negatives and positives of each, ties counted half."""
    negatives, positives = counts.T
    below = np.cumsum(negatives) - negatives / 2
    return float((positives * below).sum() / (positives.sum() * negatives.sum()))


def _chance(counts: NDArray[np.float64]) -> float:
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return float(chdtrc((counts.shape[0] - 1) * (counts.shape[1] - 1), ((counts - expected) ** 2 / expected).sum()))


def _chance_of_groups(parts: NDArray[np.integer], part: NDArray[np.intp], labels: NDArray[np.int8]) -> float:
    """How likely labels differ as much between values if groups, such as patients, were dealt out to these by chance.

    A group weighs one, shared by the values that its rows have. Over all ways to deal them out the statistic has the
    mean of chi-squared; where each row is a group it is Pearson's. One patient's many pictures are no further evidence.

    Args:
        parts: (2, P), group and value of each pair of the two that there is.
        part: (N,), which pair each row is of.
        labels: (N,) in {0, 1, -1}.
    """
    rows, positives = (np.bincount(part[chosen], minlength=parts.shape[1]) for chosen in (labels >= 0, labels == 1))
    told = (rows > 0) & (np.bincount(parts[1], rows > 0)[parts[1]] >= FEW)  # of fewer groups chance makes anything
    (groups, values), rows, positives = parts[:, told], rows[told], positives[told]
    both = (positives, rows - positives)
    if len(np.unique(values)) < 2 or min(len(np.unique(groups[some > 0])) for some in both) < FEW:
        return 1.0
    weights, shares = rows / np.bincount(groups, rows)[groups], positives / rows
    apart = shares - np.average(shares, weights=weights)
    if np.allclose(apart, 0):
        return 1.0  # each group has as many, whatever its value
    held, sums = np.bincount(values, weights), np.bincount(values, weights * apart)
    between = (sums[held > 0] ** 2 / held[held > 0]).sum()
    return float(chdtrc((held > 0).sum() - 1, (weights.sum() - 1) * between / (weights * apart**2).sum()))
