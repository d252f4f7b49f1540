"""Figures by how often training has a class."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.evaluation import Evaluation, evaluate
from ibca_lightning.metrics.intervals import bootstrap_intervals
from ibca_lightning.metrics.resampling.resamples import resampled_figures
from ibca_lightning.metrics.resampling.thirds import frequency_thirds, named_thirds
from ibca_lightning.metrics.store import SampleFacts, Stored
from ibca_lightning.run.result_files import write_evaluation
from ibca_lightning.run.tested_figures import read_figures

NAMES = [f"class {at}" for at in range(7)]
COUNTS = (3, 40, 1, 12, 12, 25, 2)  # positives of each in training
PARTS = {"head": [1, 3, 5], "medium": [0, 4], "tail": [2, 6]}  # of 12 and 12 the first is the more frequent
GROUPS = [f"g{at // 2}" for at in range(40)]


def seen() -> np.ndarray:
    """Training labels in which some are unknown."""
    labels = (np.arange(60)[:, None] < np.array(COUNTS)).astype(np.int8)
    labels[50:, ::2] = -1
    return labels


def evaluated(seed: int = 0, training: np.ndarray | None = None) -> Evaluation:
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(40, 7, generator=torch.Generator().manual_seed(9)) < 0.3).to(torch.int8)
    labels[:, 6] = 0  # never there in this test: its AP is undefined
    logits = labels + torch.randn(40, 7, generator=generator)
    facts = SampleFacts()
    facts.update({"index": torch.arange(40), "id": [f"{at:02d}" for at in range(40)], "group": GROUPS})
    stored, points = Stored(torch.arange(40), logits, labels, {}), OperatingPoints([0.5] * 7)
    return evaluate("test", stored, facts, NAMES, points, intervals=True, seen=training)


def test_the_classes_of_each_third() -> None:
    assert frequency_thirds(seen()) == PARTS
    assert {name: len(own) for name, own in frequency_thirds(np.ones((3, 1000), np.int8)).items()} == {
        "head": 334, "medium": 333, "tail": 333,
    }  # fmt: skip
    assert frequency_thirds(seen()[:, :5]) == {}, "a third of five is a class or two"
    assert named_thirds({"thirds": {"tail": ["b", "gone"], "medium": []}}, ["a", "b"]) == {"tail": [1]}


def test_figures_and_intervals_are_those_of_these_classes_alone(tmp_path: Path) -> None:
    result = evaluated(training=seen())
    assert result.figures["thirds"] == {name: [NAMES[at] for at in own] for name, own in PARTS.items()}
    drawn = resampled_figures(result.probabilities, result.labels, GROUPS, parts=PARTS)
    for part, own in PARTS.items():
        alone = bootstrap_intervals(result.probabilities[:, own], result.labels[:, own], GROUPS)
        for figure, of in (("mAP", "AP"), ("AUROC", "AUROC")):
            name = f"{figure}_{part}"
            known = [v for at in own if (v := result.figures["per_class"][NAMES[at]][of]) is not None]
            assert result.figures["metrics"][name] == pytest.approx(np.mean(known))
            assert result.figures["intervals"][name] == pytest.approx(alone[figure])
            assert drawn[name].value == pytest.approx(np.mean(known), abs=1e-6)
    write_evaluation(tmp_path, result)
    assert read_figures(tmp_path / "test_metrics.json", "test")["thirds"] == result.figures["thirds"]
    for wrong in (
        {"metrics": {"mAP": 0.5, "mAP_tail": -0.1}},
        {"metrics": {}, "thirds": 3},
        {"metrics": {}, "thirds": {"head": 3}},
    ):
        (tmp_path / "test_metrics.json").write_text(json.dumps(wrong))
        with pytest.raises(Exception, match="the figures of ibca test"):
            read_figures(tmp_path / "test_metrics.json", "test")


def test_without_training_labels_there_are_none() -> None:
    result = evaluated().figures
    assert "thirds" not in result
    assert not any("tail" in name for name in (*result["metrics"], *result["intervals"]))
