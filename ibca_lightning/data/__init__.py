"""Data modules: one file per data set over one table, one reader and one set of transforms."""

from ibca_lightning.data.chest_mnist import ChestMNIST
from ibca_lightning.data.chest_xray14 import ChestXray14
from ibca_lightning.data.chexpert import CheXpert
from ibca_lightning.data.csv_table import CSVDataModule
from ibca_lightning.data.datamodule import MultiLabelDataModule
from ibca_lightning.data.derm7pt import Derm7pt
from ibca_lightning.data.endo import Endo
from ibca_lightning.data.folder import PictureFolder
from ibca_lightning.data.frozen_maps import FrozenMaps
from ibca_lightning.data.galar import Galar
from ibca_lightning.data.idrid import IDRiD
from ibca_lightning.data.joined import JoinedDataModule
from ibca_lightning.data.medfm_chestdr import MedFMChestDR
from ibca_lightning.data.mured import MuReD
from ibca_lightning.data.odir5k import ODIR5K
from ibca_lightning.data.padchest import PadChest
from ibca_lightning.data.rfmid import RFMiD
from ibca_lightning.data.scm import SCMDataModule
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.vindr_cxr import VinDrCXR

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
