from itertools import pairwise

import numpy as np
import pytest
import torch

from ibca_lightning.metrics.calibration import calibrated, fit_calibration
from ibca_lightning.metrics.columns import decisions, digits, prediction_columns
from ibca_lightning.metrics.decision import OperatingPoints, few_positives
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.thresholds import choose_points, choose_thresholds
from ibca_lightning.system.errors import InputError


def f1(scores, labels, threshold):
    chosen = scores > threshold
    hits = int(labels[chosen].sum())
    return 2 * hits / (int(chosen.sum()) + int(labels.sum()))


def test_no_threshold_does_better_and_none_as_good_is_nearer_one_half():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = rng.integers(-1, 2, (int(rng.integers(2, 30)), 1))
        scores = rng.random(labels.shape).astype(np.float32)
        if seed % 2:
            scores = (np.round(scores * 8) / 8).astype(np.float32)  # ties, 0 and 1 among them
        [threshold] = choose_thresholds(torch.from_numpy(scores), torch.from_numpy(labels), "f1")
        known = labels[:, 0] >= 0
        own, own_labels = scores[known, 0].astype(np.float64), labels[known, 0]
        if set(own_labels.tolist()) != {0, 1} or own[own_labels == 1].max() == 0:
            assert threshold == 0.5
            continue
        levels = sorted({0.0, *own.tolist()})
        candidates = [(low + high) / 2 for low, high in pairwise(levels)]
        best = max(f1(own, own_labels, candidate) for candidate in candidates)
        assert f1(own, own_labels, threshold) == best
        as_good = [candidate for candidate in candidates if f1(own, own_labels, candidate) == best]
        assert abs(threshold - 0.5) <= min(abs(candidate - 0.5) for candidate in as_good) + 1e-7
        assert min(abs(threshold - candidate) for candidate in as_good) < 1e-7


def test_hand_worked():
    # 0.8 and 0.6 are positive, 0.7 and 0.2 not: above 0.4 F1 = 2·2/(3 + 2) = 0.8, above 0.75 it is 2/3.
    probabilities, labels = torch.tensor([[0.8], [0.7], [0.6], [0.2]]), torch.tensor([[1], [0], [1], [0]])
    [threshold] = choose_thresholds(probabilities, labels, "f1")
    assert abs(threshold - 0.4) < 1e-7
    tuned = figures(probabilities, labels, ["a"], [threshold])["tuned"]
    assert (tuned["CR"], round(tuned["CP"], 6)) == (1.0, 0.666667)


def test_undefined_classes_keep_one_half():
    labels = torch.tensor([[0, 1, -1], [0, 1, -1], [0, -1, 1]])
    assert choose_thresholds(torch.rand(3, 3), labels, "f1") == [0.5, 0.5, 0.5]
    assert choose_thresholds(torch.zeros(0, 2), torch.zeros(0, 2), "f1") == [0.5, 0.5]


@pytest.mark.parametrize("steps", [0, 1])  # midway is rounded to the even one of the two, which is low or high
def test_neighbouring_floats_are_separated_in_float32_too(steps):
    low = torch.tensor(0.6)
    for _ in range(steps):
        low = torch.nextafter(low, torch.tensor(1.0))
    high = torch.nextafter(low, torch.tensor(1.0))
    [threshold] = choose_thresholds(torch.stack([low, high])[:, None], torch.tensor([[0], [1]]), "f1")
    assert (high > torch.tensor(threshold)).item()
    assert not (low > torch.tensor(threshold)).item()
    assert low.double().item() <= threshold < high.double().item()


@pytest.mark.parametrize("name", ["sensitivity", "precision"])
def test_a_wanted_sensitivity_or_precision_is_reached_at_the_least_cost(name):
    for seed in range(150):
        rng = np.random.default_rng(seed)
        labels = rng.integers(-1, 2, (int(rng.integers(4, 30)), 1))
        scores = (rng.integers(1, 9, labels.shape) / 8).astype(
            np.float32
        )  # ties; nothing at 0, which no threshold finds
        wanted = float(rng.choice([0.3, 0.5, 0.75, 0.9, 1.0]))
        [threshold] = choose_thresholds(torch.from_numpy(scores), torch.from_numpy(labels), {name: wanted})
        own, truth = (values[labels >= 0] for values in (scores, labels))
        if set(truth.tolist()) != {0, 1}:
            assert threshold == 0.5
            continue

        def rates(at, own=own, truth=truth):
            hits, chosen = int(truth[own > at].sum()), int((own > at).sum())
            return hits / truth.sum(), hits / chosen if chosen else 0.0, chosen

        candidates = [rates(low) for low in sorted({0.0, *own.tolist()})[:-1]]
        sensitivity, precision, chosen = rates(threshold)
        if name == "sensitivity":
            assert sensitivity >= wanted - 1e-9
            assert chosen == min(c for s, _, c in candidates if s >= wanted - 1e-9)
        else:
            reached = [(s, -c) for s, p, c in candidates if p >= min(wanted, max(p for _, p, _ in candidates)) - 1e-9]
            assert (sensitivity, -chosen) == max(reached), "the most positives, and of equals the fewest alarms"
            assert precision >= wanted - 1e-9 or precision == max(p for _, p, _ in candidates)


def test_a_sensitivity_is_reached_where_its_product_is_rounded_up():
    assert 0.07 * 100 > 7
    scores = torch.linspace(0.9, 0.1, 101)[:, None]
    [threshold] = choose_thresholds(scores, (torch.arange(101) < 100).long()[:, None], {"sensitivity": 0.07})
    assert (scores > threshold).sum() == 7


def test_fixed_is_one_half_and_other_rules_are_refused():
    assert choose_thresholds(torch.rand(4, 2), torch.randint(0, 2, (4, 2)), "fixed") == [0.5, 0.5]
    for wrong in (
        "F1",
        {"sensitivity": 0},
        {"precision": 1.5},
        {"specificity": 0.5},
        {},
        {"sensitivity": "x"},
        None,
        1,
    ):
        with pytest.raises(InputError, match=r"sensitivity: 0\.9"):
            choose_thresholds(torch.rand(1, 1), torch.zeros(1, 1), wrong)


def test_few_positives_are_named():
    points = OperatingPoints([0.5, 0.25], positives=[9, 10])
    assert points.record(["a", "b"])["a"] == {"threshold": 0.5, "positives": 9, "few": True}
    assert points.record(["a", "b"])["b"]["few"] is False
    assert OperatingPoints([0.5]).record(["a"])["a"] == {"threshold": 0.5, "positives": None, "few": None}
    assert few_positives(["a", "b"], [9, 10]).endswith(": a (9)")
    assert few_positives(["b"], [10]) is None
    assert few_positives(["b"], []) is None


def test_points_are_chosen_on_calibrated_probabilities_and_know_their_positives():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(60, 2, generator=generator)
    labels = (logits + 3 * torch.randn(60, 2, generator=generator) > 1).to(torch.int8)
    labels[:5] = -1
    record = fit_calibration(logits, labels, "platt")
    points = choose_points(logits, labels, "platt", "f1")
    chosen = choose_thresholds(calibrated(logits, record), labels, "f1")
    assert points == OperatingPoints(chosen, record, [int((labels[:, i] == 1).sum()) for i in range(2)])
    assert chosen != choose_thresholds(logits.sigmoid(), labels, "f1")
    assert choose_points(logits, labels, "none", "fixed") == OperatingPoints([0.5, 0.5], None, [])


def test_the_record_of_a_class_says_what_its_threshold_rests_on():
    points = OperatingPoints([0.3, 0.7], positives=[9, 10])
    assert points.record(["a", "b"]) == {
        "a": {"threshold": 0.3, "positives": 9, "few": True},
        "b": {"threshold": 0.7, "positives": 10, "few": False},
    }
    assert OperatingPoints([0.3]).record(["a"]) == {"a": {"threshold": 0.3, "positives": None, "few": None}}
    assert few_positives(["a", "b"], [1, 2]) == (
        "thresholds that rest on fewer than 10 positives of the validation set: a (1), b (2)"
    )


def test_cells_of_a_table_of_predictions():
    assert prediction_columns(["a", "b"]) == [
        "id", "a", "b", "label:a", "label:b", "decision:a", "decision:b", "threshold:a", "threshold:b"
    ]  # fmt: skip
    assert prediction_columns(["a"], labelled=False) == ["id", "a", "decision:a", "threshold:a"]
    assert prediction_columns(["a"], decided=False) == ["id", "a", "label:a"]
    assert digits([0.5, 1 / 3]) == ["0.5", "0.333333333"]
    assert decisions([0.5, 0.5, 0.6], [0.4, 0.5, 1]) == ["1", "0", "0", "0.4", "0.5", "1.0"]
