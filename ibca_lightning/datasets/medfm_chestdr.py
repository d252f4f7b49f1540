"""ChestDR: findings in chest radiographs, 19 labels, from MedFMC."""

from ibca_lightning.datasets.layouts.medfmc import MedFMC


class MedFMChestDR(MedFMC):
    """ChestDR, the chest part of MedFMC (MedFM challenge, NeurIPS 2023).

    4848 frontal radiographs (PNG) of one hospital with 19 labels. Official split: `MedFMC_train` (2140) and
    `MedFMC_val` (2708), which is the test set here; validation is split off from `MedFMC_train`. Copies of the
    challenge's validation phase have no labels in `chest_val.csv`: use `lists`, which divide the 2140. Patients are not
    given, so each picture is its own group, or the value of a column `study_id` where there is one.

    With `lists` the split of the challenge's list files is used: `train_20.txt` (783), `val_20.txt` (196),
    `test_WithLabel.txt` (1161); no picture stands in two of them. Published on the 1161 at 384 px, 20 epochs, by
    MedFMC's repository: DenseNet121 mAP 24.48 and AUC 75.25, EfficientNet-B5 29.08 and 77.21, Swin-B 31.07 and 78.56.

    Labels, with positives in the 979 of `train_20` and `val_20` / in the 1161: pleural_effusion 255/428, nodule
    129/199, pneumonia 193/273, cardiomegaly 245/271, hilar_enlargement 163/224, fracture_old (old fracture) 91/161,
    fibrosis 97/212, aortic_calcification 135/141, tortuous_aorta 135/151, thickened_pleura 112/157, TB (tuberculosis)
    55/124, pneumothorax 49/136, emphysema 34/44, atelectasis 43/93, calcification 17/35, pulmonary_edema 19/20,
    increased_lung_markings 12/13, elevated_diaphragm 10/4, consolidation 10/12; 261/162 pictures have none.

    Licence: as stated with the release. Citation: Wang et al., "A real-world dataset and benchmark for foundation model
    adaptation in medical image classification", Scientific Data 10, 574, 2023, doi 10.1038/s41597-023-02460-0.

    Expected tree (`image` for `images` in some copies)::

        root/MedFMC_train/chest/images/*.png  root/MedFMC_train/chest/chest_train.csv
        root/MedFMC_val/chest/images/*.png    root/MedFMC_val/chest/chest_val.csv
        root/[chest/]images/*.png  root/[chest/]{train_20,val_20,test_WithLabel}.txt      with lists
    """

    part = "chest"
    names = (
        *("pleural_effusion", "nodule", "pneumonia", "cardiomegaly", "hilar_enlargement", "fracture_old", "fibrosis"),
        *("aortic_calcification", "tortuous_aorta", "thickened_pleura", "TB", "pneumothorax", "emphysema"),
        *("atelectasis", "calcification", "pulmonary_edema", "increased_lung_markings", "elevated_diaphragm"),
        "consolidation",
    )

    def group(self, name: str, study: str, where: str) -> str:
        """Return the study, or the picture itself."""
        return study or name
