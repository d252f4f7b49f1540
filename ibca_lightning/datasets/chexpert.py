"""CheXpert: observations in chest radiographs, 14 labels of which some are uncertain."""

import os
import re
from collections.abc import Mapping
from typing import Any, Literal

from ibca_lightning.data import storage
from ibca_lightning.data.options import check_choice
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.released import OpenSplitSet
from ibca_lightning.system.errors import InputError

_BATCH = re.compile(r"^CheXpert-v1\.0 batch \d+ \(train")  # a folder of patients

View = Literal["all", "frontal", "lateral"]


class CheXpert(OpenSplitSet):
    """CheXpert of Stanford Hospital.

    224,316 radiographs of 65,240 patients (JPEG), 14 observations mined from reports by a program: positive (1),
    negative (0), uncertain (-1) or not mentioned (blank). `train.csv` has 223,414 rows, `valid.csv` 234, which
    radiologists labelled and in which nothing is uncertain. Published comparisons that have no access to the
    challenge's test set use these 234, so here **they are the test set**, and validation is split off from `train.csv`
    by patient (the folder `patient12345` of the path).

    Uncertain labels are unknown by default; `labels: {uncertain: zero}`, `{uncertain: one}` or a choice by class give
    the paper's U-Zeros, U-Ones and mixtures of them, for training. A blank is 0: what a report does not mention is
    taken as absent, as the paper does; `labels: {blank: ignore}` leaves it unknown.

    Licence: Stanford University Dataset Research Use Agreement. Citation: Irvin et al., "CheXpert: A Large Chest
    Radiograph Dataset with Uncertainty Labels and Expert Comparison", AAAI 2019, arXiv 1901.07031.

    Expected tree (`Path` in the tables begins with `CheXpert-v1.0/` or `CheXpert-v1.0-small/`, which may be the root or
    a folder in it; also the archives of the whole release, unpacked side by side: `CheXpert-v1.0 batch 1 (validate &
    csv)`, which has the tables and `valid/`, and `CheXpert-v1.0 batch 2 (train 1)/patient00001/...` to batch 4)::

        root/train.csv  root/train/patient00001/study1/view1_frontal.jpg
        root/valid.csv  root/valid/patient64541/study1/view1_frontal.jpg

    Args:
        root: Folder of the data set.
        view: `all` radiographs, or the `frontal` or `lateral` ones only; of test too.
        val_fraction: Share of `train.csv` that becomes validation, in (0, 1).
        subgroup_columns: Columns for figures by subgroup, such as `Sex` or `AP/PA`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    default_labels = LabelPolicy(blank="zero")
    names = (
        *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
        *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
        *("Fracture", "Support Devices"),
    )
    _help = (
        "get CheXpert (arXiv 1901.07031) and unpack it as root/train.csv, root/valid.csv, "
        "root/train/patient00001/study1/view1_frontal.jpg, ... and root/valid/ alike"
    )

    def __init__(
        self,
        root: str,
        view: View = "all",
        val_fraction: float = 0.05,
        subgroup_columns: list[str] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(root, val_fraction, **common)
        check_choice("view", view, View)
        self.view, self.subgroup_columns = view, subgroup_columns or []

    def official(self) -> Mapping[str, Table]:
        """Read the two tables."""
        return {"train": self._table(self.present("train.csv")), "test": self._table(self.present("valid.csv"))}

    def _table(self, file: str) -> Table:
        sheet = self._of_view(read_sheet(file))
        paths = [re.sub(r"^CheXpert-v1\.0[^/]*/", "", path) for path in sheet.column("Path")]
        patients = [re.search(r"(?:^|/)(patient\d+)/", path) for path in paths]
        if None in patients:
            row = patients.index(None)
            raise InputError(
                f"a folder patient12345 in the column 'Path' of {sheet.where(row)}",
                f"'{sheet.column('Path')[row]}'",
                "use the table of the release",
            )
        groups = [patient[1] for patient in patients if patient]
        return self.rows(sheet, *self._places(paths, groups, os.path.dirname(file)), groups=groups)

    def _places(self, paths: list[str], patients: list[str], folder: str) -> tuple[list[str], str]:
        """Return the pictures and the folder that they are relative to."""
        above = os.path.dirname(folder)
        batches = [name for name in storage.names(above) if _BATCH.search(name)] if folder != self.root else []
        if not batches or storage.is_folder(os.path.join(folder, paths[0].split("/")[0])):
            return paths, folder
        batch_of = {patient: batch for batch in batches for patient in storage.names(os.path.join(above, batch))}
        pairs = zip(paths, patients, strict=True)
        return [path.replace("train", batch_of.get(patient, "train"), 1) for path, patient in pairs], above

    def _of_view(self, sheet: Sheet) -> Sheet:
        if self.view == "all":
            return sheet
        views = sheet.column("Frontal/Lateral")
        rows = [row for row, view in enumerate(views) if view.lower() == self.view]
        if not rows:
            raise InputError(
                f"{self.view} radiographs in the column 'Frontal/Lateral' of {sheet.file}",
                f"only {', '.join(sorted(set(views)))}",
                "set data.view to all",
            )
        return sheet.take(rows)
