"""RFMiD: retinal diseases, 45 labels, or the 28 of the RIADD challenge."""

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.options import check_choice
from ibca_lightning.data.tables.paths import find_pictures
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.released import ReleasedSet

Classes = Literal["all", "riadd"]


class RFMiD(ReleasedSet):
    """RFMiD, the Retinal Fundus Multi-disease Image Dataset.

    3200 colour fundus photographs (PNG) of three cameras, taken in Nanded, India, from 2009 to 2020, with 45 diseases
    and `Disease_Risk`, which says whether there is any. Official split: 1920 training, 640 validation and 640 test
    pictures. Patients are not given, so each picture is its own group. MuReD holds pictures of the training part.

    Labels: DR diabetic retinopathy, ARMD age-related macular degeneration, MH media haze, DN drusen, MYA myopia, BRVO
    branch retinal vein occlusion, TSLN tessellation, ERM epiretinal membrane, LS laser scars, MS macular scar, CSR
    central serous retinopathy, ODC optic disc cupping, CRVO central retinal vein occlusion, TV tortuous vessels, AH
    asteroid hyalosis, ODP optic disc pallor, ODE optic disc edema, ST optociliary shunt, AION anterior ischemic optic
    neuropathy, PT parafoveal telangiectasia, RT retinal traction, RS retinitis, CRS chorioretinitis, EDN exudation,
    RPEC retinal pigment epithelium changes, MHL macular hole, RP retinitis pigmentosa; and the rare CWS cotton wool
    spots, CB coloboma, ODPM optic disc pit maculopathy, PRH preretinal hemorrhage, MNF myelinated nerve fibers, HR
    hemorrhagic retinopathy, CRAO central retinal artery occlusion, TD tilted disc, CME cystoid macular edema, PTCR
    post-traumatic choroidal rupture, CF choroidal folds, VH vitreous hemorrhage, MCA macroaneurysm, VS vasculitis, BRAO
    branch retinal artery occlusion, PLQ plaque, HPED hemorrhagic pigment epithelial detachment, CL collateral.

    `classes: riadd` gives the 28 classes of the RIADD challenge (ISBI 2021): the first 27, and OTHER for the 18 rare
    ones. The challenge's paper says 28; which 27 stand alone is taken from public code for its tables, whose header
    ends in `RPEC,MHL,RP,OTHER`. In tables with all 45 columns, OTHER is present where any of the 18 is.

    Licence: CC BY 4.0 by the cards of its copies (Hugging Face: ctmedtech/RFMID, bumbledeep/rfmid); the release's own
    page could not be read. Citation: Pachade et al., "Retinal Fundus Multi-Disease Image Dataset (RFMiD)", Data 6(2),
    14, 2021, doi 10.3390/data6020014; the challenge: Pachade et al., "RFMiD: Retinal Image Analysis for multi-Disease
    Detection challenge", Medical Image Analysis 99, 103365, 2025, doi 10.1016/j.media.2024.103365.

    Expected tree, either of these, in some copies with a folder doubled (`Training_Set/Training_Set/Training`) or below
    `A. RFMiD_All_Classes_Dataset/`; ids in the tables have no extension::

        root/Training_Set/RFMiD_Training_Labels.csv      root/Training_Set/Training/{ID}.png
        root/Evaluation_Set/RFMiD_Validation_Labels.csv  root/Evaluation_Set/Validation/{ID}.png
        root/Test_Set/RFMiD_Testing_Labels.csv           root/Test_Set/Test/{ID}.png

        root/2. Groundtruths/a. RFMiD_Training_Labels.csv, b. RFMiD_Validation_Labels.csv, c. RFMiD_Testing_Labels.csv
        root/1. Original Images/{a. Training Set,b. Validation Set,c. Testing Set}/{ID}.png

    Args:
        root: Folder of the data set.
        classes: `all` 45, or the 28 of `riadd`.
        disease_risk: Whether `Disease_Risk` is a label too, before the others.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    frequent = (
        *("DR", "ARMD", "MH", "DN", "MYA", "BRVO", "TSLN", "ERM", "LS", "MS", "CSR", "ODC", "CRVO", "TV"),
        *("AH", "ODP", "ODE", "ST", "AION", "PT", "RT", "RS", "CRS", "EDN", "RPEC", "MHL", "RP"),
    )
    rare = (
        *("CWS", "CB", "ODPM", "PRH", "MNF", "HR", "CRAO", "TD", "CME", "PTCR", "CF", "VH"),
        *("MCA", "VS", "BRAO", "PLQ", "HPED", "CL"),
    )
    _splits: Mapping[str, tuple[str, str, str, str]] = {
        "train": ("Training_Set/Training", "Training_Set", "a", "Training"),
        "val": ("Evaluation_Set/Validation", "Evaluation_Set", "b", "Validation"),
        "test": ("Test_Set/Test", "Test_Set", "c", "Testing"),
    }
    _help = (
        "get RFMiD (doi 10.3390/data6020014) and unpack it as root/Training_Set/RFMiD_Training_Labels.csv, "
        "root/Training_Set/Training/ID.png, Evaluation_Set/ and Test_Set/ alike, "
        "or with its folders 1. Original Images/ and 2. Groundtruths/"
    )

    def __init__(self, root: str, classes: Classes = "all", disease_risk: bool = False, **common: Any) -> None:
        super().__init__(root, **common)
        check_choice("classes", classes, Classes)
        self.classes, self.disease_risk = classes, disease_risk

    @property
    def own_names(self) -> list[str]:
        """The labels in the official order."""
        rest = ("OTHER",) if self.classes == "riadd" else self.rare
        return [*(["Disease_Risk"] if self.disease_risk else []), *self.frequent, *rest]

    def official(self) -> Mapping[str, Table]:
        """Read the three tables."""
        return {split: self._table(*parts) for split, parts in self._splits.items()}

    def _table(self, pictures: str, tables: str, letter: str, name: str) -> Table:
        folder = self.present(pictures, f"1. Original Images/{letter}. {name} Set")
        file = f"RFMiD_{name}_Labels.csv"
        sheet = read_sheet(self.present(f"{tables}/{file}", f"2. Groundtruths/{letter}. {file}"))
        # Relative to the root, because ids begin at 1 in every split.
        names = find_pictures(sheet, sheet.column("ID"), self.root, [os.path.relpath(folder, self.root)])
        return self.rows(sheet, names, labels=self._labels(sheet))

    def _labels(self, sheet: Sheet) -> NDArray[np.int8]:
        if self.classes == "all" or "OTHER" in sheet.header:
            return self.label_policy.cells(sheet, self.own_names)
        rare = self.label_policy.cells(sheet, self.rare)
        # Present where one is; unknown where none is but one may be.
        other = np.where((rare == 1).any(axis=1), 1, rare.min(axis=1)).astype(np.int8)
        return np.column_stack([self.label_policy.cells(sheet, self.own_names[:-1]), other])
