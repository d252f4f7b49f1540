"""Short names of heads, losses, data sets and loggers: the one table that the command line and every YAML read.

A class of your own needs no line here: its dotted class path works everywhere. One that comes with `ibca` gets its line
below, by the public name that a checkpoint and `config.yaml` hold; a test says which is missing.
"""

from difflib import SequenceMatcher, get_close_matches

NAMES: dict[str, dict[str, str]] = {
    "model.head": {
        "gap": "ibca_lightning.heads.GAPHead",
        "csra": "ibca_lightning.heads.CSRAHead",
        "mil_attention": "ibca_lightning.heads.MILAttentionHead",
        "ep": "ibca_lightning.heads.EPHead",
        "attentive_pool": "ibca_lightning.heads.AttentivePoolHead",
        "lp": "ibca_lightning.heads.LPHead",
        "att_vib": "ibca_lightning.heads.AttVIBHead",
        "c_gmvae": "ibca_lightning.heads.CGMVAEHead",
        "cal": "ibca_lightning.heads.CALHead",
        "caam": "ibca_lightning.heads.CaaMHead",
        "ida": "ibca_lightning.heads.IDAHead",
        "query2label": "ibca_lightning.heads.Query2LabelHead",
        "ml_decoder": "ibca_lightning.heads.MLDecoderHead",
        "c_tran": "ibca_lightning.heads.CTranHead",
        "ts_former": "ibca_lightning.heads.TSFormerHead",
        "glori": "ibca_lightning.heads.GLoRIHead",
        "lff": "ibca_lightning.heads.LfFHead",
        "gcn": "ibca_lightning.heads.GCNHead",
        "add_gcn": "ibca_lightning.heads.AddGCNHead",
        "pair": "ibca_lightning.heads.PairHead",
        "ibca": "ibca_lightning.heads.IBCAHead",
    },
    "model.loss": {
        "bce": "ibca_lightning.losses.MaskedBCE",
        "asl": "ibca_lightning.losses.AsymmetricLoss",
        "focal": "ibca_lightning.losses.FocalLoss",
        "gce": "ibca_lightning.losses.GeneralisedCE",
        "logit_adjusted": "ibca_lightning.losses.LogitAdjustedBCE",
    },
    "model.terms": {
        "cell_contrast": "ibca_lightning.terms.CellContrast",
        "distillation": "ibca_lightning.terms.Distillation",
        "domain_alignment": "ibca_lightning.terms.DomainAlignment",
        "early_learning": "ibca_lightning.terms.EarlyLearning",
        "group_dro": "ibca_lightning.terms.GroupDRO",
        "jtt": "ibca_lightning.terms.JTT",
        "label_correction": "ibca_lightning.terms.LabelCorrection",
        "mask_guidance": "ibca_lightning.terms.MaskGuidance",
        "mean_teaching": "ibca_lightning.terms.MeanTeaching",
        "metric_learning": "ibca_lightning.terms.MetricLearning",
        "noise_intervention": "ibca_lightning.terms.NoiseIntervention",
        "nvum": "ibca_lightning.terms.NVUM",
        "reconstruction": "ibca_lightning.terms.Reconstruction",
    },
    "data": {
        "chest_mnist": "ibca_lightning.data.ChestMNIST",
        "chest_xray14": "ibca_lightning.data.ChestXray14",
        "chexpert": "ibca_lightning.data.CheXpert",
        "csv": "ibca_lightning.data.CSVDataModule",
        "derm7pt": "ibca_lightning.data.Derm7pt",
        "endo": "ibca_lightning.data.Endo",
        "frozen_maps": "ibca_lightning.data.FrozenMaps",
        "galar": "ibca_lightning.data.Galar",
        "idrid": "ibca_lightning.data.IDRiD",
        "joined": "ibca_lightning.data.JoinedDataModule",
        "medfm_chestdr": "ibca_lightning.data.MedFMChestDR",
        "mured": "ibca_lightning.data.MuReD",
        "odir5k": "ibca_lightning.data.ODIR5K",
        "packed": "ibca_lightning.data.PackedPictures",
        "padchest": "ibca_lightning.data.PadChest",
        "rfmid": "ibca_lightning.data.RFMiD",
        "scm": "ibca_lightning.data.SCMDataModule",
        "vindr_cxr": "ibca_lightning.data.VinDrCXR",
    },
    "trainer.logger": {
        "csv": "ibca_lightning.run.loggers.named.RunCSVRequest",
        "mlflow": "ibca_lightning.run.loggers.named.RunMLFlowLogger",
        "tensorboard": "ibca_lightning.run.loggers.named.RunTensorBoardLogger",
        "wandb": "ibca_lightning.run.loggers.named.RunWandbRequest",
    },
}
"""By the option that takes them, in the order in which they are listed."""
_SUFFIXES = ("head", "loss", "datamodule", "logger")  # what every class of a kind ends in tells nothing


def class_paths(name: str) -> list[str]:
    """The classes of a short or class name, of whatever kind: a name may stand for one in each.

    A path below this package is known by its end, wherever the class was when the path was written.
    """
    end = name.rpartition(".")[2] if name.startswith("ibca_lightning.") else name
    return [
        path for table in NAMES.values() for short, path in table.items()
        if name == short or end == path.rpartition(".")[2]
    ]  # fmt: skip


def short_name(kind: str, name: str) -> str | None:
    """The short name of a class of a key of `NAMES`, however it is named; None for a class of the user's own."""
    table = NAMES[kind]
    if name in table:
        return name
    last = name.rpartition(".")[2]
    whole = (short for short, path in table.items() if path == name or ("." not in name and path.endswith(f".{last}")))
    return next(whole, None)


def near_class(kind: str, wanted: str, more: tuple[str, ...] = ()) -> str | None:
    """The short or class name of a kind (a key of `NAMES`) or among `more` that was probably meant.

    None where nothing is near: `NoHead` shares four letters with every head, and is near none.
    """
    table = NAMES.get(kind, {})
    names = [*(path.rpartition(".")[2] for path in table.values()), *more, *table]
    names = names if wanted.islower() else names[::-1]  # chexprt is answered with chexpert, CheXprt with CheXpert
    by_end = {name.rpartition(".")[2].lower(): name for name in names}
    last = wanted.rpartition(".")[2].lower()
    for near in get_close_matches(last, by_end, n=3) or [name for name in by_end if name.startswith(last[:5])][:1]:
        if SequenceMatcher(None, _stem(last), _stem(near)).ratio() >= 0.5 and by_end[near] != wanted:
            return by_end[near]
    return None


def _stem(name: str) -> str:
    return next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end) and name != end), name)
