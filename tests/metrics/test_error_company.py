import numpy as np
import pytest

from ibca_lightning.metrics.confusions import error_company, exclusive_together

LABELS = np.array([[0, 1, 1], [0, 1, -1], [0, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 1], [-1, 1, 1]])
DECIDED = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0], [1, 1, 1]], dtype=bool)


def test_shares_counted_by_hand():
    company = error_company(DECIDED, LABELS)
    wrong = company["false positive"]
    # The first class is a false alarm in rows 0, 1, 2; it is absent in rows 0 to 3. Row 6 is unknown.
    assert wrong.errors.tolist() == [3, 0, 2]
    assert wrong.present[0, 1] == pytest.approx(2 / 3)
    assert wrong.present_usually[0, 1] == pytest.approx(2 / 4)
    assert wrong.present[0, 2] == pytest.approx(1 / 2), "in row 1 it is not known"
    assert wrong.predicted[0, 2] == pytest.approx(1 / 3)
    assert wrong.predicted_usually[0, 2] == pytest.approx(2 / 4)
    assert np.isnan(wrong.present[1]).all()
    missed = company["false negative"]
    assert missed.errors.tolist() == [1, 1, 2]
    assert missed.present[2, 1] == pytest.approx(1 / 2)  # rows 0 and 5
    assert missed.predicted[1, 0] == 1  # row 1
    assert missed.predicted_usually[1, 0] == pytest.approx(3 / 4)  # rows 0, 1, 4, 6


def test_classes_that_exclude_each_other_and_are_predicted_together() -> None:
    names, one_hot = ["a", "b", "c", "rare"], np.tile([[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]], (5, 1))
    one_hot[3, 3] = 1  # alone with c in one picture: never met a or b, by chance
    decided = one_hot.astype(bool)
    assert exclusive_together(decided, one_hot, names) == {"pictures": 0, "certain": 0, "found": []}
    decided[[0, 4], 1], decided[0, 2], decided[8, 3] = True, True, True
    # a and b are in 5 and 10 of 20 pictures, and 2.5 are too few to say so; with the training labels it is 5.
    assert exclusive_together(decided, one_hot, names)["found"] == []
    found = exclusive_together(decided, one_hot, names, one_hot)
    pairs = [(own["classes"], own["pictures"], own["expected"]) for own in found["found"]]
    # Expected of the 20 pictures that were decided, as those that were predicted are.
    assert (pairs, found["pictures"], found["certain"]) == ([(["a", "b"], 2, 2.5), (["a", "c"], 1, 2.5)], 2, 0)
    met = np.concatenate([one_hot, [[1, 1, 0, 0]]])
    assert [own["classes"] for own in exclusive_together(decided, one_hot, names, met)["found"]] == [["a", "c"]]
    unknown = np.full_like(one_hot, -1)
    assert exclusive_together(decided, unknown, names) == {"pictures": 0, "certain": 0, "found": []}
    # Of one column they exclude each other, however rare they are.
    found = exclusive_together(decided, one_hot, names, columns=[["rare", "gone", "a"], ["b"]])
    assert (found["pictures"], found["certain"]) == (1, 1)
    assert [(own["classes"], own["pictures"], own["certain"]) for own in found["found"]] == [(["a", "rare"], 1, True)]
