"""What `ibca test` wrote sample by sample, read again: predictions, groups and localisation of one set."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ibca_lightning.run.tested_figures import possible
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import regular, told


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
        header, *rows = _rows(path)
        names = header[1 : 1 + (len(header) - 1) // 2]
        wanted = ["id", *names, *(f"label:{name}" for name in names)]
        if header not in (wanted, [*wanted, "fold"]) or not rows:
            raise ValueError("other columns" if rows else "no rows")
        rows.sort(key=lambda row: row[0])
        ids = [row[0] for row in rows]
        given = torch.tensor([[_number(cell) for cell in row[1 : len(wanted)]] for row in rows], dtype=torch.float64)
        probabilities, labels = given[:, : len(names)].float(), given[:, len(names) :]
        possible_labels = (labels == -1) | (labels == 0) | (labels == 1)
        holds = torch.cat([(probabilities >= 0) & (probabilities <= 1), possible_labels], dim=1)
        for row, column in (~holds).nonzero().tolist()[:1]:
            what = "probability" if column < len(names) else "label"
            raise ValueError(f"{what} {rows[row][1 + column]} of {names[column % len(names)]} for {ids[row]}")
        groups = ids
        if (path := run / f"{stage}_groups{suffix}.csv").is_file():
            group_of = {row[0]: row[-1] for row in _rows(path)[1:]}
            if missing := [picture for picture in ids if picture not in group_of]:
                raise ValueError(f"no group of {missing[0]}")
            groups = [group_of[picture] for picture in ids]
        pairs: dict[str, Tensor] = {}
        if (path := run / f"{stage}_localisation{suffix}.csv").is_file():
            pairs = _pairs(_rows(path), ids, names)
    except (OSError, ValueError, csv.Error) as error:
        command = "ibca validate" if stage == "val" else "ibca test"
        raise InputError(f"what {command} writes in {path}", told(error), f"run {command} again") from error
    labels = labels.long()
    return Tested(ids, names, probabilities, labels, groups, pairs)


def _suffix(run: Path, test_set: str) -> str:
    return "" if (run / "test_metrics.json").is_file() and test_set == "test" else f".{test_set}"


def _rows(path: Path) -> list[list[str]]:
    """The header and the rows, each as long as it."""
    with regular(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for row in rows:
        if len(row) != len(rows[0]) or not row:
            raise ValueError(f"{len(row)} cells for {''.join(row[:1]) or 'a row'}")
    if not rows:
        raise ValueError("no rows")
    return rows


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan  # which is as little a probability or a label


def _pairs(rows: Sequence[Sequence[str]], ids: Sequence[str], names: Sequence[str]) -> dict[str, Tensor]:
    header, *pairs = rows
    at, column = {picture: i for i, picture in enumerate(ids)}, {name: i for i, name in enumerate(names)}
    result = {name: torch.full((len(ids), len(names)), math.nan, dtype=torch.float64) for name in header[2:]}
    for picture, label, *cells in pairs:
        if picture not in at or label not in column:
            raise ValueError(f"{label} for {picture}, which was not tested")
        for name, cell in zip(header[2:], cells, strict=True):
            if cell:
                if not possible(name, value := _number(cell)):
                    raise ValueError(f"{name} {cell} of {label} for {picture}")
                result[name][at[picture], column[label]] = value
    return result
