"""What `ibca test` wrote sample by sample, read again: predictions, groups and localisation of one set."""

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ibca_lightning.run.tested_figures import possible
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import csv_rows, told

_ROWS = 4096  # of a file that are text at once


@dataclass(frozen=True)
class Tested:
    """One test set of one run: N pictures in the order of the ids, so that two runs can be paired, and L classes."""

    ids: list[str]
    class_names: list[str]
    probabilities: Tensor  # (N, L) float32
    labels: Tensor  # (N, L) int64 in {0, 1, -1}
    groups: list[str]  # N; a picture without one is its own
    pairs: dict[str, Tensor]  # localisation figures, each (N, L) float64, NaN where there is no lesion of the class

    def without(self, classes: Sequence[str]) -> "Tested":
        """The same without these classes.

        Raises:
            InputError: There is no such class, or no other one.
        """
        for name in classes:
            if name not in self.class_names:
                raise InputError(f"a class of the runs ({', '.join(self.class_names)})", name, "correct --without")
        kept = [i for i, name in enumerate(self.class_names) if name not in classes]
        if not kept:
            raise InputError("--without some of the classes", "all of them", "leave one")
        names = [self.class_names[i] for i in kept]
        pairs = {name: values[:, kept] for name, values in self.pairs.items()}
        return Tested(self.ids, names, self.probabilities[:, kept], self.labels[:, kept], self.groups, pairs)


def read_tested(run: Path, test_set: str) -> Tested:
    """Read one test set of a run folder: `test` where there is one, or the name of one of several."""
    return read_samples(run, "test", _suffix(run, test_set))


def read_samples(run: Path, stage: str, suffix: str = "") -> Tested:
    """Read what `result_files.write_evaluation` left of one set: `stage` is `test`, or `val` of `ibca validate`."""
    path = run / f"{stage}_predictions{suffix}.csv"
    try:
        rows = _rows(path)
        header = next(rows)
        names = header[1 : 1 + (len(header) - 1) // 2]
        wanted = ["id", *names, *(f"label:{name}" for name in names)]
        if header not in (wanted, [*wanted, "fold"]):
            raise ValueError("other columns")
        if len({*names}) < max(len(names), 1):
            raise ValueError("a class twice" if names else "no class")
        ids: list[str] = []
        parts: list[tuple[Tensor, Tensor]] = []
        while some := list(islice(rows, _ROWS)):  # the text of a number takes eight times its memory
            ids += [row[0] for row in some]
            parts.append(_numbers(some, names))
        if not ids:
            raise ValueError("no rows")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        ids = [ids[at] for at in order]
        probabilities, labels = (torch.cat(part)[order] for part in zip(*parts, strict=True))
        groups = ids
        if (path := run / f"{stage}_groups{suffix}.csv").is_file():
            same: dict[str, str] = {}  # one text for all rows of a group
            if next(rows := _rows(path)) != ["id", "group"]:
                raise ValueError("other columns")
            of = sorted(((picture, same.setdefault(group, group)) for picture, group in rows), key=itemgetter(0))
            if changed := Counter(ids) - (given := Counter(picture for picture, _ in of)) | given - Counter(ids):
                raise ValueError(f"{min(changed)} not as often as in {stage}_predictions{suffix}.csv")
            groups = [group for _, group in of]
        pairs: dict[str, Tensor] = {}
        if (path := run / f"{stage}_localisation{suffix}.csv").is_file():
            pairs = _pairs([*_rows(path)], ids, names)
    except (OSError, ValueError, csv.Error) as error:
        command = "ibca validate" if stage == "val" else "ibca test"
        raise InputError(f"what {command} writes in {path}", told(error), f"run {command} again") from error
    return Tested(ids, names, probabilities, labels.long(), groups, pairs)


def _suffix(run: Path, test_set: str) -> str:
    return "" if (run / "test_metrics.json").is_file() and test_set == "test" else f".{test_set}"


def _rows(path: Path) -> Iterator[list[str]]:
    """The header and the rows, each as long as it."""
    width = 0
    for row in csv_rows(path):
        width = width or len(row)
        if len(row) != width or not row:
            raise ValueError(f"{len(row)} cells for {''.join(row[:1]) or 'a row'}")
        yield row
    if not width:
        raise ValueError("no rows")


def _numbers(rows: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Probabilities (B, L) float32 and labels (B, L) int8 of some rows."""
    cells = chain.from_iterable(row[1 : 1 + 2 * len(names)] for row in rows)
    given = torch.from_numpy(np.fromiter(map(_number, cells), np.float64)).reshape(len(rows), 2 * len(names))
    probabilities, labels = given[:, : len(names)].float(), given[:, len(names) :]
    possible_labels = (labels == -1) | (labels == 0) | (labels == 1)
    holds = torch.cat([(probabilities >= 0) & (probabilities <= 1), possible_labels], dim=1)
    for row, column in (~holds).nonzero().tolist()[:1]:
        what = "probability" if column < len(names) else "label"
        raise ValueError(f"{what} {rows[row][1 + column]} of {names[column % len(names)]} for {rows[row][0]}")
    return probabilities, labels.to(torch.int8)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan  # which is as little a probability or a label


def _pairs(rows: Sequence[Sequence[str]], ids: Sequence[str], names: Sequence[str]) -> dict[str, Tensor]:
    header, *pairs = rows
    if header[:2] != ["id", "class"] or len({*header}) < len(header):
        raise ValueError("other columns")
    at, column = {picture: i for i, picture in enumerate(ids)}, {name: i for i, name in enumerate(names)}
    result = {name: torch.full((len(ids), len(names)), math.nan, dtype=torch.float64) for name in header[2:]}
    often, seen = Counter(ids), Counter[tuple[str, str]]()
    for picture, label, *cells in pairs:
        if picture not in at or label not in column:
            raise ValueError(f"{label} for {picture}, which was not tested")
        seen[picture, label] += 1
        if seen[picture, label] > often[picture]:
            raise ValueError(f"{label} for {picture} more often than it was tested")
        for name, cell in zip(header[2:], cells, strict=True):
            if cell:
                if not possible(name, value := _number(cell)):
                    raise ValueError(f"{name} {cell} of {label} for {picture}")
                result[name][at[picture], column[label]] = value
    return result
