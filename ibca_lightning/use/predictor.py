"""A trained model from its checkpoint alone: `ibca_lightning.load(CKPT)`."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ibca_lightning.data.pictures.channels import gray
from ibca_lightning.data.pictures.drawing import fitted
from ibca_lightning.data.pictures.field_of_view import Box
from ibca_lightning.data.pictures.masks import Bits, MaskFolder
from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.data.pictures.transforms import evaluation_transform
from ibca_lightning.metrics.calibration import calibrated
from ibca_lightning.model.checkpoint import ModelSpec, import_trusted, read_checkpoint
from ibca_lightning.model.network import load_network
from ibca_lightning.system.errors import InputError, NonFiniteError
from ibca_lightning.system.expanded import expanded
from ibca_lightning.use.prediction import Picture, Prediction

_KEPT = 512  # pixels of the longer side of what is kept of a picture without a file


@dataclass(frozen=True)
class Seen:
    """A file as the model sees it.

    Attributes:
        image: (C, S, S) uint8.
        box: Where that square lies on the picture: top, left, bottom and right in fractions of its height and width;
            beyond 0 and 1 where it was padded.
        masks: (L, S, S) bool, the lesions of the classes on the square; None without a mask.
    """

    image: Tensor
    box: Box
    masks: Tensor | None = None


class Predictor:
    """A model in evaluation mode, with its own preprocessing.

    Args:
        checkpoint: From `ibca_lightning.model.checkpoint.read_checkpoint`.
        device: Where to run; default CUDA where there is one.
        path: Of the checkpoint, for messages.
        precision: `32` or `bf16`.

    Raises:
        InputError: When the weights do not fit the model the checkpoint describes, or there is no such device.
    """

    def __init__(
        self, checkpoint: dict[str, Any], device: str | None = None, path: str | Path = "checkpoint",
        precision: str = "32",
    ) -> None:  # fmt: skip
        self.spec = spec = ModelSpec.from_checkpoint(checkpoint, path)
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            fix = "choose another --device, or leave it out"
            raise InputError("a device of this machine, such as cpu or cuda:0", device, fix) from error
        self.model = load_network(checkpoint, path).to(self.device)
        self.precision = precision
        self.most = 256 if self.device.type == "cuda" else 16  # pictures at once, where nobody says how many
        self._held = 2**31  # pictures that its memory holds at once, as far as is known
        self._transform = evaluation_transform(spec.image_size, spec.preprocessing)
        self.bit_depth = self._transform.bit_depth  # of pictures whose files do not say it

    @torch.inference_mode()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (B, L) and attention (B, L, H, W) of pictures (B, C, S, S) uint8 of the model's size.

        Both are float32 on the CPU. What the device's memory does not hold at once is done in smaller pieces.

        Raises:
            InputError: It does not hold one picture.
            NonFiniteError: A probability is no number, as of weights that are none.
        """
        probabilities, attention = self._in_pieces(images)
        if not bool(torch.isfinite(probabilities).all()):
            raise NonFiniteError("finite probabilities, got NaN; use a checkpoint from before the training diverged")
        return probabilities, attention

    def _in_pieces(self, images: Tensor) -> tuple[Tensor, Tensor]:
        while True:
            with (
                suppress(torch.OutOfMemoryError),
                torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"),
            ):
                pieces = [
                    [part.cpu() for part in self.outputs(piece.to(self.device))]
                    for piece in torch.split(images, self._held)
                ]
                probabilities, attention = map(torch.cat, zip(*pieces, strict=True))
                return probabilities, attention
            torch.cuda.empty_cache()
            held = min(self._held, len(images)) // 2
            if not held:  # what was held before stays, for when the memory is free again
                fix = "give another --device, or end what else runs on it"
                raise InputError("a device with memory for one picture", self.device, fix)
            self._held = held

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, but on the model's device and open to `torch.export`."""
        output = self.model(images)
        return calibrated(output.logits, self.spec.calibration), output.attention.float()

    def see(
        self, picture: str | Path | PictureFile, bits: Bits | None = None, classes: list[str] | None = None
    ) -> Seen:
        """Read a file as the test does.

        Args:
            picture: The file.
            bits: (h, w) uint8, a mask of the picture from `read_mask`; None where there is none.
            classes: What its bits mark; default the model's classes, in their order.

        Raises:
            InputError: When the file cannot be read.
        """
        pixels = self._transform.read(picture if isinstance(picture, PictureFile) else str(picture))
        box = self._transform.placement(pixels)
        image, planes = self._transform(pixels, [] if bits is None else [bits])
        return Seen(image, box, lesions(planes[0], self.spec.class_names, classes) if planes else None)

    def predict(self, picture: str | Path | Image.Image | np.ndarray) -> Prediction:
        """Classify one picture.

        Args:
            picture: A file, an 8-bit PIL image, or an (H, W, C) uint8 array, RGB where C is 3. A file is read as
                training read it, a large JPEG at reduced size: decoded by yourself, it can have probabilities that
                differ by several hundredths. `reading.read_image(file, model.spec.image_size)` decodes alike.

        Raises:
            InputError: The file cannot be read, or the picture is none of these.
        """
        given: str | np.ndarray | None = None
        if isinstance(picture, (str, Path)):
            given = expanded(str(picture))
            pixels = self._transform.read(given)
        elif isinstance(picture, Image.Image):
            if picture.mode.startswith(("I", "F")):  # Pillow would clip them
                raise InputError("an 8-bit picture", f"mode {picture.mode}", "scale it to 0-255, or give the file")
            pixels = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
            pixels = gray(pixels, "the picture") if self.spec.in_channels == 1 else pixels
        else:
            pixels = np.asarray(picture)
        channels = self.spec.in_channels
        if pixels.ndim != 3 or pixels.shape[2] != channels or pixels.dtype != np.uint8 or not pixels.size:
            got = f"{pixels.dtype} of shape {pixels.shape}"
            raise InputError(f"an (H, W, {channels}) uint8{' RGB' * (channels == 3)} array", got, "convert it first")
        probabilities, attention = self.forward(self._transform(pixels)[0][None])
        row, thresholds = probabilities[0].numpy(), np.asarray(self.spec.thresholds)
        small = fitted(pixels, _KEPT).copy() if given is None else given
        source = Picture(small, self._transform.placement(pixels), channels, self.bit_depth)
        return Prediction(
            self.spec.class_names, row, row > thresholds, attention[0].numpy(), thresholds, source
        )  # fmt: skip


def lesions(bits: Bits, names: list[str], classes: list[str] | None = None) -> Tensor:
    """The lesions (L, h, w) bool of L classes in a mask (h, w), whose bits mark `classes`, by default these.

    Empty for a class without a bit.
    """
    marked = (classes or names)[:8]
    return MaskFolder("", tuple(marked.index(name) if name in marked else None for name in names)).select(bits)


def load(
    path: str | Path, device: str | None = None, trust: Iterable[str] = (), precision: str = "32"
) -> Predictor:  # fmt: skip
    """Load a checkpoint for prediction; needs no YAML, and runs no code the file may hold.

    Args:
        path: A `.ckpt` file written by `ibca fit`.
        device: Such as `cpu` or `cuda:0`; default CUDA where there is one.
        trust: Modules to import for a head of your own, such as `my_head`; a checkpoint itself has none imported.
        precision: `32` or `bf16`.

    Raises:
        InputError: When the file is missing or no IBCA checkpoint, or its head is neither of this package nor trusted.
    """
    import_trusted(trust)
    return Predictor(read_checkpoint(path), device, path, precision)
