"""What is wrong with a data set, judged from its rows and the facts of its pictures."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ibca_lightning.check.content import Contents
from ibca_lightning.check.folder import FolderCount
from ibca_lightning.check.near_copies import NearCopy
from ibca_lightning.check.origin import origin_doubts
from ibca_lightning.data.tables.distinct import all_differ, shared
from ibca_lightning.data.tables.doubts import NORMAL, ONE_SIDED, Doubt
from ibca_lightning.data.tables.groups.grouping import otherwise_written
from ibca_lightning.data.tables.table import decode
from ibca_lightning.system.errors import InputError

Level = Literal["error", "warning"]
_NAMED = 4  # rows that one finding names


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in one line with what to do.

    An error would break or bias training or a figure; a warning may be meant.
    """

    level: Level
    kind: str  # such as `content leak`
    what: str
    fix: str
    rows: tuple[tuple[Contents, int], ...] = ()  # of the first pictures that it is about

    def plain(self) -> dict[str, str]:
        """What `check.json` holds."""
        return {"level": self.level, "kind": self.kind, "what": self.what, "fix": self.fix}

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
    doubts: Iterable[Doubt] = (),
    near: Sequence[NearCopy] = (),
    folder: FolderCount | None = None,
    groups_wanted: bool = False,
) -> list[Finding]:
    """Judge a data set: errors first, then warnings.

    Args:
        contents: The splits by name: `train`, `val` and test sets.
        class_names: The L classes.
        absent: Classes that the data set is known not to have.
        overlap_is_meant: What groups begin with of which one in two splits is only worth a warning; "" for all.
        image_size: S of the model, to tell of pictures that are much smaller.
        mask_bits: For each class its bit in the masks; empty where there are no masks.
        doubts: What the tables say themselves.
        near: Pictures of two splits that show the same.
        folder: What lies in the picture folder.
        groups_wanted: Whether to say that no two pictures are of one group.
    """
    doubts = [doubt for doubt in doubts if doubt.kind not in ONE_SIDED]  # an error below, of each split
    doubts += origin_doubts(contents, class_names)
    ungrouped = groups_wanted and not any(doubt.kind == "no groups" for doubt in doubts)
    found = [
        *_unreadable(contents),
        *(Finding("warning", kind, _such_as(what, example), fix) for kind, what, fix, example in doubts),
        *(_no_patients(contents) if ungrouped else ()),
        *_shared_content(contents),
        *_shared_groups(contents, overlap_is_meant),
        *(finding for split in contents.values() for finding in _repeated(split)),
        *_classes(contents, class_names, absent),
        *_normal(contents["train"], class_names),
        *_rows(contents, image_size),
        *_masks(contents, class_names, mask_bits),
        *map(_near_copy, near),
        *_unnamed(folder, contents),
    ]
    return sorted(found, key=lambda finding: finding.level)


def unread(error: InputError) -> list[Finding]:
    """Return what is wrong with tables that could not be read: the error, and what is wrong in the same way."""
    alike = (error, *error.further)
    return [Finding("error", "tables", f"expected {each.expected}, got {each.got}", each.fix) for each in alike]


def copies(digests: NDArray[np.uint8]) -> list[NDArray[np.intp]]:
    """Return the rows, in order, of each hash that stands more than once; a hash of zeros is none."""
    high, low = np.ascontiguousarray(digests).view(np.uint64).T
    # Halves that stand once, as nearly all do, need not be put in order with their rows.
    half = np.sort(high[(high | low) > 0])
    rows = np.flatnonzero(((high | low) > 0) & np.isin(high, half[1:][half[1:] == half[:-1]]))
    order = rows[np.lexsort((low[rows], high[rows]))]
    new = np.ones(len(order) + 1, dtype=bool)
    new[1:-1] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    starts = np.flatnonzero(new)
    long = np.flatnonzero(np.diff(starts) > 1)
    return sorted((order[starts[at] : starts[at + 1]] for at in long), key=lambda run: int(run[0]))


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
                what = f"the same picture in {_named(first, here)} and in {_named(second, there)}"
                fix = "keep it in one split: give its rows one group, or remove all but one"
                yield Finding(
                    "error", "content leak", what, fix, (*_first(first, here[:1]), *_first(second, there[:1]))
                )


def _shared_groups(contents: Mapping[str, Contents], meant: Sequence[str]) -> Iterator[Finding]:
    for first, second in _pairs(contents):
        for a, b in _both(first.groups, second.groups):
            level = _leak(first.groups[a], meant)
            what = f"group '{first.group(a)}' in {_named(first, [a])} and in {_named(second, [b])}"
            yield Finding(level, "group leak", what, "keep a group in one split, or expect figures that are too good")
        for a, b in [] if np.array_equal(first.groups, first.ids) else otherwise_written(first.groups, second.groups):
            what = f"'{first.group(a)}' in {_named(first, [a])} and '{second.group(b)}' in {_named(second, [b])}"
            what = f"groups that may be one and the same, written otherwise: {what}"
            fix = "write a group in one way; where they are two, set group_overlap to warn"
            yield Finding(_leak(first.groups[a], meant), "group leak by spelling", what, fix)


def _both(first: NDArray[np.bytes_], second: NDArray[np.bytes_]) -> list[tuple[int, int]]:
    """The first rows of each group that stands in two splits."""
    if not len(shared(first, second)):  # sooner known than which rows they would be
        return []
    _, here, there = np.intersect1d(first, second, return_indices=True)
    return list(zip(here.tolist(), there.tolist(), strict=True))


def _leak(group: np.bytes_, meant: Sequence[str]) -> Level:
    """What a group in two splits is, of a set that does or does not mean it so."""
    return "warning" if decode(group).startswith(tuple(meant)) else "error"


def _near_copy(pair: NearCopy) -> Finding:
    first, second = _named(pair.first, [pair.row]), _named(pair.second, [pair.other])
    what = f"pictures that show the same, or nearly (details correlate by {pair.alike:.2f}): {first} and {second}"
    return Finding("warning", "near copy", what, "look at both in check.html; keep one, or both in one split")


def _unnamed(folder: FolderCount | None, contents: Mapping[str, Contents]) -> Iterator[Finding]:
    if folder and folder.unnamed:
        shown = next(iter(contents.values())).rename(folder.unnamed[0])
        what = f"{len(folder.unnamed)} pictures in {folder.folder} that no row names, such as '{shown}'"
        fix = "add their rows, or leave it so if they are not meant to be used"
        yield Finding("warning", "unnamed pictures", what, fix)


def _repeated(split: Contents) -> Iterator[Finding]:
    for run in copies(split.digests):
        labels = split.labels[run]
        if ((labels == 1).any(axis=0) & (labels == 0).any(axis=0)).any():
            what, fix = "one picture with different labels in", "correct the labels, or remove all but one row"
            yield Finding("error", "contradiction", f"{what} {_named(split, run, ':')}", fix, _first(split, run))
        else:
            what = f"one picture several times in {_named(split, run, ':')}"
            yield Finding("warning", "duplicate", what, "remove all but one row", _first(split, run))


def _classes(
    contents: Mapping[str, Contents], class_names: Sequence[str], absent: Collection[str]
) -> Iterator[Finding]:
    for split in contents.values():
        level: Level = "error" if split.name == "train" else "warning"
        fix = "leave the class out, or check its column and the split"
        if level == "warning":
            fix = "its figures will be undefined there; another split_seed or fraction may help"
        for value, kind in ((1, "no positive"), (0, "no negative")):
            for name, column in zip(class_names, split.labels.T, strict=True):
                if name not in absent and not (column == value).any():  # the label space has said what is absent
                    yield Finding(level, kind, f"class '{name}' has none in {split.name}", fix)
    alike: dict[bytes, str] = {}
    for name, column in zip(class_names, contents["train"].labels.T, strict=True):
        first = alike.setdefault(column.tobytes(), name)
        if first != name and (column == 1).any():
            what = f"'{first}' and '{name}' are alike in every row of train"
            yield Finding("warning", "equal classes", what, "check the columns, or leave one out")


def _no_patients(contents: Mapping[str, Contents]) -> Iterator[Finding]:
    groups = np.concatenate([split.groups for split in contents.values()])
    if all_differ(groups):
        what = "every picture is taken for a patient of its own: if some show one, test figures are too good"
        fix = "name a column of patients in data.group_column, or set it to none if that is so"
        yield Finding("warning", "no patients", what, fix)


def _normal(train: Contents, class_names: Sequence[str]) -> Iterator[Finding]:
    shown, known = (train.labels == 1).any(axis=1), (train.labels >= 0).any(axis=1)
    if len(class_names) > 1 and known.any() and shown[known].all() and not any(map(NORMAL.search, class_names)):
        fix = "what the model says of a normal one is unknown: add some, or use it where there is a finding only"
        yield Finding("warning", "no normal", "no picture of train is without a finding", fix)


def _rows(contents: Mapping[str, Contents], image_size: int | None) -> Iterator[Finding]:
    for split in contents.values():
        name, size = split.name, image_size or 0
        unlabelled, small = (split.labels < 0).all(axis=1), 2 * split.sizes.min(axis=1) < size
        for kind, where, what, fix in (
            ("no label", unlabelled, f"rows of {name} without a known label", "leave them out, or set data.labels"),
            ("bit depth", split.depths > (split.bit_depth or 16),
             f"pictures of {name} whose largest values are beyond bit_depth {split.bit_depth}", "set data.bit_depth"),
            ("one colour", split.blank, f"pictures of {name} whose pixels are all alike", "look at them"),
            ("small pictures", split.has_pictures & small, f"pictures of {name} below half of image_size {size}",
             "lower data.image_size, or leave them out"),
        ):  # fmt: skip
            yield from _counted(split, kind, where, what, fix)


def _masks(
    contents: Mapping[str, Contents], class_names: Sequence[str], bits: Sequence[int | None]
) -> Iterator[Finding]:
    for split in contents.values():
        for at, (name, bit) in enumerate(zip(class_names, bits, strict=False)):
            if bit is None:
                continue
            label, shown = split.labels[:, at], (split.lesions >> bit & 1).astype(bool)
            for wrong, what in (
                ((label == 1) & ~shown, "is 1, whose mask shows nothing of it"),
                ((label == 0) & shown, "is 0, whose mask shows it"),
            ):
                what, fix = f"rows of {split.name} where '{name}' {what}", "compare mask_labels, masks and labels"
                yield from _counted(split, "mask", (split.lesions >= 0) & wrong, what, fix)


def _counted(split: Contents, kind: str, where: ArrayLike, what: str, fix: str) -> Iterator[Finding]:
    """A warning with the number of rows that are so, and the first of them; none where there is none."""
    rows = np.flatnonzero(where)
    if len(rows):
        what = f"{len(rows)} {what}, such as {split.where(int(rows[0]))}"
        yield Finding("warning", kind, what, fix, _first(split, rows))


def _first(split: Contents, rows: Iterable[int]) -> tuple[tuple[Contents, int], ...]:
    """The first rows that a finding names, those with a picture."""
    return tuple((split, int(row)) for row in rows if split.has_pictures[row])[:_NAMED]


def _such_as(what: str, example: str) -> str:
    return f"{what}, such as {example}" if example else what


def _pairs(contents: Mapping[str, Contents]) -> Iterator[tuple[Contents, Contents]]:
    """Two splits that may share nothing; several test sets may show the same scenes on purpose."""
    for first, second in combinations(contents.values(), 2):
        if first.name in ("train", "val") or second.name in ("train", "val"):
            yield first, second


def _named(split: Contents, rows: Sequence[int] | NDArray[np.intp], behind: str = "") -> str:
    """The split and the first of its rows."""
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return f"{split.name}{behind} {', '.join(split.where(int(row)) for row in rows[:_NAMED])}{more}"
