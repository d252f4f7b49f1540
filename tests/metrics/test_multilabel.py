import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from ibca_lightning.metrics import multilabel
from ibca_lightning.metrics.intervals import every_interval
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.operating_point import by_score
from ibca_lightning.metrics.resampling.subgroups import by_subgroup, difference
from ibca_lightning.system.errors import InputError
from tests.command_line import near

# The contract's definitions once more, in plain Python over lists, written from the definitions alone.


def average_precision(scores, labels):
    """Every distinct score is a threshold; sum of precision times the rise of recall."""
    positives = sum(labels)
    total, before = Fraction(0), 0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [y for s, y in zip(scores, labels, strict=True) if s >= threshold]
        total += Fraction(sum(chosen) - before, positives) * Fraction(sum(chosen), len(chosen))
        before = sum(chosen)
    return float(total)


def auroc(scores, labels):
    """The chance that a positive scores above a negative, half for a tie."""
    above = Fraction(0)
    positives = [s for s, y in zip(scores, labels, strict=True) if y == 1]
    negatives = [s for s, y in zip(scores, labels, strict=True) if y == 0]
    for p in positives:
        for n in negatives:
            above += 1 if p > n else Fraction(1, 2) if p == n else 0
    return float(above / (len(positives) * len(negatives)))


def sensitivity_at(scores, labels, specificity=Fraction(95, 100)):
    best = Fraction(0)  # nothing predicted: specificity 1
    positives, negatives = labels.count(1), labels.count(0)
    for threshold in set(scores):
        true_negatives = sum(1 for s, y in zip(scores, labels, strict=True) if y == 0 and s < threshold)
        if Fraction(true_negatives, negatives) >= specificity:
            hits = sum(1 for s, y in zip(scores, labels, strict=True) if y == 1 and s >= threshold)
            best = max(best, Fraction(hits, positives))
    return float(best)


def _mean(values):
    return sum(values) / len(values) if values else None


def _f1(precision, recall):
    if precision is None or recall is None:
        return None
    return 0.0 if precision == recall == 0 else 2 * precision * recall / (precision + recall)


def at_thresholds(probabilities, labels, thresholds):
    precisions, recalls, specificities = [], [], []
    all_hits = all_chosen = all_positives = 0
    for c, threshold in enumerate(thresholds):
        known = [(p[c], y[c]) for p, y in zip(probabilities, labels, strict=True) if y[c] != -1]
        chosen = [y for p, y in known if p > threshold]
        positives = sum(1 for _, y in known if y == 1)
        negatives = len(known) - positives
        all_hits, all_chosen, all_positives = (
            all_hits + sum(chosen),
            all_chosen + len(chosen),
            all_positives + positives,
        )
        if positives and negatives:
            precisions.append(sum(chosen) / len(chosen) if chosen else 0.0)
            recalls.append(sum(chosen) / positives)
            specificities.append(sum(1 for p, y in known if y == 0 and not p > threshold) / negatives)
    precision, recall = _mean(precisions), _mean(recalls)
    overall_precision = overall_recall = None
    if all_positives:
        overall_precision = all_hits / all_chosen if all_chosen else 0.0
        overall_recall = all_hits / all_positives
    return {
        "CP": precision,
        "CR": recall,
        "CF1": _f1(precision, recall),
        "OP": overall_precision,
        "OR": overall_recall,
        "OF1": _f1(overall_precision, overall_recall),
        "sensitivity": recall,
        "specificity": _mean(specificities),
    }


def calibration_errors(probabilities, labels):
    """ECE of all known labels, and the mean of the classes' own; 15 bins."""

    def error(pairs):
        bins = {}
        for p, y in pairs:
            bins.setdefault(min(int(p * 15), 14), []).append(p - y)
        return sum(abs(sum(own)) for own in bins.values()) / len(pairs)

    columns = [
        [(p, y) for p, y in zip(*own, strict=True) if y != -1]
        for own in zip(zip(*probabilities, strict=True), zip(*labels, strict=True), strict=True)
    ]
    everything = [pair for own in columns for pair in own]
    present = any(y for _, y in everything)
    return error(everything) if present else None, _mean(
        [error(own) for own in columns if len({y for _, y in own}) == 2]
    )


def plain_metrics(probabilities, labels, num_labels):
    curves = {"mAP": [], "AUROC": [], "sensitivity_at_95_specificity": []}
    for c in range(num_labels):
        scores = [p[c] for p, y in zip(probabilities, labels, strict=True) if y[c] != -1]
        known = [y[c] for y in labels if y[c] != -1]
        if 1 in known and 0 in known:
            curves["mAP"].append(average_precision(scores, known))
            curves["AUROC"].append(auroc(scores, known))
            curves["sensitivity_at_95_specificity"].append(sensitivity_at(scores, known))
    return {name: _mean(values) for name, values in curves.items()} | at_thresholds(
        probabilities, labels, [0.5] * num_labels
    )


def random_case(seed):
    """Few levels (ties, 0, 0.5 and 1 among them) or many, unknown labels, now and then a class of one value only."""
    rng = np.random.default_rng(seed)
    samples, classes = int(rng.integers(1, 60)), int(rng.integers(1, 6))
    labels = rng.choice([0, 1, -1], size=(samples, classes), p=[0.6, 0.3, 0.1])
    labels[:, rng.random(classes) < 0.1] = 0
    labels[:, rng.random(classes) < 0.1] = -1
    scores = rng.random((samples, classes)).astype(np.float32)
    if seed % 2:
        scores = (np.round(scores * 6) / 6).astype(np.float32)
    return torch.from_numpy(scores), torch.from_numpy(labels.astype(np.int8))


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_agrees_with_plain_python(start):
    for seed in range(start, start + 100):
        probabilities, labels = random_case(seed)
        names = [f"c{i}" for i in range(labels.shape[1])]
        thresholds = np.random.default_rng(seed).random(len(names)).round(1).tolist()
        result = figures(probabilities, labels, names, thresholds)
        rows = probabilities.tolist(), labels.tolist()
        expected = plain_metrics(*rows, len(names))
        found = dict(result["metrics"])
        assert (found.pop("ECE"), found.pop("class_ECE")) == pytest.approx(calibration_errors(*rows), abs=1e-12), seed
        assert found == pytest.approx(expected, abs=1e-6), seed
        assert result["tuned"] == pytest.approx(at_thresholds(*rows, thresholds), abs=1e-12), seed
        json.loads(json.dumps(result, allow_nan=False))


def test_per_class_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((500, 3)).astype(np.float32).round(2), rng.integers(0, 2, (500, 3))
    result = figures(torch.from_numpy(scores), torch.from_numpy(labels), "abc")["per_class"]
    for i, name in enumerate("abc"):
        assert result[name]["AP"] == pytest.approx(average_precision_score(labels[:, i], scores[:, i]), abs=1e-6)
        assert result[name]["AUROC"] == pytest.approx(roc_auc_score(labels[:, i], scores[:, i]), abs=1e-6)


def test_hand_worked():
    # a: thresholds 0.9 (1 of 1), 0.5 (a tie of two: 2 of 3), 0.1 (2 of 4): AP = 1/2·1 + 1/2·2/3 = 5/6.
    #    AUROC: pairs (0.9 > 0.5, 0.9 > 0.1, 0.5 = 0.5, 0.5 > 0.1) = 3.5 of 4. Above 0.5 stands 0.9 alone: P 1, R 1/2.
    # b: no positive. c: unknown but for one positive. Both are left out of the means; c's positive counts in OR.
    probabilities = torch.tensor([[0.9, 0.7, 0.2], [0.5, 0.1, 0.2], [0.5, 0.1, 0.2], [0.1, 0.1, 0.2]])
    labels = torch.tensor([[1, 0, 1], [1, 0, -1], [0, 0, -1], [0, 0, -1]])
    result = figures(probabilities, labels, ["a", "b", "c"], thresholds=[0.3, 0.5, 0.1])
    assert result["metrics"] == pytest.approx(
        {
            "mAP": 5 / 6,
            "AUROC": 7 / 8,
            "CP": 1.0,
            "CR": 0.5,
            "CF1": 2 / 3,
            "OP": 1 / 2,
            "OR": 1 / 3,
            "OF1": 2 / 5,
            "sensitivity": 0.5,
            "specificity": 1.0,
            "sensitivity_at_95_specificity": 0.5,
            # a, by bin: 0.9 - 1, (0.5 - 1) + 0.5, 0.1, of 4; with b's 0.7 and 3 · 0.1 and c's 0.2 - 1, of 9.
            "class_ECE": 0.2 / 4,
            "ECE": 2 / 9,
        }
    )
    assert result["defined_classes"] == 1
    assert result["samples"] == 4
    assert result["per_class"]["a"] == pytest.approx(
        {
            "AP": 5 / 6,
            "AUROC": 7 / 8,
            "sensitivity_at_95_specificity": 0.5,
            "precision": 1.0,
            "recall": 0.5,
            "F1": 2 / 3,
            "specificity": 1.0,
            "ECE": 0.2 / 4,
            "positives": 2,
            "negatives": 2,
            "unknown": 0,
        }
    )
    assert result["per_class"]["b"]["AP"] is None
    assert result["per_class"]["b"]["recall"] is None
    assert [result["per_class"]["c"][key] for key in ("positives", "negatives", "unknown")] == [1, 0, 3]
    # a at 0.3: 0.9, 0.5, 0.5 predicted, P 2/3, R 1, specificity 1/2; c at 0.1 adds its positive; b its false alarm.
    assert result["tuned"] == pytest.approx(
        {
            "CP": 2 / 3,
            "CR": 1.0,
            "CF1": 4 / 5,
            "OP": 3 / 5,
            "OR": 1.0,
            "OF1": 3 / 4,
            "sensitivity": 1.0,
            "specificity": 0.5,
        }
    )


def test_nothing_predicted_is_zero():
    result = figures(torch.tensor([[0.5], [0.2]]), torch.tensor([[1], [0]]), ["a"])["metrics"]
    assert [result[key] for key in ("CP", "CR", "CF1", "OP", "OR", "OF1")] == [0.0] * 6


@pytest.mark.parametrize(
    "labels", [[[-1, -1], [-1, -1]], [[0, 0], [0, 0]], [[0, -1], [-1, 0]]], ids=["unknown", "absent", "both"]
)
def test_without_a_positive_all_is_undefined(labels):
    result = figures(torch.full((2, 2), 0.7), torch.tensor(labels), ["a", "b"], [0.5, 0.5])
    assert set(result["metrics"].values()) == {None}
    assert set(result["tuned"].values()) == {None}
    assert result["defined_classes"] == 0


def test_one_sample_and_none():
    result = figures(torch.tensor([[0.7, 0.2]]), torch.tensor([[1, 0]]), ["a", "b"])["metrics"]
    assert (result["mAP"], result["CP"], result["OP"], result["OR"]) == (None, None, 1.0, 1.0)
    empty = figures(torch.zeros(0, 2), torch.zeros(0, 2, dtype=torch.int8), ["a", "b"])
    assert set(empty["metrics"].values()) == {None}


@pytest.mark.parametrize("number", [0, 7, 40_000])  # torch sorts many otherwise than few
def test_scores_are_sorted_with_their_ties_in_order(number):
    scores = np.append(np.random.default_rng(0).random(number).round(3), [0.0, -0.0, 1.0, 5e-324, 1 - 2**-53, 0.0])
    assert by_score(scores).tolist() == np.argsort(-scores, kind="stable").tolist()


def test_figures_of_a_million_and_more_are_those_of_torchmetrics(monkeypatch):
    rng = np.random.default_rng(3)
    labels = torch.from_numpy(rng.integers(-1, 2, (400, 4)))
    labels[:, 3] = 1  # not defined
    scores = torch.from_numpy((0.3 * labels.numpy().clip(0) + 0.7 * rng.random((400, 4))).round(2))
    theirs = figures(scores, labels, list("abcd"))
    monkeypatch.setattr(multilabel, "_MOST", 0)
    ours = figures(scores, labels, list("abcd"))
    assert ours["metrics"] != theirs["metrics"], "float32 is rounded"
    near(ours["metrics"], theirs["metrics"])
    near(ours["per_class"], theirs["per_class"])


def test_threshold_is_not_rounded_to_float32():
    # The float32 nearest to 0.3 lies above the float64 0.3: predicted; a float32 comparison says not.
    result = figures(torch.tensor([[0.3], [0.1]]), torch.tensor([[1], [0]]), ["a"], [0.3])
    assert result["tuned"]["CR"] == 1.0


def test_specificity_of_exactly_95_percent_counts():
    # 20 negatives, one above the second positive: specificity 19/20 there.
    scores = [0.9, 0.8, 0.7] + [i / 100 for i in range(19)] + [0.75]
    labels = [1, 1, 1] + [0] * 20
    result = figures(torch.tensor(scores)[:, None], torch.tensor(labels)[:, None], ["a"])
    assert result["metrics"]["sensitivity_at_95_specificity"] == 1.0
    assert figures(torch.tensor(scores[:-2] + scores[-1:])[:, None], torch.tensor(labels[:-1])[:, None], ["a"])[
        "metrics"
    ]["sensitivity_at_95_specificity"] == pytest.approx(2 / 3)


def test_many_subgroups_at_once_are_those_one_by_one():
    """All values share one sorting: ties, values of one row, and classes without a known label included."""
    generator = np.random.default_rng(5)
    scores = generator.integers(0, 12, (400, 4)) / 11
    labels = generator.integers(-1, 2, (400, 4))
    values = [f"site {at}" for at in generator.integers(0, 150, 400)]
    labels[[value == "site 7" for value in values], 2] = -1
    names = ["a", "b", "c", "d"]
    found = by_subgroup(torch.tensor(scores), torch.tensor(labels), names, {"site": values}, [0.4] * 4)["site"]
    assert list(found) == sorted(set(values))
    for value, own in found.items():
        rows = [row for row, given in enumerate(values) if given == value]
        near(own, figures(scores[rows], labels[rows], names, [0.4] * 4), tolerance=1e-6)


def test_by_subgroup_is_figures_of_the_rows():
    probabilities, labels = random_case(1)
    sex = ["F" if i % 3 else "M" for i in range(len(labels))]
    names = [f"c{i}" for i in range(labels.shape[1])]
    result = by_subgroup(probabilities, labels, names, {"sex": sex, "site": ["x"] * len(sex)}, [0.4] * len(names))
    ages = (["60+", "<40", "40 to <60"] * len(sex))[: len(sex)]
    assert list(by_subgroup(probabilities, labels, names, {"age": ages})["age"]) == ["<40", "40 to <60", "60+"]
    rows = [i for i, value in enumerate(sex) if value == "F"]
    near(result["sex"]["F"], figures(probabilities[rows], labels[rows], names, [0.4] * len(names)), 1e-6)
    assert list(result["sex"]) == ["F", "M"]
    near(result["site"]["x"], figures(probabilities, labels, names, [0.4] * len(names)), 1e-6)


def test_subgroups_differ_from_the_largest_with_an_interval_where_there_are_ten_pictures():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (72, 2))
    sites = np.array(["a"] * 22 + ["b"] * 41 + ["few"] * 9)
    told = np.where(sites == "a", 0.5, 0.05)[:, None]  # easy at a, hard at b
    scores = torch.from_numpy(labels * told + 0.4 * generator.random((72, 2)))
    given = scores, torch.from_numpy(labels), ["x", "y"], {"site": sites.tolist()}
    found = by_subgroup(*given, [0.4, 0.5], [str(at // 2) for at in range(72)])["site"]
    own, reference, few = (found[site] for site in ("a", "b", "few"))
    assert (own["reference"], "reference" in reference, "reference" in few, "intervals" in few) == ("b", 0, 0, 0)
    for kind, prefix in (("metrics", ""), ("tuned", "tuned_")):
        assert own[f"{prefix}differences"].keys() == own[f"{prefix}difference_intervals"].keys() == own[kind].keys()
        for name, value in own[kind].items():
            assert own[f"{prefix}differences"][name] == pytest.approx(value - reference[kind][name])
            low, high = own[f"{prefix}difference_intervals"][name]
            assert -1 <= low <= own[f"{prefix}differences"][name] <= high <= 1
    assert own["difference_intervals"]["AUROC"][0] > 0, "that much is no chance"
    patients = [str(at // 2) for at in range(72)]
    for site, of in (("a", own), ("b", reference)):
        rows = np.flatnonzero(sites == site)
        alone = every_interval(scores[rows], given[1][rows], ["x", "y"], [patients[at] for at in rows], [0.4, 0.5])
        assert of["intervals"] == alone["intervals"]
    ten = by_subgroup(scores[:10], given[1][:10], ["x", "y"], {"site": ["a"] * 10}, groups=patients[:10])
    assert "intervals" in ten["site"]["a"]
    assert "differences" not in by_subgroup(*given)["site"]["a"]


def test_a_difference_has_newcombes_interval():
    # Newcombe (1998), table II (a): 56 of 70 less 48 of 80, whose Wilson intervals are these, by method 10.
    value, ends = difference(56 / 70, 48 / 80, [0.6918, 0.8767], [0.4904, 0.7001])
    assert value == pytest.approx(0.2)
    assert ends == pytest.approx([0.0524, 0.3339], abs=3e-4)
    assert difference(None, 0.5, None, [0.4, 0.6]) == (None, None)
    assert difference(0.75, 0.5, None, [0.4, 0.6]) == (0.25, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, -0.1])
def test_refuses_what_is_no_probability(value):
    with pytest.raises(InputError, match="probabilities in"):
        figures(torch.tensor([[value], [0.2]]), torch.tensor([[1], [0]]), ["a"])


def test_refuses_other_labels_and_shapes():
    with pytest.raises(InputError, match="labels in"):
        figures(torch.tensor([[0.2]]), torch.tensor([[2]]), ["a"])
    with pytest.raises(InputError, match="class names"):
        figures(torch.tensor([[0.2]]), torch.tensor([[1]]), ["a", "b"])
    with pytest.raises(InputError, match="class names that differ, got 'a' twice; name each"):
        figures(torch.tensor([[0.2, 0.1, 0.3]]), torch.tensor([[1, 0, 1]]), ["a", "b", "a"])
    with pytest.raises(InputError, match="one shape"):
        figures(torch.tensor([[0.2]]), torch.tensor([1]), ["a"])
    with pytest.raises(InputError, match="subgroup column 'sex'"):
        by_subgroup(torch.tensor([[0.2]]), torch.tensor([[1]]), ["a"], {"sex": []})
