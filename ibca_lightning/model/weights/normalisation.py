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
_NAMES = (  # in the name of the file, else of the nearest folder; the first that is found
    (r"retfound[-_ ]?green", "RETFound-Green", "half"),
    (r"retfound", "RETFound", "imagenet"),
    (r"chexfound", "CheXFound", "imagenet"),
    (r"rad[-_]?dino", "RAD-DINO", "rad_dino"),
    (r"biomed[-_]?clip", "BiomedCLIP", "clip"),
    (r"flair[-_]?resnet", "FLAIR", "flair"),
)
_OF_FILES = (  # in the name of the file alone, where its keys say nothing: a project may be called so
    (r"(^|[-_])mae[-_](pretrain|finetune|visualize)", "MAE", "imagenet"),
    (r"(^|[-_])dino(v2)?[-_]", "DINO", "imagenet"),
)
_KEYS = {"rad_dino": "imagenet", "half": "imagenet"}  # sets of weights in the keys of another's: DINOv2's
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
    given: Normalisation,
    config: Mapping[str, Any],
    channels: int,
    file: str | None = None,
    layout: str | None = None,
    fetched: bool = False,
) -> tuple[Values, Values]:
    """Choose mean and standard deviation a channel; of a file of weights, say what was taken and why.

    What is asked for is taken. Where the weights are known to want other values, a warning says so.

    Args:
        given: As `require_normalisation` takes it.
        config: timm's of the model, with its mean and std.
        channels: Of the pictures.
        file: Of the weights, if they are of one.
        layout: A key of `SETS`, if the keys of that file say whose set it is.
        fetched: Whether timm's own weights are used.
    """
    own = (config["mean"], config["std"])
    taken, why, doubt = _of_file(file, layout, own) if file is not None else (own, "timm's of this backbone", False)
    known = (_of_channels(taken[0], channels), _of_channels(taken[1], channels))
    if given == "auto":
        if file is not None:
            level = logging.WARNING if doubt else logging.INFO
            log.log(level, "pictures are normalised with %s: %s (model.normalisation)", _text(known), why)
        return known
    if isinstance(given, str):
        asked = (_of_channels(SETS[given][0], channels), _of_channels(SETS[given][1], channels))
    else:
        asked = (tuple(given["mean"]), tuple(given["std"]))
    comparable = isinstance(given, str) or channels == 3  # of other channels nobody has published values
    if (fetched or file is not None) and comparable and _text(asked) != _text(known):
        log.warning(
            "pictures are normalised with %s, as model.normalisation asks; auto would take %s: %s",
            _text(asked), _text(known), why,
        )  # fmt: skip
    return asked


def _of_file(file: str, layout: str | None, own: tuple[Values, Values]) -> tuple[tuple[Values, Values], str, bool]:
    """The values of a file of weights, why, and whether the user should look."""
    for part in reversed(Path(file).parts[-4:]):  # a snapshot of the Hugging Face hub lies three folders down
        for pattern, title, of in _NAMES:
            if re.search(pattern, part, re.I):
                unlike = layout is not None and layout not in (of, _KEYS.get(of))
                but = f", but its keys are of weights of another set ({layout}): give the one that is right"
                return SETS[of], f"those of {title}, by the name of {file}{but if unlike else ''}", unlike
    if layout:
        return SETS[layout], f"by the keys of {file}", False
    for pattern, title, of in _OF_FILES:
        if re.search(pattern, Path(file).name, re.I):
            return SETS[of], f"those of {title}, by the name of {file}", False
    advice = "if timm did not train it, give imagenet, clip, half or {mean, std}"
    return own, f"timm's of this backbone; {file} does not say whose it is: {advice}", True


def _text(values: tuple[Sequence[float], Sequence[float]]) -> str:
    mean, std = (", ".join(f"{value:.3g}" for value in part) for part in values)
    return f"mean {mean}, std {std}"


def _of_channels(values: Sequence[float], channels: int) -> Values:
    """Mean or std of RGB for other channels, in keeping with what timm makes of the weights."""
    if channels == 1:
        return (sum(values) / len(values),)
    return tuple(values[at % len(values)] for at in range(channels))
