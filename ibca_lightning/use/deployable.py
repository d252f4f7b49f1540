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
        """Classify pictures (B, C, S, S) uint8, RGB where C is 3, of S x S as the metadata's preprocessing says.

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


def _rounded_down(thresholds: list[float]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """The largest float32 not above each threshold: a float32 probability is above both or above neither."""
    exact = np.asarray(thresholds, np.float64)
    near = exact.astype(np.float32)
    return np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)
