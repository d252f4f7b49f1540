"""VinDr-CXR: findings and diagnoses in chest radiographs, 28 labels, several readers."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.tables.paths import check_root, find_pictures, first_present
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.splits import split_off
from ibca_lightning.data.tables.table import Table, build_table
from ibca_lightning.system.errors import InputError


class VinDrCXR(TableDataModule):
    """VinDr-CXR, chest radiographs of two hospitals in Vietnam.

    18,000 postero-anterior radiographs (DICOM; reading them needs the extra `dicom`) with 22 findings, which the
    release also marks by boxes (not used here), and 6 diagnoses. Official split: 15,000 training and 3000 test
    pictures. Each training picture was labelled by three radiologists apart: they are joined by majority, or as
    `labels.readers` says. The test labels are the consensus of five. Validation is split off from training. Patients
    are not given, so each picture is its own group.

    Labels in the order of the tables. Findings: Aortic enlargement, Atelectasis, Calcification, Cardiomegaly, Clavicle
    fracture, Consolidation, Edema, Emphysema, Enlarged PA (pulmonary artery), ILD (interstitial lung disease),
    Infiltration, Lung Opacity, Lung cavity, Lung cyst, Mediastinal shift, Nodule/Mass, Pleural effusion, Pleural
    thickening, Pneumothorax, Pulmonary fibrosis, Rib fracture, Other lesion. Diagnoses: COPD (chronic obstructive
    pulmonary disease), Lung tumor, Pneumonia, Tuberculosis, Other diseases (`Other disease` in the test table), No
    finding.

    Licence: credentialed access of PhysioNet. Citation: Nguyen et al., "VinDr-CXR: An open dataset of chest X-rays with
    radiologist's annotations", Scientific Data 9, 429, 2022, doi 10.1038/s41597-022-01498-w. Data: PhysioNet, version
    1.0.0, doi 10.13026/3akn-b287.

    Expected tree (pictures converted to PNG or JPEG under the same names are read too)::

        root/annotations/image_labels_{train,test}.csv  root/{train,test}/{image_id}.dicom

    Args:
        root: Folder of the data set.
        val_fraction: Share of the 15,000 that becomes validation, in (0, 1).
        split_seed: Chooses the split; independent of `seed_everything`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    names = (
        *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
        *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
        *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
        *("Pulmonary fibrosis", "Rib fracture", "Other lesion"),
        *("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding"),
    )
    default_labels = LabelPolicy(readers="majority")
    _tree = "root/annotations/image_labels_{train,test}.csv, root/{train,test}/ID.dicom"
    _help = f"get VinDr-CXR (PhysioNet, doi 10.13026/3akn-b287) and unpack it as {_tree}"

    def __init__(self, root: str, val_fraction: float = 0.2, split_seed: int = 0, **common: Any) -> None:
        super().__init__(**common)
        self.root = os.fspath(root)
        self.val_fraction, self.split_seed = val_fraction, split_seed

    def tables(self) -> Mapping[str, Table]:
        """Read the official tables, join the readers and split validation off."""
        check_root(self.root, self._help)
        return split_off(
            {split: self._table(split) for split in ("train", "test")}, {"val": self.val_fraction}, self.split_seed
        )

    def _table(self, split: str) -> Table:
        folder = first_present(self.root, (split,), self._help)
        file = f"image_labels_{split}.csv"
        sheet = read_sheet(first_present(self.root, (f"annotations/{file}", file), self._help))
        header = ["Other diseases" if name == "Other disease" else name for name in sheet.header]
        sheet = replace(sheet, header=header)
        rows = _first_rows(sheet)
        ids, labels = self.label_policy.vote(
            self.label_policy.cells(sheet, self.names), sheet.column("image_id"), self.names
        )
        sheet = sheet.take(rows)
        return build_table(sheet, self.names, find_pictures(sheet, ids, folder), self.root, folder, labels=labels)


def _first_rows(sheet: Sheet) -> list[int]:
    """Return the first row of each picture; refuse a reader who stands there twice for it."""
    ids = sheet.column("image_id")
    readers = sheet.column("rad_id") if "rad_id" in sheet.header else [""] * len(sheet)
    first: dict[str, int] = {}
    seen: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(ids, readers, strict=True)):
        first.setdefault(key[0], row)
        if seen.setdefault(key, row) != row:
            raise InputError(
                f"every reader once for a picture in {sheet.file}",
                f"'{key[0]}' by '{key[1]}' on lines {sheet.lines[seen[key]]} and {sheet.lines[row]}",
                "remove one of the rows",
            )
    return list(first.values())
