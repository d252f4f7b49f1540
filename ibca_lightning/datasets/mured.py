"""MuReD: retinal diseases, 20 labels."""

from collections.abc import Mapping

from ibca_lightning.data.tables.paths import find_pictures
from ibca_lightning.data.tables.sheet import read_sheet
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.released import OpenSplitSet


class MuReD(OpenSplitSet):
    """MuReD, the Multi-Label Retinal Diseases data set.

    2208 colour fundus photographs (519x547 to 3925x2847; PNG and TIFF) from ARIA, STARE and RFMiD's training part, with
    20 labels. Official split: 1764 training and 444 validation pictures. Published comparisons (C-Tran and later) use
    those 444, so here **they are the test set**, and validation is split off from the 1764, stratified by label.
    One picture has one id; patients are not given, so each picture is its own group. A model that was pre-trained on
    RFMiD's training part has seen test pictures.

    Labels, with positives in the 1764 / the 444: DR diabetic retinopathy 396/99, NORMAL 395/98, MH media haze 135/34,
    ODC optic disc cupping 211/52, TSLN tessellation 125/31, ARMD age-related macular degeneration 126/32, DN drusen
    130/32, MYA myopia 71/18, BRVO branch retinal vein occlusion 63/16, ODP optic disc pallor 50/12, CRVO central
    retinal vein occlusion 44/11, CNV choroidal neovascularisation 48/12, RS retinitis 47/11, ODE optic disc edema
    46/11, LS laser scars 37/9, CSR central serous retinopathy 29/7, HTR hypertensive retinopathy 28/7, ASR
    arteriosclerotic retinopathy 26/7, CRS chorioretinitis 24/6, OTHER 209/52.

    Licence CC BY 4.0. Citation: Rodriguez, AlMarzouqi, Liatsis, "Multi-label retinal disease classification using
    transformers", arXiv 2207.02335. Data: "Multi-Label Retinal Diseases (MuReD) Dataset", doi 10.17632/pc4mb3h8hz.1.

    Expected tree (the pictures of some copies lie in `images/images/`, some copies call the second table
    `test_data.csv`; ids in the tables have no extension)::

        root/train_data.csv  root/val_data.csv  root/images/{ID}.{png,tif,jpg}
    """

    names = (
        *("DR", "NORMAL", "MH", "ODC", "TSLN", "ARMD", "DN", "MYA", "BRVO", "ODP"),
        *("CRVO", "CNV", "RS", "ODE", "LS", "CSR", "HTR", "ASR", "CRS", "OTHER"),
    )
    _tree = "root/train_data.csv, root/val_data.csv, root/images/ID.png|tif|jpg"
    _help = f"get MuReD (doi 10.17632/pc4mb3h8hz.1) and unpack it as {_tree}"

    def official(self) -> Mapping[str, Table]:
        """Read the two tables."""
        folder = self.present("images")
        tables = {}
        for split, files in (("train", ("train_data.csv",)), ("test", ("val_data.csv", "test_data.csv"))):
            sheet = read_sheet(self.present(*files))
            tables[split] = self.rows(sheet, find_pictures(sheet, sheet.column("ID"), folder), folder)
        return tables
