"""One picture read once for several models, what each says of it, and that as a figure and as numbers.

Shapes: L labels, H x W attention grid.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ibca_lightning.data.pictures.channels import as_rgb
from ibca_lightning.data.pictures.drawing import Panel, class_panel, fitted
from ibca_lightning.data.pictures.figure import explanation, stacked
from ibca_lightning.data.pictures.masks import Bits, read_mask, resize_bits
from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.use.prediction import found_line
from ibca_lightning.use.predictor import Predictor, Seen, lesions

_GAP = 8  # pixels between pictures side by side


@dataclass(frozen=True)
class Reading:
    """A picture, read for all models.

    Attributes:
        name: To be shown.
        pixels: (h, w, 3) uint8 RGB, as it is drawn.
        size: Height and width of the file.
        bits: (h', w') uint8, its mask; None where there is none.
        seen: As each model sees it.
    """

    name: str
    pixels: np.ndarray
    size: tuple[int, int]
    bits: Bits | None
    seen: list[Seen]


@dataclass(frozen=True)
class Said:
    """What one model says of one picture: probabilities (L,) and attention (L, H, W)."""

    model: str
    predictor: Predictor
    seen: Seen
    probabilities: np.ndarray
    attention: Tensor

    @property
    def decisions(self) -> np.ndarray:
        """(L,) bool."""
        return np.asarray(self.probabilities > self.predictor.spec.thresholds)


def read(
    models: Mapping[str, Predictor], name: str, path: str | PictureFile, mask: str | None, max_side: int
) -> Reading:
    """Read a picture and its mask; what is kept of them is no larger than what is drawn.

    Raises:
        PictureError: One cannot be read.
    """
    file = path if isinstance(path, PictureFile) else PictureFile(path)
    bits = read_mask(mask) if mask else None
    classes = next(iter(models.values())).spec.class_names
    seen = [model.see(file, bits, classes) for model in models.values()]
    one = next(iter(models.values()))
    pixels = as_rgb(file.channels(one.spec.in_channels, depth=one.bit_depth))
    small = fitted(pixels, max_side)
    if bits is not None:
        bits = resize_bits(bits, min(len(bits), len(small)), min(bits.shape[1], small.shape[1]))
    return Reading(name, small.copy() if small is not pixels else small, pixels.shape[:2], bits, seen)


def say(models: Mapping[str, Predictor], batch: list[Reading]) -> Iterator[list[Said]]:
    """What the models say of each picture of a batch."""
    outputs = [
        predictor.forward(torch.stack([own.seen[at].image for own in batch]))
        for at, predictor in enumerate(models.values() if batch else ())
    ]
    for row, own in enumerate(batch):
        yield [
            Said(name, predictor, seen, probabilities[row].numpy(), attention[row])
            for (name, predictor), seen, (probabilities, attention) in zip(
                models.items(), own.seen, outputs, strict=True
            )
        ]  # fmt: skip


def figure(own: Reading, said: list[Said], classes: list[str], asked: list[str] | None, max_side: int) -> np.ndarray:
    """Of one model the picture and a panel for each class; of several a row for each class, a column for each model.

    Args:
        own: The picture.
        said: What each model says of it.
        classes: That all of them have.
        asked: Those to be shown; None: those that a model finds.
        max_side: Of the picture in the figure, in pixels.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    places = [{name: at for at, name in enumerate(one.predictor.spec.class_names)} for one in said]
    outlines = None if own.bits is None else lesions(own.bits, list(places[0]))

    def outlined(name: str) -> Tensor | None:
        return None if outlines is None else outlines[places[0][name]]

    def panel(one: Said, at: int, name: str, title: str) -> Panel:
        return class_panel(
            title, float(one.probabilities[at]), one.predictor.spec.thresholds[at], one.attention[at],
            one.seen.masks[at] if one.seen.masks is not None else None, outlined(name), one.seen.box,
        )  # fmt: skip

    found = [name for name in classes if any(one.decisions[at[name]] for one, at in zip(said, places, strict=True))]
    shown = found if asked is None else asked
    if len(said) == 1 or not shown:
        panels = [Panel(None, (own.name, found_line(found)))]
        panels += [panel(said[0], places[0][name], name, name) for name in shown]
        return explanation(own.pixels, panels, max_side)
    panels = []
    for name in shown:
        lesion = outlined(name)
        panels.append(Panel(None, (name, own.name), None if lesion is None else lesion.numpy()))
        panels += [panel(one, at[name], name, one.model) for one, at in zip(said, places, strict=True)]
    return explanation(own.pixels, panels, max_side, columns=1 + len(said))


def side_by_side(pictures: Sequence[tuple[np.ndarray, Panel]], columns: int, max_side: int) -> Image.Image:
    """Pictures (h, w, 3) uint8 RGB, each with its own title, in rows."""
    tiles = [explanation(pixels, [panel], max_side) for pixels, panel in pictures]
    height, width = (max(tile.shape[axis] for tile in tiles) + _GAP for axis in (0, 1))
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    for at, tile in enumerate(tiles):
        sheet.paste(Image.fromarray(tile), (at % columns * width, at // columns * height))
    return sheet


def numbers(own: Reading, said: list[Said]) -> dict[str, Any]:
    """What the NPZ holds; of several models each array as `MODEL/array`."""
    arrays: dict[str, Any] = {"size": np.array(own.size)}
    for one in said:
        start = "" if len(said) == 1 else f"{one.model}/"
        arrays |= {
            f"{start}class_names": np.array(one.predictor.spec.class_names),
            f"{start}probabilities": one.probabilities,
            f"{start}thresholds": np.array(one.predictor.spec.thresholds),
            f"{start}decisions": one.decisions,
            f"{start}attention": one.attention.numpy(),
            f"{start}box": np.array(one.seen.box) * (own.size * 2),
        }
    return arrays


def sheet(figures: list[np.ndarray]) -> np.ndarray:
    """All figures (h, w, 3) uint8 RGB below each other, in their own colours."""
    width = max(each.shape[1] for each in figures)
    padded = [np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255) for each in figures]
    return stacked(padded)
