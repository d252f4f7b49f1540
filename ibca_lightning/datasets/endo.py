"""Endo: lesions in colonoscopy, 4 labels, from MedFMC."""

from ibca_lightning.datasets.layouts.medfmc import MedFMC
from ibca_lightning.system.errors import InputError


class Endo(MedFMC):
    """Endo, the colonoscopy part of MedFMC (MedFM challenge), Renji Hospital.

    3865 PNG of 1280x1024 from 80 patients; labels ulcer, erosion, polyp, tumor (in the 929 pictures of the challenge's
    `trainval`: 220, 250, 153 and 108 positives, and 400 pictures without any; in its 881 of `test_WithLabel`: 196, 222,
    69 and 0). The best public match for the "Endo" of the IBCA paper, which gives no link. Official split:
    `MedFMC_train` (1810) and `MedFMC_val` (2055), which is the test set here. Validation is split off from
    `MedFMC_train` by patient: the id before the first underscore of the file name, or the column `study_id` where a
    name has no underscore.

    With `lists` the split of the challenge's list files is used instead: `train_20.txt` (743), `val_20.txt` (186),
    `test_WithLabel.txt` (881, without a positive of tumor, whose AP is then undefined). Patients stand in both of the
    first two, so validation figures are too good; this is a warning.

    Licence: as stated with the release. Citation: Wang et al., "A real-world dataset and benchmark for foundation model
    adaptation in medical image classification", Scientific Data 10, 574, 2023, doi 10.1038/s41597-023-02460-0.

    Expected tree (`image` for `images` in some copies)::

        root/MedFMC_train/endo/images/*.png  root/MedFMC_train/endo/endo_train.csv
        root/MedFMC_val/endo/images/*.png    root/MedFMC_val/endo/endo_val.csv
        root/[endo/]images/*.png  root/[endo/]{train_20,val_20,test_WithLabel}.txt      with lists
    """

    part = "endo"
    names = ("ulcer", "erosion", "polyp", "tumor")
    lists_share_groups = True

    def group(self, name: str, study: str, where: str) -> str:
        """Return the patient.

        Raises:
            InputError: If neither the name nor `study_id` tells.
        """
        patient, underscore, _ = name.partition("_")
        if underscore and patient:
            return patient
        if study:
            return study
        raise InputError(
            f"a patient before the first underscore of the name, or in study_id, in {where}",
            f"'{name}'",
            "use the file names of the release",
        )
