"""What the test set of a run says of its model's decisions: how often one like this was right, and in which pictures.

Shapes: N test pictures, L labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.model.checkpoint import ModelSpec
from ibca_lightning.run.model_card import NAME, read_facts
from ibca_lightning.run.run_settings import picture_folders, read_settings
from ibca_lightning.run.tested_figures import figure_files, read_figures
from ibca_lightning.run.tested_samples import Tested, read_tested
from ibca_lightning.system.errors import InputError
from ibca_lightning.use.picture_list import inside


@dataclass(frozen=True)
class Share:
    """How many of the test pictures with one decision for one class had it right.

    Attributes:
        right: Pictures.
        of: Those with this decision whose label is known.
        interval: 95 %, of the share, as `ibca test` wrote it by resampling groups; None where it wrote none.
    """

    right: int
    of: int
    interval: list[float] | None


@dataclass(frozen=True)
class Near:
    """A test picture near another one.

    Attributes:
        name: Its id.
        distance: Mean absolute difference of the probabilities.
        there: Classes that are in it.
        found: Classes that the model found in it.
    """

    name: str
    distance: float
    there: list[str]
    found: list[str]


@dataclass(frozen=True)
class TrackRecord:
    """One test set of the run of a checkpoint.

    Attributes:
        name: Of the test set.
        tested: Its pictures.
        thresholds: (L,) of the checkpoint.
        folder: Below which its pictures lie, by their ids; None where it is not known.
        intervals: By class, of the figures at these thresholds.
    """

    name: str
    tested: Tested
    thresholds: list[float]
    folder: str | None
    intervals: Mapping[str, Any]

    def share(self, label: int, present: bool) -> Share:
        """How often this decision was right: with `present` the precision at the threshold, else of the absent ones."""
        with_it = (self._decided[:, label] == present) & (self._labels[:, label] >= 0)
        right = with_it & (self._labels[:, label] == present)
        own = self.intervals.get(self.tested.class_names[label], {})
        return Share(int(right.sum()), int(with_it.sum()), own.get("precision") if present and with_it.any() else None)

    def nearest(self, probabilities: NDArray[np.float32], right: bool) -> list[Near]:
        """Test pictures in which every known label was decided right, or not so; the nearest first."""
        distances = np.abs(self._scores - probabilities).mean(axis=1)
        known = self._labels >= 0
        wrong = (known & (self._decided != (self._labels == 1))).any(axis=1)
        names = np.array(self.tested.class_names)
        return [
            Near(
                self.tested.ids[row], float(distances[row]), names[self._labels[row] == 1].tolist(),
                names[self._decided[row]].tolist(),
            )
            for row in np.argsort(distances, kind="stable").tolist()
            if known[row].any() and wrong[row] != right
        ]  # fmt: skip

    def path(self, near: Near) -> Path | None:
        """The file of a test picture; None where it is not there."""
        path = None if self.folder is None else Path(self.folder, inside(near.name))
        return path if path is not None and path.is_file() else None

    @cached_property
    def _scores(self) -> NDArray[np.float32]:
        return self.tested.probabilities.numpy()

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        return self.tested.labels.numpy()

    @cached_property
    def _decided(self) -> NDArray[np.bool_]:
        return np.asarray(self._scores > np.asarray(self.thresholds))


def read_track_record(checkpoint: Path, spec: ModelSpec, folder: str | None = None) -> TrackRecord:
    """Read what `ibca test` left in the run folder of a checkpoint, `RUN/checkpoints/NAME.ckpt`.

    Args:
        checkpoint: The file.
        spec: What it says of its model.
        folder: Below which the test pictures lie; default where the run's `config.yaml` says.

    Raises:
        InputError: When it was not tested, the figures are those of another checkpoint, or a file is damaged.
    """
    run = checkpoint.resolve().parent.parent
    (name, file), *_ = figure_files(run).items()
    figures, tested = read_figures(file, "test"), read_tested(run, name)
    stored, intervals = (_by_class(figures, key, file) for key in ("thresholds", "tuned_per_class_intervals"))
    used = [stored.get(own, {}).get("threshold") for own in spec.class_names]
    test = read_facts(checkpoint.resolve().parent / NAME).get("test")
    of = test.get("checkpoint") if isinstance(test, dict) else checkpoint.name  # as far as is known
    if tested.class_names != spec.class_names or used != spec.thresholds or of != checkpoint.name:
        what = f"figures of {checkpoint.name} in {file}"
        raise InputError(what, "those of another checkpoint", "run ibca test on this one")
    folder = picture_folders(read_settings(run))[0] if folder is None else folder
    return TrackRecord(name, tested, spec.thresholds, folder, intervals)


def _by_class(figures: Mapping[str, Any], key: str, file: Path) -> dict[str, dict[str, Any]]:
    own = figures.get(key, {})
    if not isinstance(own, dict) or not all(isinstance(value, dict) for value in own.values()):
        raise InputError(f"{key} of each class in {file}", type(own).__name__, "run ibca test again")
    return own
