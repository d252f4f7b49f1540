"""What is wrong with a data set, judged from its rows and the facts of its pictures."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.check.content import Contents
from ibca_lightning.data.tables.table import decode
from ibca_lightning.system.errors import InputError

_NAMED = 4  # rows that one finding names


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in one line with what to do.

    Attributes:
        level: `error` where it would break or bias training or a figure; `warning` where it may be meant.
        kind: Such as `content leak`, the same for findings of one sort.
        what: What was found and where.
        fix: What to do.
    """

    level: Literal["error", "warning"]
    kind: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.level}: {self.kind}: {self.what}; {self.fix}"


def find(
    contents: Mapping[str, Contents],
    class_names: Sequence[str],
    *,
    absent: Collection[str] = (),
    overlap_is_meant: Sequence[str] = (),
    image_size: int | None = None,
    mask_bits: Sequence[int | None] = (),
) -> list[Finding]:
    """Judge a data set.

    Args:
        contents: The splits by name: `train`, `val` and test sets.
        class_names: The L classes.
        absent: Classes that the data set is known not to have.
        overlap_is_meant: What groups begin with of which one in two splits is only worth a warning; "" for all.
        image_size: S of the model, to tell of pictures that are much smaller.
        mask_bits: For each class its bit in the masks; empty where there are no masks.

    Returns:
        Errors first, then warnings.
    """
    found = [
        *_unreadable(contents),
        *_shared_content(contents),
        *_shared_groups(contents, overlap_is_meant),
        *(finding for split in contents.values() for finding in _repeated(split)),
        *_classes(contents, class_names, absent),
        *_rows(contents, image_size),
        *_masks(contents, class_names, mask_bits),
    ]
    return sorted(found, key=lambda finding: finding.level)


def unread(error: InputError) -> list[Finding]:
    """Return what is wrong with tables that could not be read: the error, and what is wrong in the same way."""
    return [
        Finding("error", "tables", f"expected {each.expected}, got {each.got}", each.fix)
        for each in (error, *error.further)
    ]


def copies(digests: NDArray[np.uint8]) -> list[NDArray[np.intp]]:
    """Return the rows, in order, of each hash that stands more than once; a hash of zeros is none."""
    high, low = np.ascontiguousarray(digests).view(np.uint64).T
    order = np.lexsort((low, high))
    new = np.ones(len(order) + 1, dtype=bool)
    new[1:-1] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    starts = np.flatnonzero(new)
    long = np.flatnonzero(np.diff(starts) > 1)
    runs = [order[starts[at] : starts[at + 1]] for at in long]
    return sorted((run for run in runs if digests[run[0]].any()), key=lambda run: int(run[0]))


def _unreadable(contents: Mapping[str, Contents]) -> Iterator[Finding]:
    for split in contents.values():
        for row in sorted(split.problems):
            problem, _, fix = split.problem(row).rpartition("; ")
            yield Finding("error", "unreadable", f"{split.name}: expected {problem}", fix)


def _shared_content(contents: Mapping[str, Contents]) -> Iterator[Finding]:
    for first, second in _pairs(contents):
        at = len(first)
        for run in copies(np.concatenate([first.digests, second.digests])):
            here, there = run[run < at], run[run >= at] - at
            if len(here) and len(there):
                yield Finding(
                    "error", "content leak",
                    f"the same picture in {first.name} {_named(first, here)} and in {second.name} "
                    f"{_named(second, there)}",
                    "keep it in one split: give its rows one group, or remove all but one",
                )  # fmt: skip


def _shared_groups(contents: Mapping[str, Contents], meant: Sequence[str]) -> Iterator[Finding]:
    for first, second in _pairs(contents):
        _, here, there = np.intersect1d(first.groups, second.groups, return_indices=True)
        for a, b in zip(here, there, strict=True):
            yield Finding(
                "warning" if decode(first.groups[a]).startswith(tuple(meant)) else "error", "group leak",
                f"group '{first.group(int(a))}' in {first.name} {first.where(int(a))} and in {second.name} "
                f"{second.where(int(b))}",
                "keep a group in one split, or expect figures that are too good",
            )  # fmt: skip


def _repeated(split: Contents) -> Iterator[Finding]:
    for run in copies(split.digests):
        labels = split.labels[run]
        if ((labels == 1).any(axis=0) & (labels == 0).any(axis=0)).any():
            yield Finding(
                "error", "contradiction", f"one picture with different labels in {split.name}: {_named(split, run)}",
                "correct the labels, or remove all but one row",
            )  # fmt: skip
        else:
            yield Finding(
                "warning", "duplicate", f"one picture several times in {split.name}: {_named(split, run)}",
                "remove all but one row",
            )  # fmt: skip


def _classes(
    contents: Mapping[str, Contents], class_names: Sequence[str], absent: Collection[str]
) -> Iterator[Finding]:
    for split in contents.values():
        training = split.name == "train"
        for value, kind in ((1, "no positive"), (0, "no negative")):
            missing = [name for at, name in enumerate(class_names) if not (split.labels[:, at] == value).any()]
            for name in missing:
                if name in absent:  # said by the label space
                    continue
                yield Finding(
                    "error" if training else "warning", kind, f"class '{name}' has none in {split.name}",
                    "leave the class out, or check its column and the split" if training
                    else "its figures will be undefined there; another split_seed or fraction may help",
                )  # fmt: skip
    alike: dict[bytes, str] = {}
    for name, column in zip(class_names, contents["train"].labels.T, strict=True):
        first = alike.setdefault(column.tobytes(), name)
        if first != name and (column == 1).any():
            yield Finding(
                "warning", "equal classes", f"'{first}' and '{name}' are alike in every row of train",
                "check the columns, or leave one out",
            )  # fmt: skip


def _rows(contents: Mapping[str, Contents], image_size: int | None) -> Iterator[Finding]:
    for split in contents.values():
        unlabelled = np.flatnonzero((split.labels < 0).all(axis=1))
        if len(unlabelled):
            yield Finding(
                "warning", "no label", f"{len(unlabelled)} rows of {split.name} without a known label, such as "
                f"{split.where(int(unlabelled[0]))}", "leave them out, or set data.labels",
            )  # fmt: skip
        blank = np.flatnonzero(split.blank)
        if len(blank):
            yield Finding(
                "warning", "one colour", f"{len(blank)} pictures of {split.name} whose pixels are all alike, such as "
                f"{split.where(int(blank[0]))}", "look at them",
            )  # fmt: skip
        small = np.flatnonzero(split.has_pictures & (2 * split.sizes.min(axis=1) < (image_size or 0)))
        if len(small):
            yield Finding(
                "warning", "small pictures", f"{len(small)} pictures of {split.name} below half of image_size "
                f"{image_size}, such as {split.where(int(small[0]))}", "lower data.image_size, or leave them out",
            )  # fmt: skip


def _masks(
    contents: Mapping[str, Contents], class_names: Sequence[str], bits: Sequence[int | None]
) -> Iterator[Finding]:
    for split in contents.values():
        for at, (name, bit) in enumerate(zip(class_names, bits, strict=False)):
            if bit is None:
                continue
            shown = (split.lesions >> bit & 1).astype(bool)
            for label, wrong, what in (
                (1, ~shown, "whose mask shows nothing of it"), (0, shown, "is 0, whose mask shows it"),
            ):  # fmt: skip
                rows = np.flatnonzero((split.lesions >= 0) & (split.labels[:, at] == label) & wrong)
                if len(rows):
                    yield Finding(
                        "warning", "mask", f"{len(rows)} rows of {split.name} where '{name}' "
                        f"{'is 1, ' if label else ''}{what}, such as {split.where(int(rows[0]))}",
                        "compare mask_labels, masks and labels",
                    )  # fmt: skip


def _pairs(contents: Mapping[str, Contents]) -> Iterator[tuple[Contents, Contents]]:
    """Two splits that may share nothing; several test sets may show the same scenes on purpose."""
    for first, second in combinations(contents.values(), 2):
        if first.name in ("train", "val") or second.name in ("train", "val"):
            yield first, second


def _named(split: Contents, rows: NDArray[np.intp]) -> str:
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return ", ".join(split.where(int(row)) for row in rows[:_NAMED]) + more
