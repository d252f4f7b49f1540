"""What a run folder holds, read for the report."""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ibca_lightning.run.model_card import NAME, hidden_paths, read_facts
from ibca_lightning.run.run_settings import picture_folders, read_settings, setting
from ibca_lightning.run.tested_figures import figure_files, read_figures
from ibca_lightning.run.tested_samples import Tested, read_tested
from ibca_lightning.run.training_figures import read_training
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.hashed_names import is_hash

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class TestSet:
    """One test set of the run: the content of its `test_metrics.json`, and sample by sample in the order of the ids."""

    name: str  # `test`, or that of one of several
    figures: Mapping[str, Any]
    tested: Tested

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(B, L) probabilities."""
        return self.tested.probabilities.double().numpy()

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(B, L) in {0, 1, -1}."""
        return self.tested.labels.numpy()

    @cached_property
    def groups(self) -> NDArray[np.intp]:
        """(B,) which group, such as a patient, each picture is of, by numbers from 0 on."""
        known: dict[str, int] = {}
        return np.array([known.setdefault(group, len(known)) for group in self.tested.groups], np.intp)

    @cached_property
    def thresholds(self) -> NDArray[np.float64]:
        """(L,) those chosen on the validation set; 0.5 where there are none."""
        stored = self.figures.get("thresholds", {})
        return np.array([stored.get(name, {}).get("threshold", 0.5) for name in self.tested.class_names])

    @cached_property
    def decided(self) -> NDArray[np.bool_]:
        """(B, L) whether a class is predicted, at `thresholds`."""
        return self.scores > self.thresholds

    @cached_property
    def margins(self) -> NDArray[np.float64]:
        """(B,) how surely each picture was decided right, in log odds from the thresholds; NaN without a known label.

        Where every known label was decided right that is the distance of the nearest probability from its threshold.
        Elsewhere it is negative: minus the distances of all that lie on the wrong side. A loss would not do: it counts
        from 0.5, so that a class whose threshold is 0.2 costs more where it is found than where it is missed.
        """
        scores, thresholds = (
            np.log(p / (1 - p)) for p in (own.clip(1e-7, 1 - 1e-7) for own in (self.scores, self.thresholds))
        )
        known, wrong = self.labels >= 0, (self.labels == 1) != self.decided
        distance = np.abs(scores - thresholds)
        least = np.where(known, distance, math.inf).min(axis=1)
        total = (distance * (known & wrong)).sum(axis=1)
        return np.where(known.any(axis=1), np.where((known & wrong).any(axis=1), -total, least), math.nan)


@dataclass(frozen=True)
class Run:
    """A tested run; what it does not have is empty."""

    folder: Path
    config: str  # `config.yaml`, as text in which paths that lead elsewhere are `PATH`
    settings: Mapping[str, Any]  # the same as plain data
    pictures: tuple[str | None, str | None]  # the folders of pictures and of masks that it names
    facts: Mapping[str, Any]  # of its model card
    sets: list[TestSet]  # at least one
    history: Mapping[str, Curve]  # by figure of `metrics.csv` the epochs and the values

    @property
    def hashed(self) -> bool:
        """Whether its names are keyed hashes (`ibca fit --hash_names`): it says so, and they look like it."""
        names = (name for own in self.sets for name in own.tested.ids)
        return self.settings.get("hash_names") is True and all(map(is_hash, names))

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that was tested."""
        name = setting(self.facts, "test.checkpoint")
        own = isinstance(name, str) and Path(name).name == name  # a card that leads elsewhere is not this run's
        return self.folder / "checkpoints" / ((own and name) or "best.ckpt")


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: When it is none, was not tested, or a file is not as `ibca` writes it.
    """
    sets = [_test_set(name, file, read_tested(folder, name)) for name, file in figure_files(folder).items()]
    content = read_settings(folder)
    settings = hidden_paths(content)
    config = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100) if settings else ""
    facts = read_facts(folder / "checkpoints" / NAME)
    return Run(folder, config, settings, picture_folders(content), facts, sets, _history(folder))


def _test_set(name: str, file: Path, tested: Tested) -> TestSet:
    figures = read_figures(file, "test")
    for key in ("per_class", "thresholds"):
        own = figures.get(key, {} if key == "thresholds" else None)
        if not isinstance(own, dict) or not all(isinstance(own.get(c, {}), dict) for c in tested.class_names):
            raise InputError(f"{key} of each class in {file}", reprlib.repr(own), "run ibca test again")
    return TestSet(name, figures, tested)


def _history(run: Path) -> dict[str, Curve]:
    """The columns of `metrics.csv` by epoch, the last value of each; empty where there is no such file."""
    found: dict[str, dict[int, float]] = {}
    for row in read_training(run):
        for name, value in row.items():
            if name not in ("epoch", "step") and math.isfinite(value) and "epoch" in row:
                found.setdefault(name, {})[int(row["epoch"])] = value
    curves = {name: np.array(sorted(values.items()), dtype=np.float64) for name, values in found.items()}
    return {name: (points[:, 0], points[:, 1]) for name, points in curves.items()}
