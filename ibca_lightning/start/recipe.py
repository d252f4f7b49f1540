"""What `ibca init` chooses for training: the rules of the room's page, and nothing else."""

import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from huggingface_hub.constants import HF_HUB_CACHE

from ibca_lightning.data import storage
from ibca_lightning.data.pictures.header import picture_size

_SIZES = (128, 224, 384, 512)
_SEEN = {False: 8_000, True: 80_000}  # pictures that training sees, without and with a GPU
_EPOCHS = {False: (5, 30), True: (10, 60)}
_HEAD = 2**18  # bytes that tell the size of a picture


@dataclass(frozen=True)
class Recipe:
    """Options, each with its reason."""

    backbone: str
    feature_stride: list[int]
    image_size: int
    batch_size: int
    num_workers: int
    balanced_sampling: bool
    max_epochs: int
    reasons: dict[str, str]


def has_gpu() -> bool:
    """Whether this machine has a GPU that torch may use, told without torch."""
    return shutil.which("nvidia-smi") is not None or (sys.platform == "darwin" and os.uname().machine == "arm64")


def has_weights(backbone: str) -> bool:
    """Whether some weights of a backbone have been fetched to this machine."""
    return any(Path(HF_HUB_CACHE).glob(f"models--*--{backbone}.*"))


def short_side(paths: Iterable[str]) -> int | None:
    """The median of the short sides of some pictures; None where no header tells it, as of DICOM."""
    sides = []
    for path in paths:
        with suppress(OSError):  # a pipe, or a link to nothing, of which `ibca check` says so
            size = picture_size(memoryview(storage.beginning(path, _HEAD)))
            sides += [min(size)] if size else []
    return int(median(sides)) if sides else None


def choose(training: int, side: int | None, rarest: float, gpu: bool, cores: int) -> Recipe:
    """Choose the options.

    Args:
        training: Number of pictures to train on.
        side: Median of their short sides, in pixels.
        rarest: Share of them that shows the rarest class.
        gpu: Whether there is a GPU.
        cores: Number of cores.
    """
    most = 224 if not gpu else 512 if training <= 20_000 else 384
    fitting = [size for size in _SIZES if size <= most and (side is None or size <= 1.2 * side)]
    size = max(fitting, default=64)
    stride = [16, 32] if size >= 192 else [8, 16]
    batch = 32 if gpu else 16
    while batch > 4 and batch * 10 > training:
        batch //= 2
    low, high = _EPOCHS[gpu]
    epochs = min(high, max(low, round(_SEEN[gpu] / max(training, 1))))
    shown = "of a size no header tells" if side is None else f"{side} px at their short side"
    reasons = {
        "backbone": "there is a GPU here" if gpu else "small, as there is no GPU here; resnet50 where there is one",
        "feature_stride": f"maps of {size // stride[0]} x {size // stride[0]} cells",
        "image_size": f"pictures are {shown}; at most {most} {'with' if gpu else 'without'} a GPU",
        "batch_size": f"{max(training // batch, 1)} steps an epoch",
        "balanced_sampling": f"the rarest class is in {rarest:.1%} of the pictures",
        "max_epochs": f"about {training} pictures to train on, {training * epochs} seen in all",
    }
    return Recipe(
        "resnet50" if gpu else "mobilenetv2_100", stride, size, batch, min(cores, 8), rarest < 0.05, epochs, reasons
    )
