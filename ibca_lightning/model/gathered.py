"""What one evaluation set shows while its batches pass, and the names under which its figures are logged."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.heads import HeadOutput
from ibca_lightning.metrics.evaluation import Evaluation
from ibca_lightning.metrics.localisation import output_figures
from ibca_lightning.metrics.store import EvaluationStore, SampleFacts
from ibca_lightning.system.errors import InputError


@dataclass
class Gathered:
    """What one evaluation set has shown so far, on this process."""

    store: EvaluationStore = field(default_factory=EvaluationStore)
    facts: SampleFacts = field(default_factory=SampleFacts)

    def update(self, batch: Mapping[str, Any], output: HeadOutput, contribution: bool) -> None:
        """Take in a batch; what the logits sum (`contribution`) takes milliseconds a pair to measure."""
        labels = batch["label"]
        pairs: dict[str, Tensor] = {}
        regions = {name: batch[f"{name}_mask"] for name in ("spurious", "noise") if f"{name}_mask" in batch}
        if "mask" in batch or regions:
            summed = output.contribution if contribution else None
            pairs = output_figures(output.attention.float(), summed, batch.get("mask"), labels, regions)
        self.store.update(batch["index"], output.logits, labels, pairs)
        self.facts.update(batch)


def logged_figures(prefix: str, evaluation: Evaluation) -> Iterator[tuple[str, float]]:
    """Name every defined figure of an evaluation for the loggers.

    Yields:
        Names such as `val/mAP`, `val_AP/<class>`, `val_tuned/CF1`, `val_<column>/<group>/mAP`, and their values.
    """
    figures = evaluation.figures
    precision = {name: of_class.get("AP") for name, of_class in figures["per_class"].items()}
    named = {prefix: figures["metrics"], f"{prefix}_AP": precision, f"{prefix}_tuned": figures["tuned"]}
    for column, groups in figures.get("subgroups", {}).items():
        named |= {f"{prefix}_{column}/{group}": of_group["metrics"] for group, of_group in groups.items()}
    for start, values in named.items():
        yield from ((f"{start}/{name}", value) for name, value in values.items() if value is not None)


def training_labels(data: Any, classes: int) -> NDArray[np.int8] | None:
    """The labels (N, L) of all training tables of a data module; None where it has none of L classes at hand."""
    try:
        files: Mapping[str, Mapping[str, Any]] = getattr(data, "split_files", dict)()
    except InputError:  # a test does without them
        return None
    labels = [tables["train"].labels for tables in files.values() if "train" in tables]
    return np.concatenate(labels) if labels and all(own.shape[1:] == (classes,) for own in labels) else None
