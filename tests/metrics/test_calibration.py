import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression

from ibca_lightning.metrics.calibration import calibrated, fit_calibration, require_calibration
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.system.errors import InputError


def case(samples=400, classes=3, known=True):
    """Logits that are twice too sure of themselves and shifted, other in each class."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(samples, classes, generator=generator) * 2 + torch.linspace(-2, 1, classes)
    labels = (torch.rand(samples, classes, generator=generator) < true.sigmoid()).to(torch.int8)
    if not known:
        labels[torch.rand(samples, classes, generator=generator) < 0.2] = -1
    return (true * torch.tensor([2.0, 0.5, 3.0]) + torch.tensor([1.0, -2.0, 0.0])), labels


class Decisions(LogisticRegression):
    """Gives scikit-learn the logits as they are."""

    def decision_function(self, values):
        return values[:, 0]


def test_platt_is_that_of_scikit_learn():
    logits, labels = case(known=False)
    found = calibrated(logits, fit_calibration(logits, labels, "platt"))
    from sklearn.frozen import FrozenEstimator

    for i in range(3):
        known = (labels[:, i] >= 0).numpy()
        values, truth = logits[:, [i]].double().numpy(), labels[:, i].numpy()
        model = Decisions().fit(values[known], truth[known])
        reference = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid").fit(values[known], truth[known])
        np.testing.assert_allclose(found[:, i], reference.predict_proba(values)[:, 1], atol=2e-5)


def test_temperature_is_the_best_of_a_fine_grid_and_undoes_what_was_done_to_the_logits():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(4000, 2, generator=generator) * 2
    labels = (torch.rand(4000, 2, generator=generator) < true.sigmoid()).to(torch.int8)
    found = fit_calibration(true * 4, labels, "temperature")
    assert found["scale"] == pytest.approx([0.25, 0.25], rel=0.05)
    assert found["scale"][0] == found["scale"][1]
    assert found["offset"] == [0, 0]

    def loss(scale):
        probabilities = (true.double() * 4 * scale).sigmoid()
        return -torch.where(labels == 1, probabilities, 1 - probabilities).log().mean()

    grid = torch.linspace(0.2, 0.3, 1001).double()
    assert found["scale"][0] == pytest.approx(
        float(grid[torch.stack([loss(scale) for scale in grid]).argmin()]), abs=1e-3
    )


@pytest.mark.parametrize("kind", ["temperature", "platt"])
def test_calibration_lowers_the_error_and_leaves_the_order(kind):
    (logits, labels), names = case(2000), ["a", "b", "c"]
    fit, test = slice(0, 1000), slice(1000, None)
    record = fit_calibration(logits[fit], labels[fit], kind)
    before = figures(logits[test].sigmoid(), labels[test], names)["metrics"]
    after = figures(calibrated(logits[test], record), labels[test], names)["metrics"]
    assert after["class_ECE"] < (0.5 if kind == "platt" else 0.95) * before["class_ECE"]
    for name in ("mAP", "AUROC", "sensitivity_at_95_specificity"):
        assert after[name] == pytest.approx(before[name], abs=1e-4), "but for float32, in which probabilities saturate"


def test_separable_and_reversed_data_give_finite_scales_that_keep_the_order():
    # Platt's targets for two positives and two negatives are 3/4 and 1/4: a logit of log 3 at the mean of each.
    logits = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]])
    labels = torch.tensor([[1, 1], [1, 1], [0, 0], [0, 0]])
    record = fit_calibration(logits, labels, "platt")
    assert record["scale"][0] == pytest.approx(np.log(3), abs=1e-5)
    # The second class's logits are the wrong way round: the lowest scale, a hundredth of that of standardised logits.
    assert record["scale"][1] == pytest.approx(0.01)
    for kind in ("platt", "temperature"):
        assert fit_calibration(10 * logits[:, 1:], labels[:, 1:], kind)["scale"] == pytest.approx([0.001])
    assert record["offset"] == pytest.approx([0, 0], abs=1e-5)
    assert fit_calibration(logits[:, :1], labels[:, :1], "temperature")["scale"] == pytest.approx([np.log(3)], abs=1e-5)


def test_classes_without_a_positive_or_a_negative_stay_as_they_are():
    logits, labels = case(50)
    labels[:, 0], labels[:, 2] = 0, -1
    record = fit_calibration(logits, labels, "platt")
    assert (record["scale"][0], record["offset"][0], record["scale"][2]) == (1, 0, 1)
    alone = fit_calibration(logits[:, [1]], labels[:, [1]], "temperature")
    assert fit_calibration(logits, labels, "temperature")["scale"] == pytest.approx([alone["scale"][0]] * 3)
    assert fit_calibration(logits, torch.zeros(50, 3), "temperature")["scale"] == [1, 1, 1]
    assert fit_calibration(logits, labels, "none") is None


def test_infinite_logits_and_inference_mode_do_not_matter():
    logits, labels = case(60)
    logits[0, 0], labels[0, 0] = float("inf"), 1
    with torch.inference_mode():
        inside = fit_calibration(logits + 0, labels, "platt")
    assert inside == fit_calibration(logits, labels, "platt")
    assert all(np.isfinite([*inside["scale"], *inside["offset"]]))
    assert float(calibrated(logits, inside)[0, 0]) == 1


def test_by_hand_and_without():
    logits = torch.tensor([[0.0, 2.0]], dtype=torch.bfloat16)
    record = {"kind": "platt", "scale": [1.0, 0.5], "offset": [0.0, -1.0]}
    assert calibrated(logits, record).tolist() == [[0.5, 0.5]]
    assert calibrated(logits, record).dtype == torch.float32
    assert torch.equal(calibrated(logits, None), logits.float().sigmoid())


@pytest.mark.parametrize(
    "change",
    [{"kind": "magic"}, {"scale": [1.0]}, {"offset": None}, {"scale": [1.0, float("nan")]}, {"offset": ["a", "b"]}],
)
def test_a_record_that_is_none_is_refused(change):
    record = {"kind": "platt", "scale": [1.0, 0.5], "offset": [0.0, -1.0]}
    require_calibration(record, 2, "x.ckpt")
    require_calibration(None, 2, "x.ckpt")
    with pytest.raises(InputError, match=r"x\.ckpt with a calibration of 2 classes"):
        require_calibration(record | change, 2, "x.ckpt")
    with pytest.raises(InputError, match="2 classes"):
        require_calibration([1, 2], 2, "x.ckpt")
