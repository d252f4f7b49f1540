"""The best and the worst test pictures of a run, and where the model looked in them."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.data import storage
from ibca_lightning.data.pictures import drawing
from ibca_lightning.data.pictures.channels import as_rgb
from ibca_lightning.data.pictures.drawing import fitted, heat_maps, share_on
from ibca_lightning.data.pictures.field_of_view import Box
from ibca_lightning.data.pictures.masks import mask_of, read_mask
from ibca_lightning.data.pictures.reading import PictureFile, read_image
from ibca_lightning.report.run import Run, TestSet
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.hashed_names import is_hash
from ibca_lightning.system.pages.html_page import jpeg
from ibca_lightning.use.picture_list import inside
from ibca_lightning.use.predictor import Predictor, lesions

_SIDE = 320  # pixels of a panel's longer side
_PANELS = 5  # classes shown of one picture, unless more were missed


class Panel(NamedTuple):
    """One picture of an exhibit: a JPEG from `html_page.jpeg`, such as the class above it, lines of text below."""

    uri: str
    title: str
    lines: list[str]


@dataclass
class Exhibit:
    """One test picture: which classes are in it, and which were predicted at the tuned thresholds."""

    row: int  # of the test set
    name: str  # its id, or a hash
    present: list[str]
    predicted: list[str]  # with a known label
    unknown: list[str]  # predicted, too, but their label is not known
    panels: list[Panel] = field(default_factory=list)  # the picture and its heat maps, if it was drawn


class View(NamedTuple):
    """A picture as it is drawn and as the model sees it."""

    image: Tensor  # (3, S, S) uint8, what the model sees
    shown: NDArray[np.uint8]  # (h, w, 3) RGB
    box: Box  # where the model's square lies on what is shown, in fractions
    lesions: Tensor | None = None  # (L, h', w') bool of the proportions of what is shown, where they are known
    masks: Tensor | None = None  # (L, S, S) bool, the same on the square


Source = Callable[[str], View | None]


def choose(test_set: TestSet, count: int, rename: Callable[[str], str]) -> tuple[list[Exhibit], list[Exhibit]]:
    """Choose pictures by their margin, without drawing them; at each end as many classes as can be are shown.

    Args:
        test_set: Of a run.
        count: How many at each end, at most; no picture stands in both.
        rename: How they are to be called.

    Returns:
        The surest of those in which every class is decided right (and shows one, if any does), the surest first; and
        of all those that lie furthest on the wrong side, of each class that was missed the worst one before others,
        the worst first. No picture of the first has a lower margin than one of the second.
    """
    order = np.argsort(-test_set.margins, kind="stable")
    order = order[~np.isnan(test_set.margins[order])]
    present, decided = test_set.labels == 1, test_set.decided
    worst = _various(order[::-1], present & ~decided, count)
    right = ((test_set.labels < 0) | (present == decided)).all(axis=1)
    right[worst] = False
    candidates = order[right[order]]
    shows = present[candidates].any(axis=1)
    best = _various(candidates[shows] if shows.any() else candidates, present, count)
    names = np.array(test_set.tested.class_names)

    def exhibit(row: int) -> Exhibit:
        labels, decided = test_set.labels[row], test_set.decided[row]
        classes = (names[where].tolist() for where in (labels == 1, decided & (labels >= 0), decided & (labels < 0)))
        return Exhibit(row, rename(test_set.tested.ids[row]), *classes)

    return [exhibit(row) for row in best], [exhibit(row) for row in worst]


def _various(order: NDArray[np.int64], classes: NDArray[np.bool_], count: int) -> list[int]:
    """The first `count` rows of an order, those before others that have a class (N, L) which no earlier one has."""
    if not len(order):
        return []
    shown = classes[order]
    new = np.unique(shown.argmax(axis=0)[shown.any(axis=0)])  # the first row of each class
    others = np.setdiff1d(np.arange(min(len(order), count + len(new))), new)
    chosen: list[int] = order[np.sort(np.append(new, others)[:count])].tolist()
    return chosen


def draw(predictor: Predictor, source: Source, test_set: TestSet, exhibit: Exhibit) -> float:
    """Add its panels to an exhibit; none where the source does not have the picture.

    Returns:
        By how much the probabilities of the model differ from those that were tested, at most.

    Raises:
        InputError: When the picture or its mask cannot be read.
    """
    row = exhibit.row
    view = source(test_set.tested.ids[row])
    if view is None:
        return 0.0
    probabilities, maps = (part[0] for part in predictor.forward(view.image[None]))
    present, decided = test_set.labels[row] == 1, test_set.decided[row]
    missed = present & ~decided
    shown = np.flatnonzero(present | decided).tolist()
    # What was missed is always shown; then what was found, then false alarms; of each kind the surest first.
    order = sorted(shown, key=lambda at: (not missed[at], not present[at], -test_set.scores[row, at]))
    order = order[: max(_PANELS, int(missed.sum()))]
    small = fitted(view.shown, _SIDE, _SIDE)  # a small one is enlarged, so that the map over it is smooth
    exhibit.panels.append(Panel(jpeg(small), "picture", []))
    outlines = [None if view.lesions is None else view.lesions[label].numpy() for label in order]
    panels = [
        drawing.Panel(maps[label].numpy(), (), outline, view.box)
        for label, outline in zip(order, outlines, strict=True)
    ]
    for label, drawn in zip(order, heat_maps(small, panels), strict=True):
        p, threshold = test_set.scores[row, label], test_set.thresholds[label]
        verdict = ("found" if decided[label] else "missed") if present[label] else "false alarm"
        if test_set.labels[row, label] < 0:
            verdict = "label unknown"
        lines = [f"{verdict}: p = {p:.2f}", f"threshold {threshold:.2f}"]
        lines.append(f"{maps.shape[1]} x {maps.shape[2]} cells")
        if view.masks is not None and bool(view.masks[label].any()):
            lines.append(f"{share_on(maps[label], view.masks[label]):.0%} on the lesion")
        exhibit.panels.append(Panel(jpeg(drawn), test_set.tested.class_names[label], lines))
    return float(np.abs(probabilities.double().numpy() - test_set.scores[row]).max())


def from_files(predictor: Predictor, folder: str, mask_dir: str | None, rename: Callable[[str], str] = str) -> Source:
    """Find pictures as files below a folder, by their id as `rename` has it, and masks; a picture may have none.

    Raises:
        InputError: When there is no such folder.
    """
    for what, path in (("pictures (--images)", folder), ("masks (--mask_dir)", mask_dir)):
        if path is not None and not storage.is_folder(path):
            raise InputError(f"a folder of {what} at {path}", "none", "correct it")

    below = () if rename is str else storage.files_below(folder)
    names = {rename(name): name for name in below}

    def find(name: str) -> View | None:
        name = names.get(name, name)
        path = os.path.join(folder, inside(name))
        if not storage.is_file(path):
            return None
        file, mask = PictureFile(path), mask_of(inside(name), mask_dir)
        bits = read_mask(mask) if mask else None
        seen = predictor.see(file, bits)
        planes = None if bits is None else lesions(bits, predictor.spec.class_names)
        shown = file.channels(predictor.spec.in_channels, _SIDE, predictor.bit_depth)
        return View(seen.image, as_rgb(shown), seen.box, planes, seen.masks)

    return find


def of_the_run(run: Run, limit: int = 12) -> list[tuple[str, str]]:
    """The pictures that fit and test drew, test pictures first: file name without ending, and picture."""
    files = sorted(run.folder.glob("attention/*.png"), key=lambda file: (not file.name.startswith("test_"), file.name))
    if run.hashed:  # what an earlier run left here may have names
        files = [file for file in files if is_hash(file.stem.rpartition("_")[2])]
    found = []
    for file in files[:limit]:
        with suppress(InputError):  # one that cannot be read
            found.append((file.stem, jpeg(fitted(read_image(str(file)), 1200))))
    return found
