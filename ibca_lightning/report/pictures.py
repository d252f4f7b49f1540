"""The best and the worst test pictures of a run, and where the model looked in them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.data.pictures.drawing import full_scale, heat_map, share_on
from ibca_lightning.data.pictures.field_of_view import Box
from ibca_lightning.data.pictures.masks import mask_of, read_mask
from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.report.run import Run, TestSet
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.html_page import jpeg
from ibca_lightning.use.predictor import Predictor, lesions

_SIDE = 320  # pixels of a panel's longer side
_PANELS = 5  # classes shown of one picture
_WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Panel:
    """One picture of an exhibit.

    Attributes:
        uri: A JPEG, from `html_page.jpeg`.
        title: Such as the class.
        lines: Below it, as plain text.
    """

    uri: str
    title: str
    lines: list[str]


@dataclass(frozen=True)
class Exhibit:
    """One test picture.

    Attributes:
        name: Its id, or a hash.
        loss: Mean binary cross-entropy over its known labels.
        present: Classes that are in it.
        predicted: Classes with a known label that were predicted at the tuned thresholds.
        unknown: Predicted classes whose label is not known.
        panels: The picture and its heat maps; empty where it was not drawn.
    """

    name: str
    loss: float
    present: list[str]
    predicted: list[str]
    unknown: list[str]
    panels: list[Panel]


@dataclass(frozen=True)
class View:
    """A picture as it is drawn and as the model sees it.

    Attributes:
        image: (3, S, S) uint8, what the model sees.
        shown: (h, w, 3) uint8 RGB.
        box: Where the model's square lies on what is shown, in fractions.
        lesions: (L, h', w') bool of the proportions of what is shown; None where none are known.
        masks: (L, S, S) bool, the same on the square.
    """

    image: Tensor
    shown: NDArray[np.uint8]
    box: Box
    lesions: Tensor | None = None
    masks: Tensor | None = None


Source = Callable[[str], View | None]


def choose(test_set: TestSet, count: int) -> tuple[list[int], list[int]]:
    """Choose pictures by their loss.

    Args:
        test_set: Of a run.
        count: How many at each end, at most; no picture stands in both.

    Returns:
        Rows with the least loss among the pictures that show a class (of all where none does), the best first; and rows
        with the largest loss, the worst first.
    """
    order = np.argsort(test_set.losses, kind="stable")
    order = order[~np.isnan(test_set.losses[order])]
    worst = order[::-1][: min(count, len(order))].tolist()
    shows = (test_set.labels == 1).any(axis=1)
    candidates = order[shows[order]] if shows[order].any() else order
    return [row for row in candidates.tolist() if row not in worst][:count], worst


def exhibit(test_set: TestSet, row: int) -> Exhibit:
    """Describe one picture, without drawing it."""
    names = np.array(test_set.tested.class_names)
    return Exhibit(
        test_set.tested.ids[row],
        float(test_set.losses[row]),
        names[test_set.labels[row] == 1].tolist(),
        names[test_set.decided[row] & (test_set.labels[row] >= 0)].tolist(),
        names[test_set.decided[row] & (test_set.labels[row] < 0)].tolist(),
        [],
    )


def draw(predictor: Predictor, source: Source, test_set: TestSet, row: int) -> tuple[Exhibit, float]:
    """Draw one picture.

    Args:
        predictor: The model.
        source: Finds a picture by its id.
        test_set: Of a run.
        row: Of the picture.

    Returns:
        The exhibit, without panels where the source does not have the picture; and by how much the probabilities of the
        model differ from those that were tested, at most.

    Raises:
        InputError: When the picture or its mask cannot be read.
    """
    described = exhibit(test_set, row)
    view = source(test_set.tested.ids[row])
    if view is None:
        return described, 0.0
    probabilities, maps = (part[0] for part in predictor.forward(view.image[None]))
    present, decided = test_set.labels[row] == 1, test_set.decided[row]
    shown = np.flatnonzero(present | decided)
    # The surest first, and those that are there before false alarms.
    order = sorted(shown.tolist(), key=lambda label: (not present[label], -test_set.scores[row, label]))
    small = _panel_size(view.shown)
    panels = [Panel(jpeg(small, _SIDE), "picture", [])]
    for label in order[:_PANELS]:
        attention = maps[label].numpy()
        outline = view.lesions[label].numpy() if view.lesions is not None else None
        p, threshold = test_set.scores[row, label], test_set.thresholds[label]
        verdict = ("found" if decided[label] else "missed") if present[label] else "false alarm"
        if test_set.labels[row, label] < 0:
            verdict = "label unknown"
        lines = [f"{verdict}: p = {p:.2f}", f"threshold {threshold:.2f}"]
        lines.append(f"yellow: {full_scale(attention) * attention.size:.1f} x uniform; line: half of it")
        if view.masks is not None and bool(view.masks[label].any()):
            lines.append(f"{share_on(maps[label], view.masks[label]):.0%} on the lesion")
        drawn = heat_map(small, attention, view.box, outline).astype(np.uint8)
        panels.append(Panel(jpeg(drawn, _SIDE), test_set.tested.class_names[label], lines))
    difference = np.abs(probabilities.double().numpy() - test_set.scores[row]).max()
    return replace(described, panels=panels), float(difference)


def from_files(predictor: Predictor, folder: str, mask_dir: str | None) -> Source:
    """Find pictures as files below a folder, by their id, and masks likewise; a picture may have none.

    Raises:
        InputError: When there is no such folder.
    """
    for option, path in (("--images", folder), ("--mask_dir", mask_dir)):
        if path is not None and not os.path.isdir(path):
            raise InputError(f"a folder at {option} {path}", "none", "correct it")

    def find(name: str) -> View | None:
        path = Path(folder, name)
        if ".." in Path(name).parts or not path.is_file():
            return None
        file, mask = PictureFile(str(path)), mask_of(name, mask_dir)
        bits = read_mask(mask) if mask else None
        seen, names = predictor.see(file, bits), predictor.spec.class_names
        return View(
            seen.image, file.pixels(_SIDE), seen.box, None if bits is None else lesions(bits, names), seen.masks
        )

    return find


def from_data(dataset: Any, ids: list[str]) -> Source:
    """Find pictures in a data set, as the model sees them.

    Args:
        dataset: Of items as a data module's.
        ids: Of the tested pictures, in the order of the data set.
    """
    table = getattr(dataset, "table", None)
    places: Mapping[str, int] = {name: at for at, name in enumerate(ids)}
    if table is not None:
        places = {table.name(row): row for row in range(len(table))}

    def find(name: str) -> View | None:
        at = places.get(name, len(dataset))
        item = dataset[at] if at < len(dataset) else {}
        if item.get("id") != name or "image" not in item:
            return None
        shown = np.ascontiguousarray(item["image"].permute(1, 2, 0).numpy())
        return View(item["image"], shown, _WHOLE, item.get("mask"), item.get("mask"))

    return find


def of_the_run(run: Run, limit: int = 12) -> list[tuple[str, str]]:
    """The pictures that fit and test drew, test pictures first: file name without ending, and picture."""
    files = sorted(run.folder.glob("attention/*.png"), key=lambda file: (not file.name.startswith("test_"), file.name))
    found = []
    for file in files[:limit]:
        pixels = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if pixels is not None:
            found.append((file.stem, jpeg(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), 1200)))
    return found


def _panel_size(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brought to the size of a panel: small ones are enlarged, so that the map over them is smooth."""
    height, width = pixels.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), np.uint8)
