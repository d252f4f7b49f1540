"""Ranks of methods over data sets, against Demsar's own example and table."""

import pytest

from tests.bench.ranks import critical_difference, mean_ranks


def test_ties_share_a_rank_and_methods_that_a_place_lacks_are_left_out() -> None:
    first = {"a": 0.7, "b": 0.9, "c": 0.7, "d": 0.1}
    second = {"b": 0.2, "a": 0.3, "c": 0.1}
    assert mean_ranks([first, second]) == {"b": [1.0, 2.0], "a": [2.5, 1.0], "c": [2.5, 3.0]}


def test_the_critical_difference_is_that_of_the_papers_example() -> None:
    # Demsar 2006: four classifiers on 14 data sets, q 2.569, CD 1.25; two of them, q 1.960 of table 5.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)
    assert critical_difference(2, 1) == pytest.approx(1.960, abs=0.001)
