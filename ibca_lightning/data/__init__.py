"""Tables and pictures: how they are read, checked, split and brought into batches.

The data sets that stand on this room have one of their own, `ibca_lightning.datasets`. Their classes are imported from
here (`from ibca_lightning.data import CSVDataModule`), under a name that does not change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibca_lightning.data.datamodule import MultiLabelDataModule as MultiLabelDataModule
    from ibca_lightning.data.tables.label_policy import LabelPolicy as LabelPolicy
    from ibca_lightning.datasets.chest_mnist import ChestMNIST as ChestMNIST
    from ibca_lightning.datasets.chest_xray14 import ChestXray14 as ChestXray14
    from ibca_lightning.datasets.chexpert import CheXpert as CheXpert
    from ibca_lightning.datasets.csv_table import CSVDataModule as CSVDataModule
    from ibca_lightning.datasets.derm7pt import Derm7pt as Derm7pt
    from ibca_lightning.datasets.endo import Endo as Endo
    from ibca_lightning.datasets.frozen_maps import FrozenMaps as FrozenMaps
    from ibca_lightning.datasets.galar import Galar as Galar
    from ibca_lightning.datasets.idrid import IDRiD as IDRiD
    from ibca_lightning.datasets.joined import JoinedDataModule as JoinedDataModule
    from ibca_lightning.datasets.medfm_chestdr import MedFMChestDR as MedFMChestDR
    from ibca_lightning.datasets.mured import MuReD as MuReD
    from ibca_lightning.datasets.odir5k import ODIR5K as ODIR5K
    from ibca_lightning.datasets.padchest import PadChest as PadChest
    from ibca_lightning.datasets.picture_folder import PictureFolder as PictureFolder
    from ibca_lightning.datasets.rfmid import RFMiD as RFMiD
    from ibca_lightning.datasets.scm.datamodule import SCMDataModule as SCMDataModule
    from ibca_lightning.datasets.vindr_cxr import VinDrCXR as VinDrCXR

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
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import a data module, and Lightning with it, only when it is asked for: who reads a picture needs none."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
