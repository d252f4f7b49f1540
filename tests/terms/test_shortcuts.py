"""GroupDRO and JTT: numbers worked out by hand, and a toy whose shortcut is the larger feature."""

import math

import pytest
import torch
from torch import Tensor

from ibca_lightning.heads import HeadOutput
from ibca_lightning.losses import masked_bce
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import JTT, GroupDRO, Setting, Step, Term, Terms
from tests.terms.test_distillation import Says


def step(logits: Tensor, labels: Tensor, marked: Tensor | None = None) -> Step:
    """Pictures of two pixels: (B, L) logits, labels in {0, 1, -1}, and whether the class's mark is on the first."""
    batch = {"index": torch.arange(len(labels)), "label": labels}
    if marked is not None:
        batch["spurious_mask"] = marked.bool()[..., None, None] & torch.tensor([True, False])
    output = HeadOutput(logits, logits[..., None, None], {})
    return Step(batch, labels, output, logits, torch.nn.Identity(), lambda _: output)


def begun(term: Term, labels: int, *teachers: Says) -> Term:
    names = [chr(ord("a") + label) for label in range(labels)]
    term.begin(Setting(names, load=lambda path: teachers[int(path)]))
    return term


def whole(term: Term, seen: Step) -> float:
    """The loss of the run: the mean BCE and the term."""
    return (masked_bce(seen.output.logits, seen.labels) + sum(term(seen).values())).item()


# Losses log 2, log 2, log 4 and log 8/7: two present with their mark, one present without, one absent without.
Z = -torch.tensor([1.0, 1.0, 3.0, 7.0]).log()[:, None]
LABELS, MARKED = torch.tensor([[1], [1], [1], [0]]), torch.tensor([[1], [1], [0], [0]])
L = [math.log(2), math.log(4), math.log(8 / 7)]


@pytest.mark.parametrize(("rate", "q"), [(0.0, [1 / 3, 1 / 3, 1 / 3]), (1.0, [0.28, 0.56, 0.16])])
def test_group_dro_is_the_groups_losses_by_q(rate: float, q: list[float]) -> None:
    term = begun(GroupDRO(rate=rate), 1)  # exp L = 2, 4, 8/7, whose sum is 50/7
    wanted = sum(share * loss for share, loss in zip(q, L, strict=True))
    assert whole(term, step(Z, LABELS, MARKED)) == pytest.approx(wanted)
    half = begun(GroupDRO(weight=0.5, rate=rate), 1)
    mean = (2 * L[0] + L[1] + L[2]) / 4
    assert whole(half, step(Z, LABELS, MARKED)) == pytest.approx((wanted + mean) / 2), "half way from the mean"


def test_a_group_is_weighed_by_the_share_it_has_had_so_far() -> None:
    term = begun(GroupDRO(rate=1.0), 1)
    term(step(Z, LABELS, MARKED))
    again = step(torch.tensor([[0.0], [-math.log(3)]]), torch.tensor([[1], [1]]), torch.tensor([[1], [1]]))
    # 4 of 6 had label and mark: their sum is log 8 and 2 * 4/6 are expected in two, so that L = 0.75 log 8.
    scores = torch.tensor([L[2], L[1], L[0] + 0.75 * math.log(8)])
    assert whole(term, again) == pytest.approx(float(scores.softmax(0)[2]) * 0.75 * math.log(8))


def test_each_class_has_a_q_of_its_own_and_unknown_labels_none() -> None:
    term = begun(GroupDRO(rate=1.0), 3)
    unknown = torch.full((1, 3), -1)
    labels = torch.cat([torch.cat([LABELS, unknown[:, :1].expand(4, 1), 1 - LABELS], 1), unknown])
    marked = torch.cat([torch.cat([MARKED, MARKED, 1 - MARKED], 1), torch.zeros_like(unknown)])
    z = torch.cat([torch.cat([Z, torch.full_like(Z, 9.0), -Z], 1), torch.full((1, 3), 9.0)]).requires_grad_()
    wanted = 0.28 * L[0] + 0.56 * L[1] + 0.16 * L[2]
    assert whole(term, step(z, labels, marked)) == pytest.approx(wanted), "the third class mirrors the first"
    term(step(z, labels, marked))["group_dro"].backward()
    assert not z.grad[labels < 0].any()


def test_jtt_counts_errors_of_the_first_model_more() -> None:
    first = Says(torch.tensor([[-1.0, 0.2, -3.0]]), ("c", "b", "other"))  # a is a class that it does not have
    term = begun(JTT("0", weight=3.0), 3, first)
    labels = torch.tensor([[1, 1, 1], [0, 0, 0], [1, -1, 1]])
    z = torch.zeros(3, 3, requires_grad=True)
    seen = step(z, labels)  # wrong of 8: c of the first and third, b of the second
    assert float(term(seen)["jtt"]) == pytest.approx(3 * 3 * math.log(2) / 8)
    (masked_bce(z, labels) + term(seen)["jtt"]).backward()
    weights = torch.tensor([[1, 1, 4], [1, 4, 1], [1, 0, 4]])
    torch.testing.assert_close(z.grad, weights * torch.where(labels == 1, -0.5, 0.5) / 8)
    assert (
        float(begun(JTT("0"), 2, Says(torch.tensor([[4.0, 4.0]])))(step(z[:, :2], labels[:1, :2].expand(3, 2)))["jtt"])
        == 0
    )


def toy() -> tuple[Tensor, Tensor, Tensor]:
    """Maps of 1 x 2 features: the cause, as it is in all pictures, and a larger mark that 95 % have right."""
    labels = torch.tensor([[1], [0]]).repeat(40, 1)
    marked = labels.clone()
    marked[:4] = 1 - marked[:4]
    signs = torch.cat([2 * labels - 1, 3 * (2 * marked - 1)], 1).float()
    return signs + 0.3 * torch.randn(80, 2, generator=torch.Generator().manual_seed(0)), labels, marked


def learnt(terms: Terms, x: Tensor, labels: Tensor, marked: Tensor) -> Tensor:
    weights = torch.zeros(2, 1, requires_grad=True)
    optimizer = torch.optim.SGD([weights], 0.1)
    for _ in range(30):
        optimizer.zero_grad()
        seen = step(x @ weights, labels, marked)
        sum(terms.losses(seen).values(), masked_bce(seen.output.logits, labels)).backward()
        optimizer.step()
    return weights.detach()


def test_both_leave_a_shortcut_that_plain_training_takes() -> None:
    x, labels, marked = toy()
    plain = learnt(Terms(), x, labels, marked)
    wrong = ((x @ plain)[:4] > 0) != (labels[:4] == 1)
    assert wrong.all(), "plain training goes by the mark"
    first = Says(x[:, 1:], ("a",))
    for term in (GroupDRO(), JTT("0")):
        weights = learnt(Terms([begun(term, 1, first)]), x, labels, marked)
        assert (((x @ weights) > 0) == (labels == 1)).all(), "the cause decides"


@pytest.mark.parametrize("wrong", [{"weight": 1.1}, {"weight": -1.0}, {"rate": -0.1}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="GroupDRO's"):
        GroupDRO(**wrong)


def test_data_without_marks_end_in_one_line() -> None:
    terms = Terms([GroupDRO()])
    terms.begin(Setting(["a"]))
    with pytest.raises(InputError, match=r"masks of marks in the training.*GroupDRO.*--data.train_masks true"):
        terms.labels({"label": torch.ones(1, 1)}, 0.0)
