import math

import pytest
import torch
import torch.nn.functional as F

from ibca_lightning import losses
from ibca_lightning.losses import (
    AsymmetricLoss,
    FocalLoss,
    GeneralisedCE,
    LogitAdjustedBCE,
    Loss,
    MaskedBCE,
    masked_bce,
    masked_mean,
    require_scalar,
)
from ibca_lightning.system.errors import InputError

LOSSES = [
    MaskedBCE(),
    MaskedBCE([2.0, 0.5, 1.0]),
    AsymmetricLoss(),
    AsymmetricLoss(0.5, 0.5, 0.0),
    FocalLoss(2.0, 0.25),
    FocalLoss(0.5, 0.25, smoothing=0.1),
    GeneralisedCE(),
]
LABELS = torch.tensor([[1, 0, -1], [0, -1, 1]])
LOSSES.append(LogitAdjustedBCE())
LOSSES[-1].see_labels(LABELS.repeat(5, 1))


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def random_logits(scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def test_masked_bce_by_hand() -> None:
    # p = 0.8 for a positive, 0.25 for a negative, and an unknown: (-log 0.8 - log 0.75) / 2
    loss = masked_bce(torch.tensor([[logit(0.8), logit(0.25), 3.0]]), torch.tensor([[1, 0, -1]]))
    assert loss.item() == pytest.approx((-math.log(0.8) - math.log(0.75)) / 2, abs=1e-6)


def test_pos_weight_by_hand() -> None:
    logits = torch.tensor([[logit(0.8), logit(0.25), 3.0]])
    loss = masked_bce(logits, torch.tensor([[1, 0, -1]]), torch.tensor([3.0, 7.0, 9.0]))
    assert loss.item() == pytest.approx((-3 * math.log(0.8) - math.log(0.75)) / 2, abs=1e-6)


def test_logit_adjustment_by_hand() -> None:
    # priors (1 + 1) / (1 + 5 + 2) = 1/4 and, of 3 known labels, (2 + 1) / (2 + 1 + 2) = 3/5: odds of 1/3 and 3/2
    seen = torch.tensor([[1, 1], [0, 1], [0, 0], [0, -1], [0, -1], [0, -1]])
    logits, labels = torch.tensor([[logit(0.8), logit(0.25)]]), torch.tensor([[1, 0]])
    for strength in (1.0, 0.5, 0.0):
        loss = LogitAdjustedBCE(strength)
        with pytest.raises(InputError, match="the training labels for LogitAdjustedBCE's prior"):
            loss(logits, labels)
        loss.see_labels(seen)
        odds = 4 * (1 / 3) ** strength, 1 / 3 * 1.5**strength
        expected = -math.log(odds[0] / (1 + odds[0])) + math.log(1 + odds[1])
        assert loss(logits, labels).item() == pytest.approx(expected / 2, abs=1e-6)
        assert loss.state_dict() == {}, "made of the data again"
    with pytest.raises(InputError, match="strength >= 0"):
        LogitAdjustedBCE(-0.1)


def test_where_the_adjusted_loss_is_least_the_prediction_has_no_prior() -> None:
    labels = (torch.arange(100) < 10).long()[:, None]  # and the pictures say nothing
    loss, value = LogitAdjustedBCE(), torch.zeros(1, requires_grad=True)
    loss.see_labels(labels)
    optimiser = torch.optim.LBFGS([value], max_iter=50)

    def closure() -> float:
        optimiser.zero_grad()
        cost = loss(value.expand(100, 1), labels)
        cost.backward()
        return cost.item()

    optimiser.step(closure)
    assert value.sigmoid().item() == pytest.approx(0.5, abs=0.03), "and not 0.1"


def test_asymmetric_by_hand() -> None:
    # positive p = 0.8: (0.2)^1 * -log 0.8; negative p = 0.25, clip 0.05: p_m = 0.2, 0.2^4 * -log 0.8
    loss = AsymmetricLoss()(torch.tensor([[logit(0.8), logit(0.25)]]), torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx((0.2 + 0.2**4) * -math.log(0.8) / 2, abs=1e-6)


def test_asymmetric_drops_very_easy_negatives() -> None:
    logits = torch.tensor([[logit(0.04)]], requires_grad=True)
    loss = AsymmetricLoss()(logits, torch.tensor([[0]]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.item() == 0


def test_focal_by_hand() -> None:
    # positive p = 0.8: 0.2^2 * -log 0.8; negative p = 0.25: 0.25^2 * -log 0.75
    logits, labels = torch.tensor([[logit(0.8), logit(0.25)]]), torch.tensor([[1, 0]])
    positive, negative = 0.04 * -math.log(0.8), 0.0625 * -math.log(0.75)
    assert FocalLoss()(logits, labels).item() == pytest.approx((positive + negative) / 2, abs=1e-6)
    assert FocalLoss(alpha=0.1)(logits, labels).item() == pytest.approx((0.1 * positive + 0.9 * negative) / 2, abs=1e-6)


def test_without_focusing_all_are_bce() -> None:
    expected = masked_bce(random_logits(), LABELS)
    torch.testing.assert_close(AsymmetricLoss(0, 0, 0)(random_logits(), LABELS), expected)
    torch.testing.assert_close(FocalLoss(gamma=0)(random_logits(), LABELS), expected)
    torch.testing.assert_close(MaskedBCE([1.0, 1.0, 1.0])(random_logits(), LABELS), expected)


def test_a_negative_just_above_the_clip_has_its_small_cost() -> None:
    loss = AsymmetricLoss(gamma_neg=0.5, clip=0.05)(torch.tensor([[logit(0.051)]]), torch.tensor([[0]]))
    assert loss.item() == pytest.approx(0.001**0.5 * -math.log(1 - 0.001), rel=1e-3)


def test_equal_focusing_without_clip_is_focal() -> None:
    expected = FocalLoss(gamma=1.5)(random_logits(), LABELS)
    torch.testing.assert_close(AsymmetricLoss(1.5, 1.5, 0)(random_logits(), LABELS), expected)


def test_all_known_is_torch_bce() -> None:
    labels = torch.tensor([[1, 0, 1], [0, 0, 1]])
    expected = F.binary_cross_entropy_with_logits(random_logits(), labels.float())
    torch.testing.assert_close(masked_bce(random_logits(), labels), expected)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda x: type(x).__name__)
def test_unknown_labels_carry_no_gradient(loss: Loss) -> None:
    logits = random_logits().requires_grad_()
    loss(logits, LABELS).backward()
    assert logits.grad is not None
    assert ((logits.grad != 0) == (LABELS >= 0)).all()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda x: type(x).__name__)
def test_all_unknown_is_zero(loss: Loss) -> None:
    logits = random_logits().requires_grad_()
    value = loss(logits, torch.full_like(LABELS, -1))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda x: type(x).__name__)
def test_extreme_logits_are_finite(loss: Loss, sign: int, dtype: torch.dtype) -> None:
    logits = (sign * torch.tensor([[3e4, -3e4, 3e4], [0.0, 3e4, -3e4]])).to(dtype).requires_grad_()
    value = loss(logits, LABELS)
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_gradients_are_those_of_the_formulae() -> None:
    logits = random_logits().double().requires_grad_()
    for loss in (lambda x: masked_mean(x**2, LABELS >= 0), lambda x: masked_mean(x**3, LABELS > 1)):
        assert torch.autograd.gradcheck(loss, logits)


def test_a_count_that_many_share_may_be_far_below_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One of 64 processes has the only known label: the mean of their counts is 1/64, and so no count.
    monkeypatch.setattr(losses, "share", lambda count: count / 64)
    values = torch.tensor([[3.0, 5.0]])
    assert masked_mean(values, torch.tensor([[True, False]])).item() / 64 == pytest.approx(3)
    assert masked_mean(values, torch.tensor([[False, False]])).item() == 0


def test_what_is_no_scalar_is_told_of_with_the_part_that_gave_it() -> None:
    assert require_scalar(MaskedBCE(), value := torch.tensor(0.5)) is value
    for given, got in ((torch.zeros(2, 3), r"one of shape \(2, 3\)"), (0.5, "a float"), (None, "a NoneType")):
        with pytest.raises(InputError, match=rf"a scalar tensor from MaskedBCE\.forward, got {got}; "):
            require_scalar(MaskedBCE(), given)


def test_generalised_cross_entropy_lies_between_bce_and_absolute_error() -> None:
    logits, labels = torch.tensor([[2.0, -1.0, 0.3], [0.0, 4.0, -2.0]]), torch.tensor([[1, 0, -1], [0, 0, 1]])
    p = torch.where(labels == 1, logits.sigmoid(), 1 - logits.sigmoid())
    known = labels >= 0
    assert GeneralisedCE(0.7)(logits, labels).item() == pytest.approx(float(((1 - p**0.7) / 0.7)[known].mean()))
    assert GeneralisedCE(1.0)(logits, labels).item() == pytest.approx(float((1 - p)[known].mean()))
    assert GeneralisedCE(1e-6)(logits, labels).item() == pytest.approx(float(masked_bce(logits, labels)), rel=1e-4)
    far = torch.tensor([[-200.0]], requires_grad=True)
    GeneralisedCE()(far, torch.tensor([[1]])).backward()
    assert far.grad is not None
    assert far.grad.isfinite().all()
    for q in (0, 1.5):
        with pytest.raises(InputError, match="q in"):
            GeneralisedCE(q)


def test_errors() -> None:
    with pytest.raises(InputError, match="shape"):
        masked_bce(torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(InputError, match="pos_weight"):
        MaskedBCE([1.0, 2.0])(torch.zeros(2, 3), LABELS)
    assert MaskedBCE([1, 2]).pos_weight.dtype == torch.float32, "of whole numbers too"  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"clip in \[0, 1\), got 4.0, 1.0, 1.0;"):
        AsymmetricLoss(clip=1.0)
    with pytest.raises(InputError, match="max_pos_weight"):
        MaskedBCE("balanced", 0.9)
    for gamma, alpha in ((-1, None), (0, -0.1), (0, 1.1)):
        with pytest.raises(InputError, match="gamma"):
            FocalLoss(gamma, alpha)
    for smoothing, balance in ((1.0, None), (0.0, 1.0)):
        with pytest.raises(InputError, match=f"smoothing in .* got {smoothing}, {balance};"):
            FocalLoss(smoothing=smoothing, balance=balance)
    with pytest.raises(InputError, match="the training labels for FocalLoss's balance"):
        FocalLoss(balance=0.9)(torch.zeros(2, 3), LABELS)
    # The ends are allowed.
    assert FocalLoss(0, 0.0).alpha == 0
    assert FocalLoss(0, 1.0).alpha == 1
    assert AsymmetricLoss(0, 0, 0).clip == 0
    assert MaskedBCE("balanced", 1).max_pos_weight == 1


def test_smoothed_focal_by_its_definition() -> None:
    logits, labels = torch.tensor([[2.0, -1, 0.5], [0, -2, 1]]), torch.tensor([[1, 0, 0], [0, 1, 1]])
    assert FocalLoss(2.0, 0.25, smoothing=0.1)(logits, labels).item() == pytest.approx(0.1350379658560327, abs=1e-7)
    y = labels * 0.9 + 0.05
    bce = F.binary_cross_entropy_with_logits(logits, y)
    assert FocalLoss(0.0, smoothing=0.1)(logits, labels).item() == pytest.approx(float(bce), abs=1e-6)


def test_balance_is_that_of_the_effective_numbers() -> None:
    loss, labels = FocalLoss(0.0, balance=0.9), torch.tensor([[1, -1, 1]] + [[0, 1, 0]] * 9)
    assert loss.needs_labels
    loss.see_labels(labels)
    assert loss.class_weight is not None
    assert loss.class_weight.T[0].tolist() == pytest.approx([0.28067, 1.71933], abs=1e-5)
    assert loss.class_weight.T[1].tolist() == [1, 1], "no negative, so nothing to weigh against"
    expected = (1.71933 + 0.28067) / 2 * math.log(2)
    assert loss(torch.zeros(2, 1).expand(2, 3), torch.tensor([[1, -1, -1], [0, -1, -1]])).item() == pytest.approx(
        expected, abs=1e-5
    )
    assert not loss.state_dict()


def test_balanced_weights_are_negatives_over_positives_of_the_known_labels() -> None:
    labels = torch.tensor([[1, 1, 0, 1, -1]] + [[0, 1, 0, 1, -1]] * 3 + [[-1, 0, 0, 1, -1]] * 96)

    def weights(given: torch.Tensor, most: float = 20.0) -> list[float]:
        loss = MaskedBCE("balanced", most)
        loss.see_labels(given)
        assert loss.pos_weight is not None
        return loss.pos_weight.tolist()

    # 3 negatives to 1 positive; 96 to 4, bounded by 20; none positive; none negative; none known.
    assert weights(labels) == [3.0, 20.0, 1.0, 1.0, 1.0]
    assert MaskedBCE("balanced").max_pos_weight == 20
    assert weights(torch.tensor([[0], [1], [1]])) == [0.5]
    assert weights(labels, most=30) == [3.0, 24.0, 1.0, 1.0, 1.0]
    assert weights(1 - labels[:, :2].clamp(min=0), most=10)[1] == pytest.approx(1 / 10)


def test_a_balanced_loss_is_the_weighted_one_once_it_has_seen_the_training_labels() -> None:
    logits = torch.randn(2, 3)
    loss = MaskedBCE("balanced", max_pos_weight=2)
    with pytest.raises(InputError, match="pos_weight balanced in a run on a data module"):
        loss(logits, LABELS)
    labels = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0]])
    loss.see_labels(labels)
    assert torch.equal(loss(logits, LABELS), masked_bce(logits, LABELS, torch.tensor([2.0, 1.0, 2.0])))
    assert not loss.state_dict()
    with pytest.raises(InputError, match="max_pos_weight of at least 1"):
        MaskedBCE("balanced", max_pos_weight=0.5)
