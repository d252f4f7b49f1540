"""VinDr-CXR: findings and diagnoses in chest radiographs, 28 labels, several readers."""

from collections.abc import Mapping
from dataclasses import replace

from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.tables.paths import find_pictures
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.released import OpenSplitSet
from ibca_lightning.system.errors import InputError


class VinDrCXR(OpenSplitSet):
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

    def official(self) -> Mapping[str, Table]:
        """Read the two tables and join the readers."""
        return {split: self._table(split) for split in ("train", "test")}

    def _table(self, split: str) -> Table:
        folder, file = self.present(split), f"image_labels_{split}.csv"
        sheet = read_sheet(self.present(f"annotations/{file}", file))
        header = ["Other diseases" if name == "Other disease" else name for name in sheet.header]
        sheet = replace(sheet, header=header)
        cells = self.label_policy.cells(sheet, self.names)
        ids, labels = self.label_policy.vote(cells, sheet.column("image_id"), self.names)
        sheet = sheet.take(_first_rows(sheet))
        return self.rows(sheet, find_pictures(sheet, ids, folder), folder, labels)


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
