"""Intervals from the scatter of resamples, against scipy's where they are known."""

import numpy as np
import pytest
from scipy import stats

from ibca_lightning.metrics.resampling.spread import (
    _wilson,
    borrowed,
    effective,
    error,
    fraction,
    listed,
    of_mean,
    of_overlap,
    overlap,
    quantile,
    student,
    variance,
)

MANY = 1e9  # groups: Student's quantile is the normal one, and G / (G - 1) is 1


def scattered(value: float, number: float) -> np.ndarray:
    """Two resamples with the variance of a share out of `number`."""
    return value + np.sqrt(value * (1 - value) / number) * np.array([-1.0, 1.0])


def wilson(found: int, number: int) -> tuple[float, float]:
    ends = stats.binomtest(found, number).proportion_ci(0.95, "wilson")
    return ends.low, ends.high


def test_effective_groups_and_their_quantile():
    assert effective(np.array([[4.0, 9.0, 0.0], [4.0, 1.0, 0.0]])) == pytest.approx([2, 100 / 82, 0])
    for groups in (3.0, 10.0, MANY):
        assert quantile(groups, 0.9) == pytest.approx(stats.t.ppf(0.95, groups - 1))
    assert quantile(1.0, 0.95) == quantile(1.05, 0.95) == 50


def test_variance_is_that_of_the_known_resamples():
    draws = np.array([[0.1, np.nan, 0.5], [0.4, np.nan, np.nan], [0.7, 0.2, np.nan], [0.2, 0.6, np.nan]])
    expected = np.nanvar(draws, axis=0)
    assert variance(draws, MANY) == pytest.approx(expected)
    assert variance(draws, 5.0) == pytest.approx(expected * 5 / 4)
    assert variance(draws, 0.0) == pytest.approx(expected * 1.05 / 0.05)
    assert variance(np.full((2, 1), np.nan), 5.0).tolist() == [0]


@pytest.mark.parametrize(("found", "number"), [(20, 50), (4, 12), (8, 12)])
def test_a_fraction_has_the_interval_of_wilson(found, number):
    value = found / number
    ends = fraction(np.array(value), scattered(value, number), np.inf, MANY, 0.95)
    assert ends == pytest.approx(wilson(found, number), abs=1e-6)
    same = fraction(np.array(value), scattered(value, 10 * number), number, MANY, 0.95)
    assert same == pytest.approx(ends, abs=1e-6), "it rests on no more than its units"


@pytest.mark.parametrize("found", [1, 2])
def test_few_found_or_missed_have_the_end_of_clopper_and_pearson(found):
    number = 20
    low, high = wilson(found, number)
    low = min(low, stats.beta.ppf(0.05, found, number - found + 1))
    value = found / number
    ends = fraction(np.array(value), scattered(value, number), np.inf, MANY, 0.95)
    assert ends == pytest.approx([low, high], abs=1e-6)
    mirrored = fraction(np.array(1 - value), scattered(value, number), np.inf, MANY, 0.95)
    assert mirrored == pytest.approx([1 - high, 1 - low], abs=1e-6)


@pytest.mark.parametrize("number", [4.0, 10.0, 100.0, 1e6])
def test_an_end_never_falls_where_more_is_found_and_steps_by_a_fifth_of_a_unit_at_three(number):
    found = np.linspace(0, min(number, 6), 2001)
    low, high = (number * ends for ends in _wilson(found / number, np.array(number), 1e6, 0.95))
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
    assert np.diff(low).max() < 0.22
    assert found[np.diff(low).argmax() + 1] == pytest.approx(3, abs=0.01)


def test_a_fraction_without_scatter_rests_on_its_groups_or_what_it_is_told():
    alike = np.full(5, 0.5)
    for options, number in (((16.0, 0.95), 16), ((MANY, 0.95, 40.0), 40)):
        square = quantile(options[0], 0.95) ** 2
        half = np.sqrt(square * (number / 4 + square / 4)) / (number + square)
        assert fraction(np.array(0.5), alike, np.inf, *options) == pytest.approx([0.5 - half, 0.5 + half])
    assert fraction(np.array(0.5), alike, 0.0, MANY, 0.95).tolist() == [0, 1]
    assert np.isnan(fraction(np.array([np.nan]), np.full((5, 1), np.nan), 9.0, 9.0, 0.95)).all()


def test_a_biased_fraction_is_joined_with_what_it_is_without_the_bias():
    draws = 0.1 + scattered(0.4, 50)  # resamples lie above the figure, as the figure above the truth: at 0.3
    low, high = fraction(np.array(0.4), draws, np.inf, MANY, 0.95, biased=True)
    assert high == pytest.approx(wilson(20, 50)[1], abs=1e-6)
    assert low == pytest.approx(wilson(15, 50)[0], abs=1e-6)
    without = fraction(np.array(0.4), np.full(3, np.nan), 50.0, MANY, 0.95, 50.0, biased=True)
    assert without == pytest.approx(wilson(20, 50), abs=1e-6)


def test_a_fraction_whose_bias_is_larger_than_it_keeps_its_ends():
    low, high = fraction(np.array(0.1), 0.4 + scattered(0.1, 10), np.inf, MANY, 0.95, biased=True)
    assert (low, high) == pytest.approx((0, wilson(1, 10)[1]), abs=1e-6)


def test_students_interval():
    draws = np.array([1.0, 2.0, 3.0, 6.0])
    half = stats.t.ppf(0.975, 4) * np.sqrt(np.var(draws) * 5 / 4)
    assert student(np.array(3.0), draws, 5.0, 0.95) == pytest.approx([3 - half, 3 + half])
    assert np.isnan(student(np.array(3.0), draws, 1.9, 0.95)).all()
    assert not np.isnan(student(np.array(3.0), draws, 2.0, 0.95)).any()


def test_a_class_borrows_the_scatter_of_one_group_more():
    unit, pairs, groups = np.array([0.2, 0.1, 0.0]), np.array([10.0, 40.0, 0.0]), np.array([5.0, 20.0, 0.0])
    scatter = np.array([0.01, 0.004, 0.0])
    dispersion = (0.01 * 10**2 + 0.004 * 40**2) / (0.2 * 10 + 0.1 * 40)  # of a pair, in units
    expected = [(5 * 0.01 + dispersion * 0.2 / 10) / 6, 0.004, 0]  # the second scatters more than all do
    assert borrowed(scatter, unit, pairs, groups) == pytest.approx(expected)
    assert dispersion * 0.1 / 40 < 0.004
    alone = [each[:1] for each in (scatter, unit, pairs, groups)]
    assert borrowed(*alone) == pytest.approx([0.01]), "of one class there is no other"
    # One that is all but constant beside one of hits and misses: of another kind, at most ten times its own.
    even = borrowed(np.array([1e-6, 0.02]), np.array([0.25, 0.25]), np.array([10.0, 10.0]), np.array([9.0, 9.0]))
    assert even == pytest.approx([1.9e-6, 0.02])
    assert borrowed(np.zeros(2), unit[:2], pairs[:2], groups[:2]).tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["share", "gain"])
def test_an_interval_is_of_the_variance_that_it_has_at_least(kind):
    draws, groups, least = scattered(0.4, 50), 40.0, 0.01  # more than 0.4 x 0.6 / 50
    wide = 0.4 + np.sqrt(least * 39 / 40) * np.array([-1.0, 1.0])
    for own, other in ((least, draws), (0.001, wide), (0.0, wide)):
        if kind == "share":
            ends = (
                fraction(np.array(0.4), each, np.inf, groups, 0.95, skew=0.2, least=at)
                for each, at in ((other, own), (wide, 0.0))
            )
        else:
            ends = (student(np.array(0.4), each, groups, 0.95, 0.2, at) for each, at in ((other, own), (wide, 0.0)))
        first, second = ends
        assert first == pytest.approx(second)


def test_a_mean_over_classes_rests_on_what_its_classes_do():
    assert of_mean(np.array([]), np.array([])) == 0
    assert of_mean(np.array([0.3]), np.array([12.0])) == pytest.approx(12)
    assert of_mean(np.array([0.3, 0.3]), np.array([12.0, 12.0])) == pytest.approx(2 * (12 + 3.84) - 3.84)
    shares = (np.array([10 * 0.2, 30 * 0.9]) + 1.92) / (np.array([10, 30]) + 3.84)
    own = (shares * (1 - shares) / (np.array([10, 30]) + 3.84)).sum() / 4
    expected = shares.mean() * (1 - shares.mean()) / own - 3.84
    assert of_mean(np.array([0.2, 0.9]), np.array([10.0, 30.0])) == pytest.approx(expected)


def test_an_error_is_held_and_one_of_chance_may_be_none():
    generator = np.random.default_rng(0)
    noise = 0.01 * generator.standard_normal((400, 15))
    chance, real = 0.01 * generator.standard_normal(15), np.full(15, 0.02)
    for gaps, least in ((chance, 0.0), (real, 0.2)):
        low, high = error(gaps, noise, noise, 100.0, 0.95)
        assert low <= np.abs(gaps).sum() <= high <= 1
        assert low >= least
    assert error(chance, noise, noise, 100.0, 0.95)[0] == 0
    widths = [np.diff(error(real, noise, wide, groups, 0.95))[0]
              for wide, groups in ((noise, 100.0), (3 * noise, 100.0), (noise, 3.0))]  # fmt: skip
    assert widths[0] < widths[1]
    assert widths[0] < widths[2]
    assert error(real, noise, noise, 1.9, 0.95).tolist() == [0, 1]


def test_shares_of_f1_and_lists():
    assert of_overlap(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 2 / 3, 1])
    assert overlap(of_overlap(np.array([0.0, 0.3, 1.0]))) == pytest.approx([0, 0.3, 1])
    assert listed(np.array([0.1, 0.2])) == [0.1, 0.2]
    assert listed(np.array([np.nan, 0.2])) is listed(np.array([0.1, np.nan])) is None
