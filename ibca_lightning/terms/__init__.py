"""Training terms: what a mask, a memory of the training set or a teacher add to the loss, or correct in the labels."""

from ibca_lightning.terms.base import Setting, Step, Teacher, Term
from ibca_lightning.terms.carrier import PREFIX, Terms
from ibca_lightning.terms.cell_contrast import CellContrast
from ibca_lightning.terms.distillation import Distillation
from ibca_lightning.terms.domain_alignment import DomainAlignment
from ibca_lightning.terms.mask_guidance import MaskGuidance
from ibca_lightning.terms.mean_teaching import MeanTeaching
from ibca_lightning.terms.metric_learning import MetricLearning
from ibca_lightning.terms.noise_intervention import NoiseIntervention
from ibca_lightning.terms.reconstruction import Reconstruction
from ibca_lightning.terms.shortcuts.group_dro import GroupDRO
from ibca_lightning.terms.shortcuts.jtt import JTT
from ibca_lightning.terms.wrong_labels.early_learning import EarlyLearning
from ibca_lightning.terms.wrong_labels.label_correction import LabelCorrection
from ibca_lightning.terms.wrong_labels.nvum import NVUM

__all__ = [
    "JTT", "NVUM", "PREFIX", "CellContrast", "Distillation", "DomainAlignment", "EarlyLearning", "GroupDRO",
    "LabelCorrection", "MaskGuidance", "MeanTeaching", "MetricLearning", "NoiseIntervention", "Reconstruction",
    "Setting", "Step", "Teacher", "Term", "Terms",
]  # fmt: skip
