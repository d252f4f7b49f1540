"""What a trained model says of one picture, as numbers, as a figure and in a notebook: `Predictor.predict` gives it."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from ibca_lightning.data.pictures.channels import as_rgb
from ibca_lightning.data.pictures.field_of_view import Box
from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import class_indices
from ibca_lightning.system.pages.html_page import jpeg, render

_ROWS = 20  # classes in the table of a notebook


@dataclass(frozen=True)
class Picture:
    """A picture that may be shown: a file, read again when it is, or pixels that are no larger than what is shown."""

    given: str | np.ndarray
    box: Box  # where the model's square lies on it, as in `Seen`
    channels: int
    depth: int | None

    def pixels(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB.

        Raises:
            InputError: The file cannot be read.
        """
        if isinstance(self.given, str):
            return as_rgb(PictureFile(self.given).channels(self.channels, depth=self.depth))
        return as_rgb(self.given)


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture.

    Attributes:
        names: L class names.
        probabilities: (L,) float32.
        decisions: (L,) bool, probability above the class's threshold.
        attention: (L, H, W) float32, each map sums to 1.
        thresholds: (L,) those thresholds.
        picture: Of what the model says this.
    """

    names: list[str]
    probabilities: np.ndarray
    decisions: np.ndarray
    attention: np.ndarray
    thresholds: np.ndarray
    picture: Picture = field(repr=False)

    def plot(self, classes: str | Sequence[str] | None = None, max_side: int = 512) -> Image.Image:
        """The picture, and beside it where the model looked, as `ibca explain` draws it.

        Args:
            classes: Those to be shown; default those that were found.
            max_side: Of the picture, in pixels.

        Raises:
            InputError: There is no such class, or the picture's file is gone.
        """
        from ibca_lightning.data.pictures.drawing import Panel, class_panel
        from ibca_lightning.data.pictures.figure import explanation

        found = [name for name, decided in zip(self.names, self.decisions, strict=True) if decided]
        wanted = [classes] if isinstance(classes, str) else found if classes is None else classes
        given = self.picture.given
        panels = [Panel(None, (os.path.basename(given) if isinstance(given, str) else "", found_line(found)))]
        panels += [
            class_panel(
                self.names[at], float(self.probabilities[at]), float(self.thresholds[at]),
                torch.from_numpy(self.attention[at]), box=self.picture.box,
            )
            for at in (class_indices(wanted, self.names) if wanted else [])
        ]  # fmt: skip
        return Image.fromarray(explanation(self.picture.pixels(), panels, max_side))

    def _repr_html_(self) -> str:
        """For notebooks: the classes, the surest first, and the picture, where it is still there."""
        order = np.argsort(-self.probabilities, kind="stable")[:_ROWS].tolist()
        rows = [(self.names[at], self.probabilities[at], self.thresholds[at], self.decisions[at]) for at in order]
        uri = None
        with suppress(InputError):
            uri = jpeg(np.asarray(self.plot()))
        return str(render("use/prediction.html.j2", rows=rows, others=len(self.names) - len(rows), uri=uri))


def found_line(names: Sequence[str]) -> str:
    """Below a picture: the classes that were found."""
    return f"found: {', '.join(names) or 'none'}"
