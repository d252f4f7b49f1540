import numpy as np
import pytest

from ibca_lightning.metrics.confusions import error_company

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
