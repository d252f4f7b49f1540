"""Mean and standard deviation of the pictures: timm's, those of a published set of weights, or the user's own.

The sets are those of the published preprocessing: BiomedCLIP's is CLIP's; RAD-DINO has its own of chest radiographs;
RETFound-Green halves; FLAIR only scales to [0, 1]; RETFound, CheXFound, MAE, DINO and DINOv2 take ImageNet's.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from timm.data.constants import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

from ibca_lightning.system.errors import InputError

Word = Literal["auto", "imagenet", "clip", "half"]
Normalisation = Word | dict[str, list[float]]
Values = tuple[float, ...]

SETS: dict[str, tuple[Values, Values]] = {
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    "clip": (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD),
    "half": (IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD),
    "rad_dino": ((0.5307,) * 3, (0.2583,) * 3),
    "flair": ((0.0,) * 3, (1.0,) * 3),
}
_NAMES = (  # in the name of the file or of its folder; the first that is found
    (r"retfound[-_ ]?green", "RETFound-Green", "half"),
    (r"retfound", "RETFound", "imagenet"),
    (r"chexfound", "CheXFound", "imagenet"),
    (r"rad[-_]?dino", "RAD-DINO", "rad_dino"),
    (r"biomed[-_]?clip", "BiomedCLIP", "clip"),
    (r"flair[-_]?resnet", "FLAIR", "flair"),
)
_LEAST_STD = 1e-3
log = logging.getLogger(__name__)


def require_normalisation(given: object, channels: int) -> None:
    """Check what `model.normalisation` is given, for pictures of so many channels.

    Raises:
        InputError: It is no known word, or not one mean and one deviation a channel on the scale of 0 to 1.
    """
    if isinstance(given, str) and given in get_args(Word):
        return
    sound = isinstance(given, Mapping) and set(given) == {"mean", "std"}
    if isinstance(given, Mapping) and sound:
        for name, least in (("mean", 0.0), ("std", _LEAST_STD)):
            values = given[name]
            sound = sound and isinstance(values, Sequence) and len(values) == channels and not isinstance(values, str)
            sound = sound and all(type(value) in (int, float) and least <= value <= 1 for value in values)
    if not sound:
        raise InputError(
            "model.normalisation auto, imagenet, clip, half, or {mean: [...], std: [...]} with a number in [0, 1] for "
            f"each of {channels} channels", given, "correct it; values of 0 to 255 are to be divided by 255",
        )  # fmt: skip


def chosen(
    given: Normalisation, config: Mapping[str, Any], channels: int, file: str | None = None, layout: str | None = None
) -> tuple[Values, Values]:
    """Choose mean and standard deviation a channel; of a file of weights, say what was taken and why.

    Args:
        given: As `require_normalisation` takes it.
        config: timm's of the model, with its mean and std.
        channels: Of the pictures.
        file: Of the weights, if they are of one.
        layout: A key of `SETS`, if the keys of that file say whose set it is.
    """
    if isinstance(given, dict):
        return tuple(given["mean"]), tuple(given["std"])
    own = (config["mean"], config["std"])
    mean, std = own if given == "auto" else SETS[given]
    if given == "auto" and file is not None:
        names = "/".join(Path(file).parts[-4:])  # a snapshot of the Hugging Face hub lies three folders down
        named = next(((title, of) for pattern, title, of in _NAMES if re.search(pattern, names, re.I)), None)
        mean, std = SETS[named[1]] if named else SETS[layout] if layout else own
        if named:
            why = f"those of {named[0]}, by the name of {file}"
        else:
            why = f"by the keys of {file}" if layout else f"timm's of this backbone; {file} does not say whose it is"
        log.info("pictures are normalised with mean %s, std %s: %s (model.normalisation)", _text(mean), _text(std), why)
    return _of_channels(mean, channels), _of_channels(std, channels)


def _text(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _of_channels(values: Sequence[float], channels: int) -> Values:
    """Mean or std of RGB for other channels, in keeping with what timm makes of the weights."""
    if channels == 1:
        return (sum(values) / len(values),)
    return tuple(values[at % len(values)] for at in range(channels))
