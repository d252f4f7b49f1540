"""The whole way from pixels to decisions as one module of tensors: what `ibca export` writes into a file.

Shapes: B images, S picture side, L labels, H x W attention grid.
"""

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ibca_lightning.model.checkpoint import ModelSpec
from ibca_lightning.use.predictor import Predictor

INPUT, OUTPUTS = "images", ("probabilities", "decisions", "attention")


class Deployed(nn.Module):
    """A predictor's model, taken and not copied, with normalisation, calibration and thresholds inside."""

    thresholds: Tensor

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor_forward = predictor.outputs
        self.model = predictor.model
        self.register_buffer("thresholds", torch.from_numpy(_rounded_down(predictor.spec.thresholds)))
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify pictures (B, C, S, S) uint8, RGB where C is 3, of S x S as the metadata's `reading` says.

        Returns:
            Probabilities (B, L) float32, decisions (B, L) bool, attention (B, L, H, W) float32.
        """
        probabilities, attention = self.predictor_forward(images)
        return probabilities, probabilities > self.thresholds, attention


def program_of(predictor: Predictor) -> ExportedProgram:
    """Trace `Deployed` of a checkpoint on the CPU, with a free batch dimension."""
    side = predictor.spec.image_size
    example = torch.zeros(
        2, predictor.spec.in_channels, side, side, dtype=torch.uint8
    )  # a batch of 1 would be taken for a constant
    with torch.no_grad():
        shapes = {INPUT: {0: Dim("batch")}}
        return torch.export.export(Deployed(predictor), (example,), dynamic_shapes=shapes, strict=False)


def metadata(spec: ModelSpec) -> dict[str, str]:
    """What a user of the exported file has to know of the model, each value a string; lists and dicts as JSON."""
    facts: dict[str, Any] = {
        "class_names": spec.class_names,
        "thresholds": spec.thresholds,
        "calibration": spec.calibration or {"kind": "none"},
        "image_size": spec.image_size,
        "preprocessing": spec.preprocessing,
        "reading": _reading(spec),
        "input": f"{INPUT}: uint8 (batch, {spec.in_channels}, {spec.image_size}, {spec.image_size})"
        f"{', RGB' * (spec.in_channels == 3)}, 0-255",
        "outputs": "probabilities: float32 (batch, classes); decisions: bool (batch, classes), probability above the "
        "class's threshold; attention: float32 (batch, classes, rows, columns), each map sums to 1",
        "backbone": spec.backbone,
        "head": str(spec.head["class_path"]),
        "ibca_version": spec.version,
        "limits": "For research; not a medical device.",
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}


def _reading(spec: ModelSpec) -> str:
    """From a file to the input, in words: what `Transform.read` and `Transform.prepare` do, to the pixel."""
    side, given = spec.image_size, spec.preprocessing
    depth = given.get("bit_depth", "as many (8, 10, 12, 14, 16) as hold the picture's largest value")
    own = ["two pictures are joined side by side (data.join_images)"] * ("pair" in given)
    own += ["the box of the lit disc is cut out, and has that short side"] * (given.get("crop", "none") != "none")
    form = f"{side} x {side}, whatever the proportions"
    if given.get("resize") == "pad":
        form = f"a long side of {side} and the short one in proportion, rounded; black round it, in the middle"
    return (
        f"1. A JPEG is decoded at 1/8, else 1/4, else 1/2 of its size where that leaves a short side of {side} or more "
        "(OpenCV's IMREAD_REDUCED_COLOR_8, _4, _2), all else whole; EXIF orientation is applied, transparency dropped. "
        f"2. Of more than 8 bits: the upper 8 of {depth}. {''.join(f'Then {step}. ' for step in own)}"
        f"3. OpenCV's resize, INTER_AREA where a side shrinks to half or less, else INTER_LINEAR, to {form}. "
        "With the package: ibca_lightning.load(CKPT).see(FILE).image"
    )


def _rounded_down(thresholds: list[float]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """The largest float32 not above each threshold: a float32 probability is above both or above neither."""
    exact = np.asarray(thresholds, np.float64)
    near = exact.astype(np.float32)
    return np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)
