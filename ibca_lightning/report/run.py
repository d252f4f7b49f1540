"""What a run folder holds, read for the report."""

import math
import os
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
from ibca_lightning.run.tested_figures import figure_files, read_figures
from ibca_lightning.run.tested_samples import Tested, read_tested
from ibca_lightning.run.training_figures import read_training
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.hashed_names import is_hash
from ibca_lightning.system.strangers import regular, told
from ibca_lightning.system.yaml_text import load

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
    def thresholds(self) -> NDArray[np.float64]:
        """(L,) those chosen on the validation set; 0.5 where there are none."""
        stored = self.figures.get("thresholds", {})
        return np.array([stored.get(name, {}).get("threshold", 0.5) for name in self.tested.class_names])

    @cached_property
    def decided(self) -> NDArray[np.bool_]:
        """(B, L) whether a class is predicted, at `thresholds`."""
        return self.scores > self.thresholds

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """(B,) binary cross-entropy of each picture, mean over its known labels; NaN where it has none."""
        right = np.where(self.labels == 1, self.scores, 1 - self.scores).clip(1e-7, 1)
        known = self.labels >= 0
        total, count = (-np.log(right) * known).sum(axis=1), known.sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), math.nan)


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
        return self.folder / "checkpoints" / (self.facts.get("test", {}).get("checkpoint") or "best.ckpt")


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: When it is none, was not tested, or a file is not as `ibca` writes it.
    """
    if not folder.is_dir():
        raise InputError(f"a run folder at {folder}", "a file" if folder.exists() else "nothing there", "correct it")
    sets = [_test_set(name, file, read_tested(folder, name)) for name, file in figure_files(folder).items()]
    content = _settings(folder / "config.yaml")
    settings = hidden_paths(content)
    config = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100) if settings else ""
    facts = read_facts(folder / "checkpoints" / NAME)
    return Run(folder, config, settings, _folders(content), facts, sets, _history(folder))


def _test_set(name: str, file: Path, tested: Tested) -> TestSet:
    figures = read_figures(file, "test")
    for key in ("per_class", "thresholds"):
        own = figures.get(key, {} if key == "thresholds" else None)
        if not isinstance(own, dict) or not all(isinstance(own.get(c, {}), dict) for c in tested.class_names):
            raise InputError(f"{key} of each class in {file}", reprlib.repr(own), "run ibca test again")
    return TestSet(name, figures, tested)


def _settings(path: Path) -> dict[str, Any]:
    try:
        content = load(regular(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"the configuration of a run in {path}", told(error), "restore it") from error
    return content if isinstance(content, dict) else {}


def _folders(settings: Any) -> tuple[str | None, str | None]:
    for key in ("data", "init_args"):
        settings = settings.get(key) if isinstance(settings, dict) else None
    given = {key: value for key, value in (settings or {}).items() if isinstance(value, str)}
    if (root := given.get("root")) is None:
        return None, None
    masks = "mask_dir" in given and "mask_labels" not in settings  # bits of other classes say nothing here
    return os.path.join(root, given.get("image_dir", "")), os.path.join(root, given["mask_dir"]) if masks else None


def _history(run: Path) -> dict[str, Curve]:
    """The columns of `metrics.csv` by epoch, the last value of each; empty where there is no such file."""
    found: dict[str, dict[int, float]] = {}
    for row in read_training(run):
        for name, value in row.items():
            if name not in ("epoch", "step") and math.isfinite(value) and "epoch" in row:
                found.setdefault(name, {})[int(row["epoch"])] = value
    curves = {name: np.array(sorted(values.items()), dtype=np.float64) for name, values in found.items()}
    return {name: (points[:, 0], points[:, 1]) for name, points in curves.items()}
