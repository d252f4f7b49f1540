"""PadChest: findings in chest radiographs, as many labels as the reports name often enough."""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ibca_lightning.data import storage
from ibca_lightning.data.options import check_whole
from ibca_lightning.data.tables.listed_names import listed_names
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.released import OpenSplitSet
from ibca_lightning.system.errors import InputError

log = logging.getLogger(__name__)


class PadChest(OpenSplitSet):
    """PadChest, chest radiographs of the Hospital San Juan (Alicante, Spain), 2009 to 2017.

    More than 160,000 pictures (gray PNG of 16 bits) of about 67,000 patients, in several projections. The labels are
    the names that a report speaks of, given as the text of a list: 174 findings and 19 diagnoses, 27 % of the reports
    labelled by physicians and the rest by a network trained on those. Positive only: what is not named is 0; the few
    rows without a list are unknown. No official split: training, validation and test are split by patient here.

    Most of the 193 names are rare, so the classes are those with at least `min_positives` pictures among the rows that
    are read, in alphabetical order, or those of `classes`. Counted are all rows, not those of the training split, so
    that runs of two split seeds have the same classes. Never classes, unless named: `exclude`, `suboptimal study`
    (which speak of the picture; its row is left out and the number of such rows logged) and `unchanged` (which speaks
    of an earlier picture).

    Licence: as stated with the release. Citation: Bustos, Pertusa, Salinas, de la Iglesia-Vaya, "PadChest: A large
    chest x-ray image dataset with multi-label annotated reports", arXiv 1901.07441.

    Expected tree (the folders are those of the zip files, the column `ImageDir`; also without them, and without
    `images`; the table also unpacked)::

        root/PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz
        root/images/{ImageDir}/{ImageID}

    Args:
        root: Folder of the data set.
        classes: The labels, as the table names them; None chooses them by `min_positives`.
        min_positives: How many pictures must show a label that is chosen, 1 or more.
        projections: Values of `Projection` (PA, L, AP, AP_horizontal, COSTAL) whose rows are read; None for all.
        image_dirs: Values of `ImageDir` whose rows are read, for a copy of some of the zip files; None for all.
        val_fraction: Share that becomes validation, in (0, 1).
        test_fraction: Share that becomes test, in [0, 1).
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    _of_the_picture = ("exclude", "suboptimal study")
    _no_class = (*_of_the_picture, "unchanged")
    _file = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    _help = f"get PadChest (BIMCV, arXiv 1901.07441) and unpack it as root/{_file}[.gz], root/images/ImageDir/ImageID"

    def __init__(
        self,
        root: str,
        classes: list[str] | None = None,
        min_positives: int = 100,
        projections: list[str] | None = None,
        image_dirs: list[int] | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        **common: Any,
    ) -> None:
        super().__init__(root, val_fraction, **common)
        check_whole("min_positives", min_positives, 1)
        names = [_plain(name) for name in classes or []]
        if classes is not None and (not names or len(set(names)) < len(names)):
            raise InputError("at least one name in data.classes, and each once", repr(classes), "correct the list")
        self.classes, self.min_positives = classes, min_positives
        self.wanted = {
            "Projection": projections,
            "ImageDir": None if image_dirs is None else [str(number) for number in image_dirs],
        }
        self.fractions["test"] = test_fraction
        self._rows: tuple[Sheet, Counter[str]] | None = None
        self._frequent: list[str] | None = None

    @property
    def own_names(self) -> list[str]:
        """The labels chosen; read from the table where `classes` was not given.

        Raises:
            InputError: If the table cannot be read, or no label has `min_positives` pictures.
        """
        if self.classes is None and self._frequent is None:
            sheet, positives = self._read_rows()
            self._frequent = sorted(
                name for name, count in positives.items() if count >= self.min_positives and name not in self._no_class
            )
            if not self._frequent:
                raise InputError(
                    f"a label with {self.min_positives} pictures or more in {sheet.file}",
                    f"{max(positives.values(), default=0)} at most",
                    "lower data.min_positives, or name the labels in data.classes",
                )
        return list(self.classes or self._frequent or [])

    def official(self) -> Mapping[str, Table]:
        """Read the table."""
        names = self.own_names
        sheet, positives = self._read_rows()
        self._rows = None  # text of 160,000 rows, which every worker process would get a copy of
        absent = [name for name in names if _plain(name) not in positives]
        if absent:
            raise InputError(
                f"labels of {sheet.file} in data.classes", f"'{absent[0]}', which no row names", "correct the name"
            )
        labels = self.label_policy.lists(
            sheet.column("Labels"), names, where=sheet.where, separator=None, none=list(positives)
        )
        folder, pictures = self._pictures(sheet)
        return {"train": self.rows(sheet, pictures, folder, labels, sheet.column("PatientID"))}

    def _read_rows(self) -> tuple[Sheet, Counter[str]]:
        """Return the rows that are read, the columns needed alone, and how often each label stands in them."""
        if self._rows is None:
            sheet = read_sheet(self.present(f"{self._file}.gz", self._file))
            sheet = sheet.take(sorted(set.intersection(*(_rows(sheet, *wanted) for wanted in self.wanted.items()))))
            sheet = _narrow(sheet, ("ImageID", "ImageDir", "PatientID", "Labels"))
            labels = [_list(text) for text in sheet.column("Labels")]
            kept = [row for row, names in enumerate(labels) if not names.intersection(self._of_the_picture)]
            if len(kept) < len(sheet):
                log.info("left out: %d rows of %s that their labels exclude", len(sheet) - len(kept), sheet.file)
            self._rows = sheet.take(kept), Counter(name for row in kept for name in labels[row])
        return self._rows

    def _pictures(self, sheet: Sheet) -> tuple[str, list[str]]:
        """Return the picture folder and the path of each row's picture below it."""
        ids, parts = sheet.column("ImageID"), sheet.column("ImageDir")
        folder = os.path.join(self.root, "images")
        folder = folder if storage.is_folder(folder) else self.root
        present = {part for part in set(parts) if part and storage.is_folder(os.path.join(folder, part))}
        if not present:
            return folder, ids
        for row, part in enumerate(parts):
            if part and part not in present:
                raise InputError(
                    f"the folder {os.path.join(folder, part)} ({sheet.where(row)})",
                    "nothing there",
                    "unpack that zip file, or name those that you have in data.image_dirs",
                )
        return folder, [f"{part}/{name}" if part and name else name for part, name in zip(parts, ids, strict=True)]


def _rows(sheet: Sheet, column: str, wanted: Sequence[str] | None) -> set[int]:
    """Return the rows that hold one of some values, or all."""
    if wanted is None:
        return set(range(len(sheet)))
    values = sheet.column(column)
    strange = sorted(set(wanted) - set(values))
    if strange or not wanted:
        raise InputError(
            f"values of the column '{column}' of {sheet.file} ({', '.join(sorted(set(values))[:10])})",
            repr(strange[0]) if strange else "none",
            "correct data.projections or data.image_dirs",
        )
    return {row for row, value in enumerate(values) if value in wanted}


def _narrow(sheet: Sheet, columns: Sequence[str]) -> Sheet:
    values = [sheet.column(name) for name in columns]
    return replace(sheet, header=list(columns), rows=[list(row) for row in zip(*values, strict=True)])


def _plain(name: str) -> str:
    return name.strip().casefold()


def _list(text: str) -> set[str]:
    """Return the names in the text of a list; none where it is no list, which the label policy reports by its row."""
    with suppress(InputError):
        return set(map(_plain, listed_names(text, None, str, 0)))
    return set()
