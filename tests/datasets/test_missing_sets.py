"""A data set that is not there: one line that says where to get it and how it must lie."""

from pathlib import Path

import pytest

from ibca_lightning.data import (
    ODIR5K,
    ChestMNIST,
    ChestXray14,
    CheXpert,
    Derm7pt,
    Endo,
    Galar,
    IDRiD,
    MedFMChestDR,
    MuReD,
    PadChest,
    RFMiD,
    VinDrCXR,
)
from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.system.errors import InputError

SETS = {
    MuReD: ("10.17632/pc4mb3h8hz.1", "root/train_data.csv"),
    Endo: ("10.1038/s41597-023-02460-0", "root/MedFMC_{train,val}/endo/images"),
    MedFMChestDR: ("10.1038/s41597-023-02460-0", "root/MedFMC_{train,val}/chest/images"),
    RFMiD: ("10.3390/data6020014", "root/Training_Set/Training/ID.png"),
    ODIR5K: ("odir2019.grand-challenge.org", "root/full_df.csv"),
    ChestXray14: ("1705.02315", "root/images_001/images"),
    ChestMNIST: ("record 10519652", "root/chestmnist_{64,128,224}.npz"),
    Derm7pt: ("10.1109/JBHI.2018.2824327", "root/meta/{train,valid,test}_indexes.csv"),
    Galar: ("article 25304616", "root/Frames/VIDEO/frame_NUMBER.PNG"),
    IDRiD: ("10.3390/data3030025", "root/A. Segmentation/1. Original Images/"),
    PadChest: ("1901.07441", "root/images/ImageDir/ImageID"),
    VinDrCXR: ("10.13026/3akn-b287", "root/annotations/image_labels_{train,test}.csv"),
    CheXpert: ("1901.07031", "root/train/patient00001/study1"),
}


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("kind", SETS, ids=lambda kind: kind.__name__)
def test_it_says_where_to_get_it(kind: type[TableDataModule], there: bool, tmp_path: Path) -> None:
    root = tmp_path / "data"
    if there:
        root.mkdir()
    with pytest.raises(InputError) as caught:
        kind(root=str(root)).setup("fit")
    error = caught.value
    assert str(root) in error.expected
    assert error.got == "nothing there"
    assert error.fix.startswith("get ")
    assert all(part in error.fix for part in SETS[kind])
    assert len(str(error)) - len(str(root)) < 400, str(error)
    assert list(tmp_path.rglob("*")) == ([root] if there else [])
