"""What models say of uploaded pictures, and what their test sets say of that: for the page, for programs, as CSV."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from threading import Event
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ibca_lightning.data.pictures.channels import as_rgb
from ibca_lightning.data.pictures.drawing import Panel, fitted, heat_maps
from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.metrics.columns import decisions, digits, excel_safe, prediction_columns
from ibca_lightning.metrics.decision import FEW
from ibca_lightning.system.errors import InputError, PictureError, shortened
from ibca_lightning.system.pages.html_page import jpeg
from ibca_lightning.system.whole_files import csv_lines
from ibca_lightning.use import explanation
from ibca_lightning.use.app.track_record import Near, Share, TrackRecord
from ibca_lightning.use.predictor import Predictor

_SIDE, _THUMB = 512, 240  # pixels of a picture's longer side, and of a test picture's
_NEAREST = 3  # right ones, and as many wrong ones
_STEP = 8  # pictures that a model is given at once


class Upload(NamedTuple):
    """A picture from outside: what it is called, which is never taken for a path, and its bytes."""

    name: str
    data: NDArray[np.uint8]


@dataclass(frozen=True)
class Model:
    """A model of the page.

    Attributes:
        name: What it is called there.
        predictor: The model.
        record: What its test set says; a line of why there is none.
        card: Its model card as HTML; empty where there is none.
        pictures: Whether test pictures may be shown.
    """

    name: str
    predictor: Predictor
    record: TrackRecord | str
    card: str = ""
    pictures: bool = True

    @property
    def kind(self) -> str:
        """Head and backbone."""
        spec = self.predictor.spec
        return f"{spec.head['class_path'].rpartition('.')[2]} on {spec.backbone}"


@dataclass(frozen=True)
class Finding:
    """What a model says of one class in one picture.

    Attributes:
        probability: In [0, 1], calibrated where the model is.
        threshold: Above which the class is found.
        present: Whether it is.
        few: Whether the threshold rests on few positives of the validation set; None where that is not known.
        tested: How often this decision was right in the test set; None where it is not known.
    """

    probability: float
    threshold: float
    present: bool
    few: bool | None
    tested: Share | None


class Thumb(NamedTuple):
    """A test picture to be shown, as a JPEG from `html_page.jpeg`."""

    uri: str
    near: Near


@dataclass(frozen=True)
class Opinion:
    """What one model says of one picture.

    Attributes:
        model: The model.
        findings: By class.
        maps: By class its heat map, a JPEG.
        right: The nearest test pictures that it had right.
        wrong: Those that it had not.
    """

    model: Model
    findings: dict[str, Finding]
    maps: dict[str, str]
    right: list[Thumb]
    wrong: list[Thumb]

    def classes(self, present: bool) -> list[str]:
        """Those that were found, or not; the surest first."""
        own = [name for name, finding in self.findings.items() if finding.present == present]
        return sorted(own, key=lambda name: -self.findings[name].probability)


def opinions(models: Sequence[Model], upload: Upload) -> tuple[str, list[Opinion]]:
    """The picture, a JPEG, and what each model says of it.

    Raises:
        PictureError: It cannot be read.
    """
    own = explanation.read({model.name: model.predictor for model in models}, upload.name, _file(upload), None, _SIDE)
    shown = fitted(own.pixels, _SIDE, _SIDE)  # a small one is enlarged, so that the map over it is smooth
    (said,) = explanation.say({model.name: model.predictor for model in models}, [own])
    panels = [Panel(attention.numpy(), box=one.seen.box) for one in said for attention in one.attention]
    result, maps = [], map(jpeg, heat_maps(shown, panels))  # of all models on one scale
    for model, one in zip(models, said, strict=True):
        named = {name: next(maps) for name in one.predictor.spec.class_names}
        near = [[*islice(_thumbs(model, one.probabilities, right), _NEAREST)] for right in (True, False)]
        result.append(Opinion(model, _findings(model, one.probabilities), named, *near))
    return jpeg(shown), result


def answer(models: Sequence[Model], uploads: Sequence[Upload], stopping: Event) -> dict[str, Any]:
    """What the models say of each picture, as plain data; of those that are left when `stopping` is set, nothing.

    Returns:
        `pictures`: for each `id` and `models`, which has by name of the model and of the class a `Finding`;
        `failed`: for each that could not be read `id` and `reason`.
    """
    done, failed = [], []
    for at in range(0, len(uploads), _STEP):
        names, seen = [], []
        for upload in () if stopping.is_set() else uploads[at : at + _STEP]:
            try:
                file = _file(upload)
                seen.append([model.predictor.see(file).image for model in models])
                names.append(upload.name)
            except PictureError as error:
                failed.append({"id": upload.name, "reason": _reason(error)})
        said = [
            model.predictor.forward(torch.stack(images))[0].numpy()
            for model, images in zip(models, zip(*seen, strict=True), strict=bool(seen))
        ]
        for row, name in enumerate(names):
            own = {
                model.name: {name: asdict(finding) for name, finding in _findings(model, rows[row]).items()}
                for model, rows in zip(models, said, strict=True)
            }
            done.append({"id": name, "models": own})
    return {"pictures": done, "failed": failed}


def as_csv(models: Sequence[Model], answered: dict[str, Any], safe: bool) -> dict[str, tuple[str, str]]:
    """An `answer` as the files that `ibca predict` writes: by name the header and the rows.

    Args:
        models: Those that were asked.
        answered: The answer.
        safe: Whether an apostrophe stands before what a spreadsheet would run.
    """
    cell = excel_safe if safe else str
    files = {}
    for model in models:
        rows = []
        for picture in answered["pictures"]:
            own = picture["models"][model.name].values()
            row = [finding["probability"] for finding in own]
            rows.append([cell(picture["id"]), *digits(row), *decisions(row, model.predictor.spec.thresholds)])
        header = map(cell, prediction_columns(model.predictor.spec.class_names, labelled=False))
        name = "predictions.csv" if len(models) == 1 else f"predictions-{model.name}.csv"
        files[name] = "".join(csv_lines([[*header]])), "".join(csv_lines(rows))
    failed = [(cell(own["id"]), own["reason"]) for own in answered["failed"]]
    return files | {"failed.csv": ("id,reason\n", "".join(csv_lines(failed)))}


def _file(upload: Upload) -> PictureFile:
    if not len(upload.data):
        raise PictureError(f"a picture in {upload.name}", "0 bytes", "choose another")
    return PictureFile(upload.name, upload.data)


def _reason(error: PictureError) -> str:
    return shortened(f"expected {error.expected}, got {error.got}")


def _findings(model: Model, probabilities: NDArray[np.float32]) -> dict[str, Finding]:
    spec, record = model.predictor.spec, model.record
    found = {}
    for at, (name, value) in enumerate(zip(spec.class_names, probabilities.tolist(), strict=True)):
        present = value > spec.thresholds[at]
        few = spec.threshold_positives[at] < FEW if spec.threshold_positives else None
        tested = record.share(at, present) if isinstance(record, TrackRecord) else None
        found[name] = Finding(value, spec.thresholds[at], present, few, tested)
    return found


def _thumbs(model: Model, probabilities: NDArray[np.float32], right: bool) -> Iterator[Thumb]:
    """The nearest test pictures whose files are there and can be read."""
    record = model.record
    if not model.pictures or not isinstance(record, TrackRecord):
        return
    for near in record.nearest(probabilities, right):
        path = record.path(near)
        with suppress(InputError):
            if path is not None:
                predictor = model.predictor
                pixels = PictureFile(str(path)).channels(predictor.spec.in_channels, _THUMB, predictor.bit_depth)
                yield Thumb(jpeg(fitted(as_rgb(pixels), _THUMB)), near)
