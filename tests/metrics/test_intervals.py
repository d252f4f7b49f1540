import math

import numpy as np
import pytest
import torch
from scipy import stats

from ibca_lightning.metrics import bootstrap_intervals, figures
from ibca_lightning.metrics.intervals import every_interval
from ibca_lightning.metrics.localisation import summarise
from ibca_lightning.metrics.resampling import ranked, resamples
from ibca_lightning.metrics.resampling.paired import paired_intervals
from ibca_lightning.metrics.resampling.resamples import Resampled, Sample, resampled_figures
from ibca_lightning.metrics.resampling.spread import (
    borrowed,
    effective,
    error,
    fraction,
    of_mean,
    of_overlap,
    overlap,
    skewness,
    student,
    variance,
)
from ibca_lightning.system.errors import InputError
from tests.bench.coverage import Setting, coverage, paired_coverage, per_cent
from tests.bench.lesion_coverage import LesionSetting, Population, lesion_coverage


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


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("grouped", [True, False])
def test_draws_equal_a_loop_over_repeated_rows(seed, grouped, monkeypatch):
    probabilities, labels, groups, pairs = case(seed)
    names, thresholds = ["a", "b", "c"], [0.3, 0.7, 0.4]
    rng = np.random.default_rng(seed)
    members = {}
    for i, group in enumerate(groups if grouped else map("{:05d}".format, range(len(labels)))):
        members.setdefault(group, []).append(i)
    ordered = [members[group] for group in sorted(members)]
    monkeypatch.setattr(resamples, "_MANY", 5)  # several chunks, the last one not full
    monkeypatch.setattr(ranked, "_STEPS", 3)  # of steps, too
    sample = Sample(probabilities, labels, groups if grouped else None, pairs, thresholds)
    again = sample.resampled(12, seed)
    for at, found in [(None, sample.itself()), *((at, again) for at in range(12))]:
        rows = list(range(len(labels)))
        if at is not None:
            rows = [i for draw in rng.integers(len(ordered), size=len(ordered)) for i in ordered[draw]]
        one = figures(probabilities[rows], labels[rows], names, thresholds)
        local = summarise({name: values[rows] for name, values in pairs.items()}, names)
        for of, expected in ((found.overall, one["metrics"] | local["metrics"]), (found.tuned, one["tuned"])):
            assert set(of) == set(expected)
            for name, value in expected.items():
                near(of[name][at or 0], value)
        for of, expected in ((found.classes, one["per_class"]), (found.tuned_classes, one["tuned_per_class"])):
            for name, values in of.items():
                for i, own in enumerate(names):
                    known = expected[own] | (local["per_class"][own] if of is found.classes else {})
                    near(values[at or 0, i], known[name])


@pytest.mark.parametrize("seed", range(2))
def test_intervals_at_thresholds_are_those_of_the_same_decisions_at_one_half(seed):
    probabilities, labels, groups, _ = case(seed)
    names, thresholds = ["a", "b", "c"], [0.3, 0.7, 0.4]
    moved = torch.where(probabilities.double() > torch.tensor(thresholds, dtype=torch.float64), 0.9, 0.1)
    found = every_interval(probabilities, labels, names, groups, thresholds, resamples=60)
    same = every_interval(moved, labels, names, groups, resamples=60)
    assert found["tuned_intervals"] == {name: same["intervals"][name] for name in found["tuned_intervals"]}
    for name, own in found["tuned_per_class_intervals"].items():
        assert own == {figure: same["per_class_intervals"][name][figure] for figure in own}


def near(value, expected):
    assert math.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-6)


def held(ends, value):
    return ends is None if value is None else ends[0] <= value <= ends[1]


def test_of_many_steps_neighbours_are_joined(monkeypatch):
    rng = np.random.default_rng(0)
    labels = (rng.random(3000) < 0.4).astype(np.int8)
    scores = stats.norm.cdf(rng.standard_normal(3000) + labels)
    groups, weights = ranked.Groups(np.arange(3000) // 10), rng.poisson(1, (300, 20)).astype(np.float32)
    negatives = np.repeat(weights, 10, axis=0)[labels == 0].sum(axis=0, dtype=float)
    every = ranked.Ranked(scores, labels, groups)
    monkeypatch.setattr(ranked, "_MOST", 100)
    joined = ranked.Ranked(scores, labels, groups)
    assert (every.steps > 600, joined.steps <= 101) == (True, True)
    moved = [abs(a - b).max() for a, b in zip(every.figures(weights, negatives), joined.figures(weights, negatives),
             strict=True)]  # fmt: skip
    assert 0 < max(moved[:2]) < 0.005  # AP, AUROC
    assert moved[1] < 0.001  # half of the negatives beside a positive
    assert moved[2] < 0.02


def test_joined_neighbours_leave_a_class_that_is_told_apart_as_it_is(monkeypatch):
    monkeypatch.setattr(ranked, "_MOST", 100)
    scores = np.append(np.linspace(0.6, 1, 101), np.linspace(0, 0.4, 300))  # one step more than a multiple
    labels, groups = (scores > 0.5).astype(np.int8), ranked.Groups(np.arange(401))
    for figure in ranked.Ranked(scores, labels, groups).figures(np.ones((401, 1), np.float32), np.full(1, 300.0)):
        assert figure.tolist() == [1.0]


@pytest.mark.parametrize("nobody", [None, float("nan"), np.nan, torch.tensor(torch.nan), "", " ", "NA", "<NA>", "nan"])
def test_a_group_that_names_nobody_is_refused(nobody: object) -> None:
    groups = ["a", "b", "b", nobody]
    with pytest.raises(InputError, match=r"a name for the group of sample 3, got '.*'; give a sample .* one patient"):
        bootstrap_intervals(torch.rand(4, 2), torch.ones(4, 2), groups, resamples=20)


def test_groups_may_be_called_anything():
    probabilities, labels, _, _ = case(0)
    number = len(labels)
    expected = bootstrap_intervals(probabilities, labels, [f"{at // 2}" for at in range(number)], resamples=20)
    for groups in (np.arange(number) // 2, (torch.arange(number) // 2).tolist(), ["x", *([0.5] * (number - 1))]):
        found = bootstrap_intervals(probabilities, labels, groups, resamples=20)
        assert list(found) == list(expected)


def test_intervals_of_calibration_alone_are_the_same():
    probabilities, labels, groups, _ = case(0)
    every, alone = (
        every_interval(probabilities, labels, "abc", groups, resamples=40, ranking=ranking)["intervals"]
        for ranking in (True, False)
    )
    assert alone == {name: every[name] for name in every if name not in (*ranked_means(every), "mAP")}


def ranked_means(names):
    return [name for name in names if name in resamples.RANKING]


@pytest.mark.parametrize("seed", range(4))
def test_every_interval_holds_its_figure_and_is_there_where_it_is(seed):
    probabilities, labels, groups, pairs = case(seed)
    names, thresholds = ["a", "b", "c"], [0.3, 0.7, 0.4]
    one, local = figures(probabilities, labels, names, thresholds), summarise(pairs, names)
    one["metrics"] |= local["metrics"]
    result = every_interval(probabilities, labels, names, groups, thresholds, 40, seed, pairs=pairs)
    for kind, of in (("intervals", "metrics"), ("tuned_intervals", "tuned")):
        assert set(result[kind]) == set(one[of])
        assert all(held(ends, one[of][name]) for name, ends in result[kind].items())
    for name in names:
        own = one["per_class"][name] | local["per_class"][name]
        ends = result["per_class_intervals"][name]
        assert set(ends) == set(own) - {"positives", "negatives", "unknown", "pairs"}
        # A gain has no bounds, and no interval where it rests on less than two groups.
        assert all(
            held(ends[figure], own[figure]) for figure in ends if not (figure == "attention_gain" and not ends[figure])
        )
        tuned = result["tuned_per_class_intervals"][name]
        assert all(held(tuned[figure], one["tuned_per_class"][name][figure]) for figure in tuned)
    assert result["intervals"] == bootstrap_intervals(probabilities, labels, groups, 40, seed, pairs=pairs)
    without = every_interval(probabilities, labels, names, groups, resamples=5)
    assert (without["tuned_intervals"], without["tuned_per_class_intervals"]) == ({}, {})


def test_what_is_all_right_is_not_sure():
    # Ten of ten are found in every resample: by Wilson's interval 0.72 to 1 are plausible (t of 9 degrees: 0.66).
    labels = torch.tensor([[1]] * 10 + [[0]] * 10)
    result = bootstrap_intervals(labels.double() * 0.8 + 0.1, labels, resamples=50)
    for name in ("mAP", "CR", "OR", "AUROC"):
        assert result[name][1] == 1
        assert 0.5 < result[name][0] < 0.85, name


def test_attention_that_always_lies_on_the_lesion_is_not_sure_either():
    labels = torch.tensor([[1]] * 10 + [[0]] * 10)
    energy = torch.where(labels == 1, 1.0, math.nan).double()
    pairs = {"energy": energy, "uniform": energy / 4}
    result = bootstrap_intervals(labels.double() * 0.8 + 0.1, labels, resamples=50, pairs=pairs)
    assert result["attention_energy"][1] == 1
    assert 0.5 < result["attention_energy"][0] < 0.85


def test_a_class_that_is_never_predicted_leaves_its_precision_open():
    labels = torch.tensor([[1, 1], [0, 0]] * 20)
    probabilities = torch.stack([labels[:, 0] * 0.8 + 0.1, labels[:, 1] * 0.2 + 0.1], dim=1)
    result = every_interval(probabilities, labels, ["a", "b"], resamples=50)
    assert result["per_class_intervals"]["b"]["precision"] == [0, 1]
    assert result["intervals"]["CP"][1] == 1, "0.5 if the convention, 1 if it is always right"
    assert result["intervals"]["CF1"][1] > figures(probabilities, labels, ["a", "b"])["metrics"]["CF1"] + 0.1


def test_large_groups_count_for_few():
    probabilities, labels, _, _ = case(0)
    equal = [str(i // 4) for i in range(40)]
    large = ["all" if i < 31 else str(i) for i in range(40)]  # ten groups as well
    widths = [np.subtract(*bootstrap_intervals(probabilities, labels, of)["OR"][::-1]) for of in (equal, large)]
    assert widths[1] > 1.5 * widths[0]


def test_fewer_resamples_of_large_sets(monkeypatch):
    sample = Sample(torch.rand(10, 2), torch.ones(10, 2))
    assert len(sample.resampled(7, 0).known) == 7
    for work, number in ((resamples._WORK, 1000), (10_000, 500), (1000, 200)):
        monkeypatch.setattr(resamples, "_WORK", work)
        assert len(sample.resampled(None, 0).known) == number


@pytest.mark.parametrize("which", ["any", "all right", "one never predicted"])
def test_what_each_interval_rests_on(which):
    """Counted anew by plain loops: how many things a figure is a share of, and of how many groups they come."""
    probabilities, labels, groups, _ = case(0, samples=60)
    if which == "all right":  # where nothing scatters
        probabilities = labels.clamp(min=0) * 0.8 + 0.1
    elif which == "one never predicted":
        probabilities[:, 2] *= 0.4
    found = every_interval(probabilities, labels, "abc", groups, None, 50, 3)
    sample = Sample(probabilities, labels, groups)
    value, drawn = sample.itself(), sample.resampled(50, 3)
    present, absent = (labels == 1).numpy(), (labels == 0).numpy()
    chosen = (probabilities > 0.5).numpy() & (present | absent)
    rests = {"precision": chosen, "recall": present, "specificity": absent, "F1": chosen | present, "AP": present,
             "AUROC": present, "sensitivity_at_95_specificity": present}  # fmt: skip
    sizes = {of: np.array([rows[np.array(groups) == own].sum(0) for own in set(groups)]) for of, rows in rests.items()}
    units = {of: own.sum(0) for of, own in sizes.items()} | {"AUROC": 2 * np.minimum(present.sum(0), absent.sum(0))}
    number = {of: effective(own.astype(float)) for of, own in sizes.items()}
    together = {of: effective(own.sum(1).astype(float)) for of, own in sizes.items()}

    def ends(of, value, draws, units, number, alike=None):
        if of == "F1":
            return of_overlap(fraction(overlap(value), overlap(draws), units, number, 0.95, alike))
        return fraction(value, draws, units, number, 0.95, alike, biased=of == "AP")

    for of in rests:
        for i, name in enumerate("abc"):
            own = ends(of, value.classes[of][0, i], drawn.classes[of][:, i], units[of][i], number[of][i])
            assert found["per_class_intervals"][name][of] == pytest.approx(own, abs=3e-6), of
    means = {
        "mAP": "AP",
        "AUROC": "AUROC",
        "CP": "precision",
        "CR": "recall",
        "CF1": "F1",
        "specificity": "specificity",
    }
    for figure, of in (means | {"OP": "precision", "OR": "recall", "OF1": "F1"}).items():
        rest, alike, shares = units[of].sum(), together[of], value.classes[of][0]
        if figure in means:
            some = units[of] > 0
            rest, alike = (of_mean((overlap(shares) if of == "F1" else shares)[some], each[of][some])
                           for each in (units, number))  # fmt: skip
        own = ends(of, value.overall[figure][0], drawn.overall[figure], rest, together[of], alike)
        precision, recall = value.overall["CP"][0], value.overall["CR"][0]
        if which == "one never predicted" and figure in ("CP", "CF1"):  # of precision 0 by convention, and maybe 1
            more = precision + 1 / 3
            gain = 1 / 3 if figure == "CP" else 2 * more * recall / (more + recall) - value.overall["CF1"][0]
            own = own[0], min(own[1] + gain, 1)
        assert found["intervals"][figure] == pytest.approx(own, abs=3e-6), figure


def test_the_interval_of_a_calibration_error_by_its_parts():
    probabilities, labels, groups, _ = case(1, samples=60)
    found = every_interval(probabilities, labels, "abc", groups, None, 50, 3)
    sample = Sample(probabilities, labels, groups)
    value, drawn = sample.itself(), sample.resampled(50, 3)
    known, scores = (labels >= 0).numpy(), probabilities.double().numpy()
    total = known.sum(0)
    noise = drawn.gaps - value.gaps * (drawn.known / total)[:, :, None]
    bins = np.minimum((scores * 15).astype(int), 14)
    chance = np.array([[(p * (1 - p))[b == at].sum() for at in range(15)] for p, b in (
        (scores[known[:, i], i], bins[known[:, i], i]) for i in range(3))])  # fmt: skip
    scatter = noise.var(axis=0)
    wide = noise * np.sqrt(np.maximum(1, np.divide(chance, scatter, out=np.ones_like(chance), where=scatter > 0)))
    sizes = np.array([known[np.array(groups) == own].sum(0) for own in set(groups)], float)
    for i, name in enumerate("abc"):
        own = (each[..., i, :] / total[i] for each in (value.gaps[0], noise, wide))
        expected = error(*own, float(effective(sizes[:, i])), 0.95)
        assert found["per_class_intervals"][name]["ECE"] == pytest.approx(expected, abs=3e-6)
    own = (each.sum(axis=-2) / total.sum() for each in (value.gaps[0], noise, wide))
    expected = error(*own, float(effective(sizes.sum(1))), 0.95)
    assert found["intervals"]["ECE"] == pytest.approx(expected, abs=3e-6)


def test_a_class_that_is_nowhere_shown_counts_in_no_mean():
    """A mean of classes is as sure as those are in which it is defined."""
    probabilities, labels, groups, _ = case(0)
    more = torch.cat([labels, torch.zeros_like(labels[:, :1])], dim=1)
    alone, beside = (
        bootstrap_intervals(torch.cat([probabilities, probabilities[:, :1]], dim=1)[:, : own.shape[1]], own, groups, 50)
        for own in (labels, more)
    )
    for name in ("mAP", "CP", "CR", "CF1", "sensitivity"):
        assert beside[name] == pytest.approx(alone[name], abs=0.02), name


def test_groups_of_a_difference_are_as_many_as_equal_ones_would_be():
    probabilities, labels, _, _ = case(0)
    drawn = resampled_figures(probabilities, labels, ["large"] * 30 + [str(at) for at in range(10)], 5)
    assert [own.groups for own in drawn.values()] == pytest.approx([40**2 / (30**2 + 10)] * len(drawn))


def test_short_coverage():
    """The table of metrics/README.md in little: 40 of 40 sets of the worst setting, and of seeds."""
    found = coverage(Setting("", 60, [0.05] * 4), sets=40, resamples=100, truth_of=40_000)
    for name, share in found.items():
        assert share >= 0.8, (name, share)  # 0.95 is reached by chance in less than 0.8 one time in 2,000
    assert found["mAP"] >= 0.85
    for name, share in paired_coverage(3, sets=40, resamples=60, groups=20).items():
        assert share >= 0.8, (name, share)


@pytest.mark.parametrize(
    ("setting", "groups"),
    [(LesionSetting("", 30, [0.1] * 3, area=0.01), 400), (LesionSetting("", 20, [0.2] * 2, maps=True), 100)],
)
def test_short_coverage_of_localisation(setting, groups):
    """Where figures of pairs are drawn, and where masks and maps are."""
    found = lesion_coverage(setting, sets=40, resamples=60, population=Population(setting, groups=groups))
    assert {"attention_gain", "pixel_AP", "spurious_energy", "deletion_gain", "class insertion_gain"} <= set(found)
    for name, share in found.items():
        assert share >= 0.8, (name, share)


def test_short_coverage_of_a_class_with_a_dozen_small_lesions():
    """A few large values make its mean: 0.89 and 0.92 when a class knew of its own scatter alone."""
    setting = LesionSetting("", 15, [0.2] * 5, area=0.003)
    found = lesion_coverage(setting, sets=40, resamples=60, seed=1, population=Population(setting, 1, groups=400))
    assert found["class pixel_AP"] >= 0.92
    assert found["class attention_energy"] >= 0.93


def test_a_share_below_the_goal_is_not_rounded_up_to_it():
    assert [per_cent(share) for share in (0.897, 0.8996, 0.904, 0.95)] == ["89.7", "90.0", "90.4", "95"]


def test_a_figure_of_some_pairs_rests_on_the_groups_that_have_them():
    """A mark is in some pictures alone. Its intervals were those of as many groups as have any lesion: too narrow."""
    probabilities, labels, groups, pairs = case(0)
    marked = torch.zeros(len(labels), 1, dtype=torch.bool)
    marked[[i for i, group in enumerate(groups) if group in set(groups[:4])]] = True
    pairs["spurious_energy"] = pairs["energy"].masked_fill(~marked, math.nan)
    found = every_interval(probabilities, labels, "abc", groups, None, 50, 3, pairs=pairs)
    sample = Sample(probabilities, labels, groups, pairs)
    value, drawn = sample.itself(), sample.resampled(50, 3)
    differences = resampled_figures(probabilities, labels, groups, 50, 3, pairs)
    for name, column in (("attention_energy", "energy"), ("spurious_energy", "spurious_energy")):
        there, figure = ~pairs[column].isnan().numpy(), value.overall[name][0]
        sizes = np.array([there[np.array(groups) == own].sum(0) for own in set(groups)], float)
        number = float(effective(sizes.sum(1)))
        own = np.array([np.nansum(pairs[column].numpy()[np.array(groups) == own], axis=0) for own in set(groups)])
        skew = skewness(own.sum(1) - figure * sizes.sum(1))
        off = own - np.nan_to_num(value.classes[name][0]) * sizes
        expected = fraction(figure, drawn.overall[name], np.inf, number, 0.95, skew=skew)
        mean, draws = np.nan_to_num(value.classes[name][0]), drawn.classes[name]
        least = borrowed(variance(draws, effective(sizes)), mean * (1 - mean), sizes.sum(0), effective(sizes))
        assert found["intervals"][name] == pytest.approx(expected, abs=3e-6), name
        assert differences[name].groups == pytest.approx(number)
        for i, own in enumerate("abc"):
            ends = found["per_class_intervals"][own][name]
            if there[:, i].any():
                each = mean[i], draws[:, i], np.inf, effective(sizes[:, i]), 0.95
                assert ends == pytest.approx(fraction(*each, skew=skewness(off[:, i]), least=least[i]), abs=3e-6)
            else:
                assert ends is None
    assert differences["attention_gain"].groups == differences["attention_energy"].groups
    assert differences["spurious_energy"].groups < 5 < differences["attention_energy"].groups


def test_a_skewed_mean_reaches_farther_to_the_side_of_its_rare_values():
    """Of 30 groups one in five has a value far above the others; by hand: Hall (1992), (3.3)."""
    values = np.where(np.arange(30) % 5 == 0, 1.0, 0.0) * np.linspace(0.2, 0.9, 30)
    draws = np.random.default_rng(0).choice(values, (400, 30)).mean(1)
    mean, skew = values.mean(), skewness(values - values.mean())
    assert skew == pytest.approx(stats.skew(values) / 30**0.5)
    low, high = student(mean, draws, 30, 0.95, skew)
    error, times = np.sqrt(draws.var() * 30 / 29), stats.t.ppf(0.975, 29)
    assert low == pytest.approx(mean - times * error)
    turned = (high - mean) / error  # the cubic of the end is Student's quantile
    assert -turned + skew / 6 + skew * turned**2 / 3 - skew**2 * turned**3 / 27 == pytest.approx(-times)
    assert turned > 1.1 * times
    assert fraction(mean, draws, np.inf, 30, 0.95, skew=skew)[1] == pytest.approx(high)
    mirrored = student(-mean, -draws, 30, 0.95, -skew)
    assert mirrored.tolist() == pytest.approx([-high, -low])
    even = student(mean, draws, 30, 0.95)
    assert even.tolist() == pytest.approx([mean - times * error, mean + times * error])


def test_the_gain_of_a_class_borrows_scatter_and_a_difference_does_not():
    """The variance of a ratio grows with its square; a difference may lie at 0, and scatters there as ever."""
    probabilities, labels, groups, pairs = case(0)
    pairs["deletion_gain"] = pairs["energy"] - 0.5
    found = every_interval(probabilities, labels, "abc", groups, None, 50, 3, pairs=pairs)["per_class_intervals"]
    sample = Sample(probabilities, labels, groups, pairs)
    value, drawn = sample.itself(), sample.resampled(50, 3)
    energy, uniform = (sample.pair_sums()[name] for name in ("energy", "uniform"))
    sizes = sample.pair_sizes()["energy"]
    number = effective(sizes)
    for name, base, unit in (("attention_gain", uniform, 2), ("deletion_gain", sizes, None)):
        mean, draws = value.classes[name][0], drawn.classes[name]
        own = energy if unit else energy - 0.5 * sizes
        least = borrowed(variance(draws, number), mean**unit, sizes.sum(0), number) if unit else 0.0
        ends = student(mean, draws, number, 0.95, skewness(own - mean * base), least)
        for i in (1, 2):  # the first class is of two pictures
            assert found["abc"[i]][name] == pytest.approx(ends[:, i], abs=3e-6), name


def test_the_difference_of_a_class_rests_on_the_groups_that_show_it():
    probabilities, labels, groups, _ = case(0)
    drawn = resampled_figures(probabilities, labels, groups, 5, class_figures=["AP/a", "AP/b", "AP/c"])
    for i, name in enumerate(("AP/a", "AP/b", "AP/c")):
        sizes = np.array([(labels[np.array(groups) == own, i] == 1).sum() for own in set(groups)], float)
        assert drawn[name].groups == pytest.approx(float(effective(sizes)))


def test_drawn_precisions_of_classes_are_those_of_the_resamples():
    probabilities, labels, groups, pairs = case(1)
    drawn = resampled_figures(probabilities, labels, groups, 40, 3, pairs, class_figures=["AP/a", "AP/b", "AP/c"])
    expected = Sample(probabilities, labels, groups).resampled(40, 3).classes["AP"]
    for i, name in enumerate(("AP/a", "AP/b", "AP/c")):
        assert np.array_equal(drawn.pop(name).draws, expected[:, i], equal_nan=True)
    plain = resampled_figures(probabilities, labels, groups, 40, 3, pairs)
    assert drawn.keys() == plain.keys()
    assert all(np.array_equal(drawn[name].draws, plain[name].draws, equal_nan=True) for name in plain), "the same draws"


def test_what_is_never_defined_is_none():
    probabilities = torch.rand(5, 2)
    for labels in (torch.zeros(5, 2), torch.full((5, 2), -1)):
        result = bootstrap_intervals(probabilities, labels, resamples=10)
        assert set(result) == set(figures(probabilities, labels, ["a", "b"])["metrics"])
        assert set(result.values()) == {None}
    assert set(bootstrap_intervals(torch.zeros(0, 2), torch.zeros(0, 2), resamples=10).values()) == {None}


def test_one_group_says_nothing_of_others():
    probabilities, labels, _, pairs = case(0)
    for name, interval in bootstrap_intervals(probabilities, labels, ["x"] * 40, resamples=3, pairs=pairs).items():
        if name == "attention_gain":
            assert interval is None
        else:
            assert interval[0] < 0.02
            assert interval[1] > 0.98


def test_paired_intervals_hold_both_scatters():
    first, second = seeds_of_chance([(0.2, 0.25, 0.3), (0.1, 0.15, 0.14)])
    low, high = paired_intervals(first, second)["mAP"]
    values = [np.array([own["mAP"].value for own in method]) for method in (first, second)]
    draws = [np.stack([own["mAP"].draws for own in method]).mean(axis=0) for method in (first, second)]
    parts = [(np.var(draws[0] - draws[1]) * 400 / 399, 399), *((own.var(ddof=1) / 3, 2) for own in values)]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / own for part, own in parts)
    half = stats.t.ppf(0.975, freedom) * total**0.5
    middle = values[0].mean() - values[1].mean()
    assert [low, high] == pytest.approx([middle - half, middle + half], abs=1e-9)
    assert paired_intervals(first[:1], first[:1])["mAP"] == [0.0, 0.0], "a method equals itself for sure"
    without = [{name: own for name, own in second[0].items() if name != "ECE"}]
    assert "ECE" not in paired_intervals(first, without)


def seeds_of_chance(qualities):
    """What two methods of some seeds give on many groups; how well a seed separates is all that differs."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy((rng.random((400, 3)) < 0.4).astype(np.int64))
    noise = torch.from_numpy(rng.random((400, 3)))
    return [
        [resampled_figures((q * labels + (1 - q) * noise).clamp(0, 1), labels, resamples=500) for q in method]
        for method in qualities
    ]


def of_groups_alone(first, second):
    """The interval of another test set, the mean of each over its seeds."""
    return paired_intervals(*([{"mAP": Resampled(
        float(np.mean([own["mAP"].value for own in method])), np.mean([own["mAP"].draws for own in method], axis=0),
        method[0]["mAP"].groups,
    )}] for method in (first, second)))["mAP"]  # fmt: skip


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
    alone = paired_intervals(first, second)["mAP"]
    for both in (([1, 1, 2], [2, 1, 1]), ([None, 1, 2], [2, 1, None]), ([1, 2, 3], [1, 2, 4])):
        assert paired_intervals(first, second, training_seeds=both)["mAP"] == alone, "which is which, nobody knows"
    mirrored = paired_intervals(second, first, training_seeds=([3, 2, 1], [1, 2, 3]))["mAP"]
    assert mirrored == pytest.approx([-high, -low])


def test_one_seed_each_has_the_interval_of_groups_alone():
    first, second = seeds_of_chance([(0.2,), (0.1,)])
    for seeds in (None, ([0], [0]), ([0], [1])):
        assert paired_intervals(first, second, training_seeds=seeds)["mAP"] == of_groups_alone(first, second)


def test_a_seed_whose_figure_is_undefined_is_left_out():
    draws = np.random.default_rng(0).normal(0.5, 0.01, 400)
    known, undefined = Resampled(0.5, draws, 40), Resampled(math.nan, np.full(400, np.nan), 40)
    other = [{"mAP": Resampled(0.2, draws - 0.3, 40)}]
    assert paired_intervals([{"mAP": known}, {"mAP": undefined}], other)["mAP"] == pytest.approx([0.3, 0.3])
    assert paired_intervals([{"mAP": undefined}], other)["mAP"] is None
    noisy = [{"mAP": Resampled(0.2, draws[::-1] - 0.3, 40)}]
    low, high = paired_intervals([{"mAP": known}, {"mAP": undefined}], noisy)["mAP"]
    assert [low, high] == paired_intervals([{"mAP": known}], noisy)["mAP"]
    assert high - low > 0.01
    two, seeds = [{"mAP": known}, {"mAP": undefined}], ([1, 2], [1, 2])
    for sign, methods in ((1, (two, other * 2)), (-1, (other * 2, two))):  # then there is no pair of each seed
        found = paired_intervals(*methods, training_seeds=seeds)["mAP"]
        assert found == paired_intervals(*methods)["mAP"] == pytest.approx([0.3 * sign] * 2)
    alone = [{"mAP": known._replace(groups=1.0)}]
    assert paired_intervals(alone, other)["mAP"] is None, "one group says nothing"


def test_the_number_of_groups_must_fit():
    with pytest.raises(InputError, match="2 groups"):
        bootstrap_intervals(torch.rand(2, 1), torch.zeros(2, 1), ["x"])


def test_public_figures_take_arrays_as_they_take_tensors():
    """Who has no torch in hand got `'numpy.ndarray' object has no attribute 'detach'`."""
    scores, labels = np.linspace(0, 1, 12).reshape(6, 2), np.array([[0, 1], [1, 0]] * 3)
    tensors = torch.from_numpy(scores), torch.from_numpy(labels)
    assert figures(scores, labels, ["a", "b"]) == figures(*tensors, ["a", "b"])
    assert bootstrap_intervals(scores, labels, resamples=9) == bootstrap_intervals(*tensors, resamples=9)
    with pytest.raises(InputError, match="at least one resample, got 0"):
        bootstrap_intervals(scores, labels, resamples=0)
