"""The figures against scikit-learn and against plain counting, on scores full of ties and labels full of gaps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ibca_lightning.metrics.calibration import calibrated, fit_calibration
from ibca_lightning.metrics.intervals import bootstrap_intervals
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.thresholds import choose_thresholds

NAMES = ("a", "b", "c")
RANKED = ("AP", "AUROC", "sensitivity_at_95_specificity")


@st.composite
def judged(draw, least: int = 1, most: int = 25):
    """Probabilities (B, L) on a coarse grid, so that there are ties, and labels with unknown ones."""
    number = draw(st.integers(least, most))
    cells = st.lists(st.tuples(*[st.integers(0, 8)] * 3), min_size=number, max_size=number)
    known = st.lists(st.tuples(*[st.sampled_from((0, 1, 1, 0, -1))] * 3), min_size=number, max_size=number)
    return torch.tensor(draw(cells)).float() / 8, torch.tensor(draw(known))


def near(value, expected) -> None:
    assert value == (None if expected is None else pytest.approx(expected, abs=1e-6))


def alike(one, two, names=None) -> None:
    for name in names or one:
        near(one[name], two[name])


@given(judged())
def test_ranking_figures_are_those_of_scikit_learn(given_rows) -> None:
    scores, labels = given_rows
    result = figures(scores, labels, NAMES)
    aps, areas = [], []
    for at, name in enumerate(NAMES):
        known = labels[:, at] >= 0
        truth, own = labels[known, at].numpy(), scores[known, at].numpy()
        both = len(set(truth.tolist())) == 2
        aps += [average_precision_score(truth, own)] if both else []
        areas += [roc_auc_score(truth, own)] if both else []
        near(result["per_class"][name]["AP"], aps[-1] if both else None)
        near(result["per_class"][name]["AUROC"], areas[-1] if both else None)
    near(result["metrics"]["mAP"], float(np.mean(aps)) if aps else None)
    near(result["metrics"]["AUROC"], float(np.mean(areas)) if areas else None)
    assert result["defined_classes"] == len(aps)


@given(judged())
def test_counting_figures_are_those_of_plain_counting(given_rows) -> None:
    scores, labels = given_rows
    metrics = figures(scores, labels, NAMES)["metrics"]
    hits, said, there, defined = [], [], [], []
    for at in range(3):
        pairs = [(s > 0.5, y) for s, y in zip(scores[:, at].tolist(), labels[:, at].tolist(), strict=True) if y >= 0]
        hits.append(sum(p and y == 1 for p, y in pairs))
        said.append(sum(p for p, _ in pairs))
        there.append(sum(y for _, y in pairs))
        if 0 < there[at] < len(pairs):
            defined.append((hits[at] / said[at] if said[at] else 0.0, hits[at] / there[at]))
    cp, cr = (
        float(np.mean(column)) if defined else None for column in (zip(*defined, strict=True) if defined else ((), ()))
    )
    op = None if not sum(there) else sum(hits) / sum(said) if sum(said) else 0.0
    rate = sum(hits) / sum(there) if sum(there) else None
    for name, expected in (("CP", cp), ("CR", cr), ("OP", op), ("OR", rate)):
        near(metrics[name], expected)
    for name, first, second in (("CF1", cp, cr), ("OF1", op, rate)):
        both = None if first is None else 2 * first * second / (first + second) if first + second else 0.0
        near(metrics[name], both)


@given(judged(least=2), st.randoms(use_true_random=False))
def test_order_of_the_samples_and_steps_between_scores_do_not_matter(given_rows, random) -> None:
    scores, labels = given_rows
    before = figures(scores, labels, NAMES)
    order = random.sample(range(len(scores)), len(scores))
    after = figures(scores[order], labels[order], NAMES)
    alike(before["metrics"], after["metrics"])
    # Any rising function of the scores leaves what rests on their order alone; unknown labels may have any score.
    steps = np.sort(np.array(random.sample(range(1, 1000), 9))) / 1000
    risen = torch.from_numpy(steps)[(scores * 8).long()]
    risen = torch.where(labels < 0, torch.rand(risen.shape, dtype=risen.dtype), risen)
    ranked = figures(risen, labels, NAMES)
    for name in NAMES:
        alike(before["per_class"][name], ranked["per_class"][name], RANKED)


@given(judged())
def test_no_threshold_is_better_than_the_one_chosen(given_rows) -> None:
    scores, labels = given_rows
    chosen = choose_thresholds(scores, labels, "f1")

    def f1(at: int, threshold: float) -> float:
        known = labels[:, at] >= 0
        said, truth = scores[known, at] > threshold, labels[known, at] == 1
        return float(2 * (said & truth).sum() / max(int(said.sum() + truth.sum()), 1))

    for at in range(3):
        known = labels[labels[:, at] >= 0, at]
        if 0 < int((known == 1).sum()) < len(known):
            best = max(f1(at, (step + 0.5) / 8) for step in range(-1, 9))
            assert f1(at, chosen[at]) == pytest.approx(max(best, f1(at, -0.5) if chosen[at] < 0 else 0), abs=1e-6) or (
                best == f1(at, -0.5) and (scores[labels[:, at] >= 0, at] == 0).any()
            )
        else:
            assert chosen[at] == 0.5


@given(judged(), st.sampled_from(("sensitivity", "precision")), st.sampled_from((0.3, 0.5, 0.9, 1.0)))
def test_a_wanted_rate_is_reached_wherever_it_can_be(given_rows, name, wanted) -> None:
    scores, labels = given_rows
    chosen = choose_thresholds(scores, labels, {name: wanted})

    def rates(at: int, threshold: float) -> dict[str, float]:
        known = labels[:, at] >= 0
        said, truth = scores[known, at] > threshold, labels[known, at] == 1
        hits = float((said & truth).sum())
        return {"sensitivity": hits / max(int(truth.sum()), 1), "precision": hits / max(int(said.sum()), 1)}

    for at in range(3):
        known = labels[labels[:, at] >= 0, at]
        if 0 < int((known == 1).sum()) < len(known):
            reachable = max(rates(at, (step + 0.5) / 8)[name] for step in range(8))
            assert rates(at, chosen[at])[name] >= min(wanted, reachable) - 1e-6


@given(judged(least=4, most=10), st.sampled_from(("temperature", "platt")))
@settings(max_examples=6)
def test_calibration_keeps_the_order_within_each_class(given_rows, kind) -> None:
    scores, labels = given_rows
    logits = torch.logit(scores.clamp(0.01, 0.99)) * 3
    fitted = fit_calibration(logits, labels, kind)
    probabilities = calibrated(logits, fitted)
    assert bool(((probabilities >= 0) & (probabilities <= 1)).all())
    for at in range(3):
        order = logits[:, at].argsort()
        assert bool((probabilities[order, at].diff() >= -1e-6).all())  # of float32


@given(judged(least=6), st.integers(0, 5))
@settings(max_examples=15)
def test_intervals_are_ordered_lie_in_range_and_narrow_with_the_level(given_rows, seed) -> None:
    scores, labels = given_rows
    result = figures(scores, labels, NAMES)["metrics"]
    wide, narrow = (bootstrap_intervals(scores, labels, None, 60, seed, level) for level in (1 - 1e-9, 0.5))
    assert set(wide) == set(result)
    for name, ends in wide.items():
        assert (ends is None) == (result[name] is None)
        if ends is None:
            continue
        low, high = ends
        inner_low, inner_high = narrow[name]
        assert -1e-9 <= low <= inner_low <= inner_high <= high <= 1 + 1e-9
        assert low <= result[name] <= high
    # One group says nothing of others.
    single = bootstrap_intervals(scores, labels, ["x"] * len(scores), 5, seed)
    for name, ends in single.items():
        assert (ends is None) == (result[name] is None)
        if ends is not None:
            assert ends[0] < 0.02
            assert ends[1] > 0.98
