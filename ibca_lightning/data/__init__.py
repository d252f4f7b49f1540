"""Tables and pictures: how they are read, checked, split and brought into batches.

The data sets that stand on this room have one of their own, `ibca_lightning.datasets`. Their classes are imported from
here (`from ibca_lightning.data import CSVDataModule`), under a name that does not change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibca_lightning.data.base import MultiLabelDataModule as MultiLabelDataModule
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
    from ibca_lightning.datasets.packed.datamodule import PackedPictures as PackedPictures
    from ibca_lightning.datasets.padchest import PadChest as PadChest
    from ibca_lightning.datasets.rfmid import RFMiD as RFMiD
    from ibca_lightning.datasets.scm.datamodule import SCMDataModule as SCMDataModule
    from ibca_lightning.datasets.vindr_cxr import VinDrCXR as VinDrCXR

# The same places again, for who runs: the imports above are for who reads, types or completes.
_PLACES = (
    *("data.base.MultiLabelDataModule", "data.tables.label_policy.LabelPolicy"),
    *("datasets.chest_mnist.ChestMNIST", "datasets.chest_xray14.ChestXray14", "datasets.chexpert.CheXpert"),
    *("datasets.csv_table.CSVDataModule", "datasets.derm7pt.Derm7pt", "datasets.endo.Endo", "datasets.galar.Galar"),
    *("datasets.frozen_maps.FrozenMaps", "datasets.idrid.IDRiD", "datasets.joined.JoinedDataModule"),
    *("datasets.medfm_chestdr.MedFMChestDR", "datasets.mured.MuReD", "datasets.odir5k.ODIR5K"),
    *("datasets.packed.datamodule.PackedPictures", "datasets.padchest.PadChest"),
    *("datasets.rfmid.RFMiD", "datasets.scm.datamodule.SCMDataModule", "datasets.vindr_cxr.VinDrCXR"),
)
_HOMES = {name: f"ibca_lightning.{home}" for home, _, name in (place.rpartition(".") for place in _PLACES)}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import a data module, and Lightning with it, only when it is asked for: who reads a picture needs none."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
