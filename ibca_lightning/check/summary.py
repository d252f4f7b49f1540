"""The figures of a data set: what stands on its card."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ibca_lightning.check.content import Contents, distinct_sizes
from ibca_lightning.check.findings import copies
from ibca_lightning.check.folder import FolderCount
from ibca_lightning.check.origin import origin_associations
from ibca_lightning.data.tables.distinct import distinct
from ibca_lightning.data.tables.doubts import Association, associations
from ibca_lightning.data.tables.table import Table

_BINS = 10  # of picture sizes, at most


def summarise_split(split: Contents, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of one split as plain data.

    `cardinality` is the mean number of positives in a row, `density` that over L, `unknown` the share of unknown
    labels; of the pictures `short_side` and `long_side` are least, median and largest, `sizes` the commonest, and
    `copies` how many show a picture that was there before.
    """
    labels, sizes = split.labels, split.sizes[split.has_pictures]
    positive, negative = labels == 1, labels == 0
    common, of_rows = distinct_sizes(sizes)
    counts = np.bincount(of_rows, minlength=len(common))
    order = np.argsort(-counts, kind="stable")[:5]
    sides = {
        name: [int(value) for value in np.quantile(side, (0, 0.5, 1), method="nearest")] if len(sizes) else None
        for name, side in (("short_side", sizes.min(axis=1)), ("long_side", sizes.max(axis=1)))
    }
    return {
        "rows": len(split),
        "groups": len(distinct(split.groups)[0]),
        "cardinality": float(positive.sum(axis=1).mean()),
        "density": float(positive.mean()),
        "without_positive": int((~positive.any(axis=1)).sum()),
        "unknown": float((labels < 0).mean()),
        "positives": dict(zip(class_names, positive.sum(axis=0).tolist(), strict=True)),
        "negatives": dict(zip(class_names, negative.sum(axis=0).tolist(), strict=True)),
        "pictures": {
            "readable": len(sizes),
            "unreadable": len(split.problems),
            "modes": dict(sorted(split.modes.items(), key=lambda item: -item[1])),
            **sides,
            "sizes": {f"{common[at, 1]}x{common[at, 0]}": int(counts[at]) for at in order},
            "copies": sum(len(run) - 1 for run in copies(split.digests)),
        },
    }


def size_histograms(contents: Mapping[str, Contents]) -> dict[str, Any]:
    """How many pictures of each split have a short side, and a long one, from one edge to the next.

    Each histogram is `{"edges": [...], "counts": {split: [...]}}`; there is none where no picture was read.
    """
    sizes = {name: np.sort(split.sizes[split.has_pictures], axis=1) for name, split in contents.items()}
    histograms = {}
    for at, side in enumerate(("short_side", "long_side")):
        every = np.concatenate([own[:, at] for own in sizes.values()]) if sizes else np.empty(0)
        if len(every):
            least, most = int(every.min()), int(every.max())
            step = -(-(most + 1 - least) // _BINS)
            edges = np.arange(least, most + step + 1, step)
            counts = {name: np.histogram(own[:, at], edges)[0].tolist() for name, own in sizes.items()}
            histograms[side] = {"edges": edges.tolist(), "counts": counts}
    return histograms


def cooccurrence(contents: Mapping[str, Contents]) -> list[list[int]]:
    """Count, for every two classes, the training rows that show both; empty where nothing could be read."""
    if not contents:
        return []
    positive = (contents["train"].labels == 1).astype(np.float64)  # whole numbers, by the fast routine
    return (positive.T @ positive).astype(int).tolist()  # type: ignore[no-any-return]  # numpy says Any


def found_associations(contents: Mapping[str, Contents], class_names: Sequence[str]) -> list[Association]:
    """How well subgroup columns, and size and name of a training picture, tell the labels; of rows of tables."""
    tables = {name: split.source for name, split in contents.items() if isinstance(split.source, Table)}
    return [*associations(tables, class_names), *origin_associations(contents, class_names)]


def folder_summary(folder: FolderCount | None) -> dict[str, Any] | None:
    """How many files of the picture folder are named, not named, and no pictures; None where there is no folder."""
    if folder is None:
        return None
    counts = {"named": folder.named, "unnamed": len(folder.unnamed), "passed_over": folder.passed_over}
    return {"folder": folder.folder, **counts}
