import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from ibca_lightning.metrics.curves import curves


def test_the_points_are_those_of_an_independent_implementation_ties_and_unknown_labels_included():
    generator = np.random.default_rng(0)
    for size in (7, 300):
        scores = generator.integers(0, 20, size) / 20
        labels = generator.integers(-1, 2, size)
        known = labels >= 0
        found = curves(scores, labels)
        precision, recall, thresholds = precision_recall_curve(labels[known], scores[known])
        assert np.array_equal(found.thresholds, thresholds[::-1])
        assert np.allclose(found.precision, precision[:-1][::-1])
        assert np.allclose(found.recall, recall[:-1][::-1])
        alarms, sensitivity, at = roc_curve(labels[known], scores[known], drop_intermediate=False)
        assert np.array_equal(found.thresholds, at[1:])
        assert np.allclose(found.alarms, alarms[1:])
        assert np.allclose(found.recall, sensitivity[1:])


def test_a_class_without_a_positive_or_without_a_negative_has_no_curves():
    scores = np.array([0.1, 0.9])
    for labels in ([0, 0], [1, 1], [1, -1], [-1, -1]):
        assert curves(scores, np.array(labels)) is None
