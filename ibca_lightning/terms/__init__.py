"""Training terms: what a mask, a memory of the training set or a teacher add to the loss, or correct in the labels."""

from ibca_lightning.terms.base import Setting, Step, Teacher, Term
from ibca_lightning.terms.carrier import PREFIX, Terms
from ibca_lightning.terms.distillation import Distillation
from ibca_lightning.terms.early_learning import EarlyLearning
from ibca_lightning.terms.label_correction import LabelCorrection
from ibca_lightning.terms.mask_guidance import MaskGuidance
from ibca_lightning.terms.nvum import NVUM

__all__ = [
    "NVUM", "PREFIX", "Distillation", "EarlyLearning", "LabelCorrection", "MaskGuidance", "Setting", "Step", "Teacher",
    "Term", "Terms",
]  # fmt: skip
