"""Keeps `model_card.md` beside the checkpoint: written by `ibca fit`, added to by `ibca test`."""

import inspect
import json
import platform
import subprocess
import time
from collections.abc import Sequence, Sized
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import Callback

import ibca_lightning
from ibca_lightning.data.loader import Guard
from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.evaluation import Evaluation
from ibca_lightning.model.module import MONITOR, MultiLabelModule
from ibca_lightning.run.model_card import NAME, read_facts, render, without_paths
from ibca_lightning.system.whole_files import write_output

_OF_MODEL = ("backbone", "image_size", "class_names", "thresholds", "threshold_rule", "preprocessing")
_FIGURES = ("metrics", "intervals", "tuned", "tuned_intervals")


class ModelCard(Callback):
    """Writes the card at the end of a fit and of a test, on rank 0.

    The figures of the fit are those of the best validation, which `best.ckpt` holds. A test writes beside the
    checkpoint that it was given, or into the run folder where that is another one.

    Attributes:
        best: The best validation and what was chosen on it; None where there was none since the run was taken up.
    """

    def __init__(self, run_dir: str | Path, command: Sequence[str]) -> None:
        self.run_dir, self.command = Path(run_dir), without_paths(command)
        self._best: dict[str, Any] = {}
        self.best: tuple[Evaluation, OperatingPoints] | None = None

    @property
    def epoch(self) -> int | None:
        """The epoch of the best validation, from 1; None where it is not known."""
        return self._best.get("epoch")

    def state_dict(self) -> dict[str, Any]:
        """The best validation, so that a resumed run knows it."""
        return self._best

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the checkpoint left."""
        self._best = dict(state_dict)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the best validation."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not isinstance(pl_module, MultiLabelModule):
            return
        score = float(trainer.callback_metrics.get(MONITOR, float("-inf")))
        if not self._best or score > self._best["score"]:
            evaluation, epoch = pl_module.evaluations["val"], trainer.current_epoch + 1
            self._best = {"score": score, "epoch": epoch, "model": _model(pl_module), "val": _set(evaluation)}
            self.best = evaluation, pl_module.points

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the card, where there is a checkpoint."""
        folder = self.run_dir / "checkpoints"
        if not trainer.is_global_zero or not self._best or not any(folder.glob("*.ckpt")):
            return
        sets = {"train": _training_set(trainer, self._best["model"]["class_names"]), "val": self._best["val"]}
        fit = self._circumstances(trainer) | {"sets": sets}
        facts = {"model": self._best["model"], "fit": fit}
        before = read_facts(folder / NAME)
        if "test" in before and _validated(before) == self._best["val"]:
            facts["test"] = before["test"]  # a resumed run that found no better weights
        _write(folder / NAME, facts)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the figures to the card of the checkpoint."""
        if not trainer.is_global_zero or not isinstance(pl_module, MultiLabelModule) or not trainer.ckpt_path:
            return
        checkpoint = Path(trainer.ckpt_path).resolve()
        beside = checkpoint.parent / NAME
        own = self.run_dir.resolve() in (checkpoint.parent, checkpoint.parent.parent)
        tested = [evaluation for name, evaluation in pl_module.evaluations.items() if name != "val"]
        sets = {e.name if len(tested) == 1 else f"test {e.name}": _set(e) for e in tested}
        test = self._circumstances(trainer) | {"sets": sets, "checkpoint": checkpoint.name}
        facts = read_facts(beside) | {"model": _model(pl_module), "test": test}
        _write(beside if own else self.run_dir / NAME, facts)

    def _circumstances(self, trainer: pl.Trainer) -> dict[str, Any]:
        module = getattr(trainer, "datamodule", None)
        data = type(module)
        facts: dict[str, Any] = {
            "command": self.command,
            "date": time.strftime("%Y-%m-%d"),
            "device": f"{trainer.num_devices * trainer.num_nodes} x {trainer.strategy.root_device.type}",
            "versions": _versions(),
        }
        if data is not type(None):
            summary = getattr(module, "origin", None) or (inspect.getdoc(data) or "").partition("\n")[0]
            facts["data"] = {"class": data.__name__, "summary": summary}
        return facts


def _validated(facts: dict[str, Any]) -> Any:
    """What a card says of the validation set; None where it was edited."""
    for key in ("fit", "sets", "val"):
        facts = facts.get(key, {}) if isinstance(facts, dict) else {}
    return facts


def _write(path: Path, facts: dict[str, Any]) -> None:
    write_output(path, render(facts))


def _model(module: MultiLabelModule) -> dict[str, Any]:
    spec = module.spec.as_dict()
    calibration = spec["calibration"]
    return {name: spec[name] for name in _OF_MODEL} | {
        "head": spec["head"]["class_path"].rpartition(".")[2],
        "calibration": calibration and calibration["kind"],
    }


def _set(evaluation: Evaluation) -> dict[str, Any]:
    labels = evaluation.labels.numpy()
    facts = _counts(labels, evaluation.class_names) | {
        "groups": len(set(evaluation.groups)) if evaluation.groups != evaluation.ids else None,
        "figures": {
            **{kind: dict(evaluation.figures.get(kind, {})) for kind in _FIGURES},
            "per_class": {name: {"AP": own.get("AP")} for name, own in evaluation.figures["per_class"].items()},
        },
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))  # it goes into a checkpoint, which holds no numpy floats
    return plain


def _training_set(trainer: pl.Trainer, class_names: list[str]) -> dict[str, Any]:
    dataset = getattr(trainer.train_dataloader, "dataset", None)
    dataset = dataset.dataset if isinstance(dataset, Guard) else dataset
    labels = getattr(dataset, "labels", None)
    if isinstance(labels, np.ndarray) and labels.shape[1:] == (len(class_names),):
        return _counts(labels, class_names) | {"figures": None}
    rows = len(dataset) if isinstance(dataset, Sized) else "–"  # a stream, or no data set at all
    return {"rows": rows, "positives": None, "unknown": None, "figures": None}


def _counts(labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    positives, unknown = ((labels == value).sum(0).tolist() for value in (1, -1))
    return {
        "rows": len(labels),
        "positives": dict(zip(class_names, positives, strict=True)),
        "unknown": dict(zip(class_names, unknown, strict=True)),
    }


def _versions() -> dict[str, str]:
    found = {"ibca-lightning": ibca_lightning.__version__, "python": platform.python_version()}
    found |= {name: version(name) for name in ("torch", "lightning", "timm")}
    commit = _commit(Path(ibca_lightning.__file__).parent)
    return found | ({"commit": commit} if commit else {})


def _commit(folder: Path) -> str | None:
    """The commit of this package's source, `-dirty` where it was changed since; None where it is not under git."""
    said = ""
    for command in (["ls-files", "--error-unmatch", "__init__.py"], ["describe", "--always", "--dirty", "--exclude=*"]):
        try:
            done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode:
            return None
        said = done.stdout.strip()
    return said
