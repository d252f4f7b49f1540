"""ODIR-5K: eye diseases in both eyes of a patient, 8 labels, by eye or by patient."""

import logging
import os
from collections.abc import Mapping
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_warn

from ibca_lightning.data import storage
from ibca_lightning.data.options import check_choice, check_whole
from ibca_lightning.data.tables.paths import check_root, find_pictures
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.copies import all_present
from ibca_lightning.datasets.layouts.pairs import pairs_folder, write_pairs
from ibca_lightning.datasets.layouts.released import OpenSplitSet
from ibca_lightning.datasets.layouts.tables.table_file import read_any
from ibca_lightning.system.errors import DataWarning, InputError

log = logging.getLogger(__name__)
_LACKING = "preprocessed_images"  # a folder of some copies: the eyes that have a row in `full_df.csv`

Level = Literal["eye", "patient"]
Source = Literal["full_df.csv", "data.xlsx"]


class ODIR5K(OpenSplitSet):
    """ODIR-5K, Ocular Disease Intelligent Recognition (ODIR-2019 challenge).

    10,000 colour fundus photographs (JPEG) of both eyes of 5,000 patients, 8 labels; labels are public for the training
    part, 3500 patients in `data.xlsx`. `full_df.csv` of a much used copy has 6392 of their eyes and labels of each
    eye, which the release has not. There is no official test set with labels: validation and test are split off by
    patient.

    `level: eye` reads `full_df.csv`: an item is an eye, its labels those of the column `labels`. The columns N to O
    beside it are the patient's, and `filepath` is wrong: neither is used. `level: patient` reads either table: an item
    is a patient, with the labels N to O, as the challenge scores; the picture shows both eyes side by side, left first,
    which is the simplest of the ways to join them in use, and lets a heat map show which eye counts. These pictures
    are written once, below `pairs_dir`. They are twice as wide as high: `image_size: 512` or more, or `resize: pad`.

    Labels: N normal, D diabetes, G glaucoma, C cataract, A age-related macular degeneration, H hypertension, M myopia,
    O other.

    Licence: as stated with the release. Citation: Li et al., "A Benchmark of Ocular Disease Intelligent Recognition:
    One Shot for Multi-disease Detection", arXiv 2102.07978. Data: odir2019.grand-challenge.org.

    Expected tree (`ODIR-5K/ODIR-5K/` in some copies, `ODIR-5K_Training_Images` for `Training Images` and
    `ODIR-5K_Training_Annotations(Updated)_V2.xlsx` for `data.xlsx` in others; pictures are also looked for in
    `preprocessed_images`, which lacks some: where there is no other folder, `level: patient` leaves out the patients
    with one eye there, and says how many)::

        root/full_df.csv  root/ODIR-5K/data.xlsx  root/ODIR-5K/Training Images/{ID}_{left,right}.jpg

    Args:
        root: Folder of the data set.
        image_dir: Folder of the pictures, relative to the root or absolute; None looks for those of the release.
        level: `eye` or `patient`.
        table: The table to read, which `data.xlsx` needs openpyxl for; None takes `full_df.csv` where there is one.
        val_fraction: Share that becomes validation, in (0, 1).
        test_fraction: Share that becomes test, in [0, 1).
        pair_pixels: Side of each eye in the pictures of `level: patient`.
        pairs_dir: Folder for these pictures; None for `root/pairs`. Remove it when the photographs change.
        subgroup_columns: Columns for figures by subgroup, such as `Patient Sex`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    names = ("N", "D", "G", "C", "A", "H", "M", "O")
    _folders = (
        *("ODIR-5K/Training Images", "Training Images", "ODIR-5K_Training_Images", "ODIR-5K_Training_Dataset"),
        _LACKING,
    )
    _files: Mapping[Source, tuple[str, ...]] = {
        "full_df.csv": ("full_df.csv",),
        "data.xlsx": ("ODIR-5K/data.xlsx", "data.xlsx", "ODIR-5K_Training_Annotations(Updated)_V2.xlsx"),
    }
    _help = (
        "get ODIR-5K (odir2019.grand-challenge.org) and unpack it as root/full_df.csv or root/ODIR-5K/data.xlsx, "
        "root/ODIR-5K/Training Images/ID_left.jpg and ID_right.jpg"
    )

    def __init__(
        self,
        root: str,
        level: Level = "eye",
        table: Source | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        pair_pixels: int = 768,
        pairs_dir: str | None = None,
        subgroup_columns: list[str] | None = None,
        image_dir: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(root, val_fraction, **common)
        self.image_dir = image_dir
        check_choice("level", level, Level)
        check_whole("pair_pixels", pair_pixels, 1)
        if table is not None:
            check_choice("table", table, Source)
        if level == "eye" and table == "data.xlsx":
            raise InputError(
                "data.table full_df.csv for data.level eye",
                "data.xlsx, which has labels of patients only",
                "set data.level to patient",
            )
        self.level, self.pair = level, level == "patient"
        self.source: Source | None = "full_df.csv" if level == "eye" else table
        self.fractions["test"], self.pair_pixels = test_fraction, pair_pixels
        self.pairs = pairs_folder(self.root, pairs_dir, pair_pixels)
        self.subgroup_columns = subgroup_columns or []

    def prepare_data(self) -> None:
        """Write the pictures of both eyes, on one process of each machine."""
        if self.level == "patient":
            self._by_patient(self._sheet())

    def official(self) -> Mapping[str, Table]:
        """Read the table."""
        sheet = self._sheet()
        return {"train": self._by_eye(sheet) if self.level == "eye" else self._by_patient(sheet)}

    def _sheet(self) -> Sheet:
        sources = [self.source] if self.source else self._files
        path = self.present(*(name for source in sources for name in self._files[source]))
        return read_any(path)

    def _folders_of_pictures(self) -> tuple[str, list[str]]:
        """Return a folder, and those below it in which the pictures lie."""
        if self.image_dir is None:
            return self.root, all_present(self.root, self._folders, self._help)
        folder = os.path.join(self.root, self.image_dir)
        check_root(folder, "correct data.image_dir", "the folder of the pictures (data.image_dir)")
        return folder, [""]

    def _pictures(self, sheet: Sheet, column: str) -> tuple[list[str], str]:
        folder, below = self._folders_of_pictures()
        return find_pictures(sheet, sheet.column(column), folder, below, fix=self._help), folder

    def _by_eye(self, sheet: Sheet) -> Table:
        labels = self.label_policy.lists(sheet.column("labels"), self.names, where=sheet.where, separator=None)
        return self.rows(sheet, *self._pictures(sheet, "filename"), labels=labels, groups=sheet.column("ID"))

    def _by_patient(self, sheet: Sheet) -> Table:
        sheet = self._with_both_eyes(self._patients(sheet))
        ids = sheet.column("ID")
        names = [f"{patient}.jpg" for patient in ids]
        eyes = []
        for side in ("Left", "Right"):
            found, folder = self._pictures(sheet, f"{side}-Fundus")
            eyes.append([os.path.join(folder, name) for name in found])
        log.info("joining the eyes of %d patients in %s, those that are not there yet", len(names), self.pairs)
        write_pairs(self.pairs, dict(zip(names, zip(*eyes, strict=True), strict=True)), self.pair_pixels)
        return self.rows(sheet, names, self.pairs, groups=ids)

    def _with_both_eyes(self, sheet: Sheet) -> Sheet:
        """Leave out the patients of whom the copy has one eye only, where it is one that lacks some."""
        folder, below = self._folders_of_pictures()
        if not all(path.endswith(_LACKING) for path in ([folder] if below == [""] else below)):
            return sheet
        there = {name for path in below for name in storage.names(os.path.join(folder, path))}
        eyes = zip(sheet.column("Left-Fundus"), sheet.column("Right-Fundus"), strict=True)
        both = [row for row, pair in enumerate(eyes) if there.issuperset(pair)]
        if both and len(both) < len(sheet):
            left = f"{len(sheet) - len(both)} of {len(sheet)} patients left out: one eye is not in {_LACKING}"
            rank_zero_warn(f"{left}; add the release's Training Images to have all", category=DataWarning)
        return sheet.take(both) if both else sheet

    def _patients(self, sheet: Sheet) -> Sheet:
        """Return the first row of each patient, after a look whether the others say the same."""
        said = list(zip(*(sheet.column(name) for name in ("Left-Fundus", "Right-Fundus", *self.names)), strict=True))
        first: dict[str, int] = {}
        for row, patient in enumerate(sheet.column("ID")):
            if not patient or "/" in patient or "\\" in patient:
                raise InputError(
                    f"a patient's id in the column 'ID' of {sheet.where(row)}", repr(patient), "correct it"
                )
            before = first.setdefault(patient, row)
            if said[before] != said[row]:
                raise InputError(
                    f"one set of pictures and labels of patient '{patient}' in {sheet.file}",
                    f"another one on line {sheet.lines[row]} than on line {sheet.lines[before]}",
                    "correct one of them",
                )
        return sheet.take(list(first.values()))
