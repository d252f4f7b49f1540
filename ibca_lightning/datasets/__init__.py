"""Data sets: one thin file each over one table, one reader and one set of transforms."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibca_lightning.data.datamodule import MultiLabelDataModule
    from ibca_lightning.data.tables.label_policy import LabelPolicy
    from ibca_lightning.datasets.chest_mnist import ChestMNIST
    from ibca_lightning.datasets.chest_xray14 import ChestXray14
    from ibca_lightning.datasets.chexpert import CheXpert
    from ibca_lightning.datasets.csv_table import CSVDataModule
    from ibca_lightning.datasets.derm7pt import Derm7pt
    from ibca_lightning.datasets.endo import Endo
    from ibca_lightning.datasets.frozen_maps import FrozenMaps
    from ibca_lightning.datasets.galar import Galar
    from ibca_lightning.datasets.idrid import IDRiD
    from ibca_lightning.datasets.joined import JoinedDataModule
    from ibca_lightning.datasets.medfm_chestdr import MedFMChestDR
    from ibca_lightning.datasets.mured import MuReD
    from ibca_lightning.datasets.odir5k import ODIR5K
    from ibca_lightning.datasets.padchest import PadChest
    from ibca_lightning.datasets.picture_folder import PictureFolder
    from ibca_lightning.datasets.rfmid import RFMiD
    from ibca_lightning.datasets.scm.datamodule import SCMDataModule
    from ibca_lightning.datasets.vindr_cxr import VinDrCXR

__all__ = [
    "ODIR5K",
    "CSVDataModule",
    "CheXpert",
    "ChestMNIST",
    "ChestXray14",
    "Derm7pt",
    "Endo",
    "FrozenMaps",
    "Galar",
    "IDRiD",
    "JoinedDataModule",
    "LabelPolicy",
    "MedFMChestDR",
    "MuReD",
    "MultiLabelDataModule",
    "PadChest",
    "PictureFolder",
    "RFMiD",
    "SCMDataModule",
    "VinDrCXR",
]
_HOMES = {
    "CSVDataModule": "ibca_lightning.datasets.csv_table",
    "CheXpert": "ibca_lightning.datasets.chexpert",
    "ChestMNIST": "ibca_lightning.datasets.chest_mnist",
    "ChestXray14": "ibca_lightning.datasets.chest_xray14",
    "Derm7pt": "ibca_lightning.datasets.derm7pt",
    "Endo": "ibca_lightning.datasets.endo",
    "FrozenMaps": "ibca_lightning.datasets.frozen_maps",
    "Galar": "ibca_lightning.datasets.galar",
    "IDRiD": "ibca_lightning.datasets.idrid",
    "JoinedDataModule": "ibca_lightning.datasets.joined",
    "LabelPolicy": "ibca_lightning.data.tables.label_policy",
    "MedFMChestDR": "ibca_lightning.datasets.medfm_chestdr",
    "MuReD": "ibca_lightning.datasets.mured",
    "MultiLabelDataModule": "ibca_lightning.data.datamodule",
    "ODIR5K": "ibca_lightning.datasets.odir5k",
    "PadChest": "ibca_lightning.datasets.padchest",
    "PictureFolder": "ibca_lightning.datasets.picture_folder",
    "RFMiD": "ibca_lightning.datasets.rfmid",
    "SCMDataModule": "ibca_lightning.datasets.scm.datamodule",
    "VinDrCXR": "ibca_lightning.datasets.vindr_cxr",
}


def __getattr__(name: str) -> Any:
    """Import a data module, and Lightning with it, only when it is asked for: who reads a picture needs none."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
