"""Data sets: one thin file each over one table, one reader and one set of transforms."""

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
