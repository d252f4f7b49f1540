import numpy as np
import pytest
import torch

from ibca_lightning.metrics import intervals
from ibca_lightning.metrics.intervals import bootstrap_intervals, every_interval
from ibca_lightning.metrics.localisation import summarise
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.system.errors import InputError


def case(seed, samples=40, classes=3):
    """Scores with ties, unknown labels, a rare class that many resamples lack."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, -1], size=(samples, classes), p=[0.6, 0.3, 0.1])
    labels[:, 0] = 0
    labels[:2, 0] = 1
    scores = rng.random((samples, classes)).astype(np.float32)
    scores = np.round(scores * 7).astype(np.float32) / 7 if seed % 2 else scores
    energy = np.where(labels == 1, rng.random((samples, classes)), np.nan)
    groups = [f"patient {i}" for i in rng.integers(0, samples // 2, samples)]
    pairs = {"energy": torch.from_numpy(energy), "uniform": torch.from_numpy(energy**2)}
    return torch.from_numpy(scores), torch.from_numpy(labels), groups, pairs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("grouped", [True, False])
def test_equals_a_loop_over_repeated_rows(seed, grouped, monkeypatch):
    probabilities, labels, groups, pairs = case(seed)
    names = ["a", "b", "c"]
    resamples, drawn = 60, []
    rng = np.random.default_rng(seed)
    members = {}
    for i, group in enumerate(groups if grouped else map("{:05d}".format, range(len(labels)))):
        members.setdefault(group, []).append(i)
    ordered = [members[group] for group in sorted(members)]
    for _ in range(resamples):
        rows = [i for draw in rng.integers(len(ordered), size=len(ordered)) for i in ordered[draw]]
        localisation = summarise({name: values[rows] for name, values in pairs.items()}, names)["metrics"]
        drawn.append(figures(probabilities[rows], labels[rows], names)["metrics"] | localisation)
    monkeypatch.setattr(intervals, "_CHUNK", 7 * len(labels))  # several chunks, the last one not full
    result = bootstrap_intervals(
        probabilities, labels, groups if grouped else None, resamples, seed, level=0.9, pairs=pairs
    )
    assert set(result) == set(drawn[0])
    for name, interval in result.items():
        values = [metrics[name] for metrics in drawn if metrics[name] is not None]
        assert interval == pytest.approx(np.percentile(values, [5, 95]).tolist(), abs=1e-6), name


@pytest.mark.parametrize("seed", range(2))
def test_classes_and_stored_thresholds_equal_a_loop_over_repeated_rows(seed):
    probabilities, labels, groups, pairs = case(seed)
    names, thresholds = ["a", "b", "c"], [0.3, 0.7, 0.4]
    ordered = [[i for i, group in enumerate(groups) if group == name] for name in sorted(set(groups))]
    rng, found = np.random.default_rng(seed), {}
    for _ in range(40):
        rows = [i for draw in rng.integers(len(ordered), size=len(ordered)) for i in ordered[draw]]
        one = figures(probabilities[rows], labels[rows], names, thresholds)
        local = summarise({name: values[rows] for name, values in pairs.items()}, names)["per_class"]
        parts = {"tuned_intervals": {None: one["tuned"]}, "tuned_per_class_intervals": one["tuned_per_class"]}
        parts["per_class_intervals"] = {name: own | local[name] for name, own in one["per_class"].items()}
        for kind, of in parts.items():
            for name, own in of.items():
                for figure, value in own.items():
                    if figure not in ("positives", "negatives", "unknown", "pairs"):
                        found.setdefault((kind, name, figure), []).append(value)
    result = every_interval(probabilities, labels, names, groups, thresholds, 40, seed, pairs=pairs)
    for (kind, name, figure), values in found.items():
        interval = result[kind][figure] if name is None else result[kind][name][figure]
        known = [value for value in values if value is not None]
        if known:
            assert interval == pytest.approx(np.percentile(known, [2.5, 97.5]).tolist(), abs=1e-6), (kind, name, figure)
        else:
            assert interval is None
    assert sum(len(own) for own in result["per_class_intervals"].values()) == 3 * 10
    assert result["intervals"] == bootstrap_intervals(probabilities, labels, groups, 40, seed, pairs=pairs)
    without = every_interval(probabilities, labels, names, groups, resamples=5)
    assert (without["tuned_intervals"], without["tuned_per_class_intervals"]) == ({}, {})


def test_drawn_precisions_of_classes_have_the_intervals_of_classes():
    probabilities, labels, groups, pairs = case(1)
    drawn = resampled_figures(probabilities, labels, groups, 40, 3, pairs, class_figures=["AP/a", "AP/b", "AP/c"])
    expected = every_interval(probabilities, labels, ["a", "b", "c"], groups, None, 40, 3)["per_class_intervals"]
    for name in ("a", "b", "c"):
        ends = np.nanpercentile(drawn.pop(f"AP/{name}"), [2.5, 97.5]).tolist()
        assert ends == pytest.approx(expected[name]["AP"], abs=1e-9)
    plain = resampled_figures(probabilities, labels, groups, 40, 3, pairs)
    assert drawn.keys() == plain.keys()
    assert all(np.array_equal(drawn[name], plain[name], equal_nan=True) for name in plain), "the same draws"


def test_resamples_without_the_figure_are_left_out():
    # One positive in two samples: half of the resamples hold both, and in those the AP is 1.
    result = bootstrap_intervals(torch.tensor([[0.9], [0.1]]), torch.tensor([[1], [0]]), resamples=50)
    assert result["mAP"] == [1.0, 1.0]
    assert result["OR"] == [1.0, 1.0]


def test_what_is_never_defined_is_none():
    probabilities = torch.rand(5, 2)
    for labels in (torch.zeros(5, 2), torch.full((5, 2), -1)):
        result = bootstrap_intervals(probabilities, labels, resamples=10)
        assert set(result) == set(figures(probabilities, labels, ["a", "b"])["metrics"])
        assert set(result.values()) == {None}
    assert set(bootstrap_intervals(torch.zeros(0, 2), torch.zeros(0, 2), resamples=10).values()) == {None}


def test_one_group_has_no_spread():
    probabilities, labels, _, _ = case(0)
    metrics = figures(probabilities, labels, ["a", "b", "c"])["metrics"]
    for name, interval in bootstrap_intervals(probabilities, labels, ["x"] * len(labels), resamples=3).items():
        assert interval == pytest.approx([metrics[name]] * 2, abs=1e-6)


@pytest.mark.parametrize(
    ("sizes", "seeds"),
    [
        ((2, 1), None),
        ((3, 3), ([4, 2, 9], [9, 4, 2])),  # the same seeds in another order
        ((3, 2), ([4, 2, 9], [4, 2])),
        ((2, 2), ([1, 1], [1, 1])),  # twice the same seed is no pair
        ((2, 2), ([1, None], [1, None])),
    ],
)
def test_paired_intervals_equal_a_loop_over_repeated_rows(sizes, seeds):
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.choice([0, 1, -1], size=(20, 2), p=[0.5, 0.4, 0.1]))
    groups = [f"g{i}" for i in rng.integers(0, 8, 20)]
    runs = [torch.from_numpy(rng.random((20, 2))) for _ in range(sum(sizes))]
    energies = [torch.where(labels == 1, run**2, torch.nan) for run in runs]
    ordered = [[i for i, group in enumerate(groups) if group == name] for name in sorted(set(groups))]
    draws, differences = np.random.default_rng(5), []
    of_seeds = np.random.default_rng([5, 1])
    ours, theirs = (of_seeds.integers(size, size=(30, size)).tolist() for size in sizes)
    for resample in range(30):
        first, second = ours[resample], [sizes[0] + k for k in theirs[resample]]
        if sizes == (3, 3):  # the k-th smallest seed of each
            first, second = ([[1, 0, 2][k] for k in first], [[5, 4, 3][k] for k in first])
        rows = [i for draw in draws.integers(len(ordered), size=len(ordered)) for i in ordered[draw]]
        values = [
            figures(run[rows], labels[rows], ["a", "b"])["metrics"]
            | summarise({"energy": energy[rows]}, ["a", "b"])["metrics"]
            for run, energy in zip(runs, energies, strict=True)
        ]
        one = {}
        for name in values[0]:
            mine = [values[k][name] for k in first]
            other = [values[k][name] for k in second]
            one[name] = sum(mine) / len(mine) - sum(other) / len(other)
        differences.append(one)
    drawn = [
        resampled_figures(run, labels, groups, 30, 5, {"energy": energy})
        for run, energy in zip(runs, energies, strict=True)
    ]
    first, second = drawn[: sizes[0]], drawn[sizes[0] :]
    result = paired_intervals(first, second, 0.9, seeds, seed=5)
    assert set(result) == set(differences[0])
    for name, interval in result.items():
        expected = np.percentile([difference[name] for difference in differences], [5, 95]).tolist()
        assert interval == pytest.approx(expected, abs=1e-6), name
    assert paired_intervals(drawn[:1], drawn[:1])["mAP"] == [0.0, 0.0], "a method equals itself for sure"
    assert "attention_energy" not in paired_intervals(drawn[:1], [resampled_figures(runs[2], labels, groups, 30, 5)])


def seeds_of_chance(qualities):
    """What two methods of some seeds give on many groups; how well a seed separates is all that differs."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy((rng.random((400, 3)) < 0.4).astype(np.int64))
    noise = torch.from_numpy(rng.random((400, 3)))
    return [
        [resampled_figures((q * labels + (1 - q) * noise).clamp(0, 1), labels, resamples=500) for q in method]
        for method in qualities
    ]


def of_groups_alone(first, second, level=0.95):
    """The interval of a bootstrap that averages the seeds in each resample."""
    means = [sum(drawn["mAP"] for drawn in method) / len(method) for method in (first, second)]
    return np.percentile(means[0] - means[1], [50 * (1 - level), 50 * (1 + level)]).tolist()


def test_a_difference_that_is_chance_between_seeds_is_not_significant():
    # Two methods of one kind: their seeds scatter alike, and these five happened to be better.
    first, second = seeds_of_chance([(0.1, 0.2, 0.3, 0.25, 0.15), (0.05, 0.15, 0.25, 0.2, 0.16)])
    assert of_groups_alone(first, second)[0] > 0
    low, high = paired_intervals(first, second)["mAP"]
    assert low < 0 < high


def test_what_a_seed_does_to_both_methods_cancels():
    first, second = seeds_of_chance([(0.1, 0.2, 0.3), (0.26, 0.16, 0.06)])
    low, high = paired_intervals(first, second, training_seeds=([1, 2, 3], [3, 2, 1]))["mAP"]
    assert low > 0, "each seed is better by the same"
    for others in ([3, 2, 4], [1, 2, 3]):  # independent, or another partner
        wide = paired_intervals(first, second, training_seeds=([1, 2, 3], others))["mAP"]
        assert wide[0] < 0
        assert wide[1] - wide[0] > 3 * (high - low)
    mirrored = paired_intervals(second, first, training_seeds=([3, 2, 1], [1, 2, 3]))["mAP"]
    assert mirrored == pytest.approx([-high, -low])


def test_one_seed_each_has_the_interval_of_groups_alone():
    first, second = seeds_of_chance([(0.2,), (0.1,)])
    for seeds in (None, ([0], [0]), ([0], [1])):
        assert paired_intervals(first, second, training_seeds=seeds)["mAP"] == of_groups_alone(first, second)


def test_a_resample_that_draws_an_undefined_seed_is_left_out():
    undefined = np.full(400, np.nan)
    first = [{"mAP": np.full(400, 0.5)}, {"mAP": undefined}]
    # The second seed is in three quarters of the resamples; the others are of the first alone.
    assert paired_intervals(first, [{"mAP": np.full(400, 0.2)}])["mAP"] == pytest.approx([0.3, 0.3])
    assert paired_intervals([{"mAP": undefined}], first)["mAP"] is None


def test_the_number_of_groups_must_fit():
    with pytest.raises(InputError, match="2 groups"):
        bootstrap_intervals(torch.rand(2, 1), torch.zeros(2, 1), ["x"])
