"""Attention on lesions: hand-worked cases."""

import math

import pytest
import torch
from torch import Tensor

from ibca_lightning.heads import Head, HeadOutput
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import MaskGuidance, Step
from ibca_lightning.terms.mask_guidance import drawn
from tests.heads.contract import CHANNELS, HEADS, LABELS, features, labels
from tests.terms.contract import setting


def case(
    attention: Tensor, mask: Tensor, present: list[list[int]] | None = None, index: list[int] | None = None
) -> Step:
    """A step whose attention (B, L, H, W) and mask are given."""
    given = torch.tensor([[1] * attention.shape[1]] * len(attention) if present is None else present)
    rows = torch.arange(len(given)) if index is None else torch.tensor(index)
    batch = {"mask": mask.bool(), "label": given, "index": rows, "id": [f"{row}.png" for row in rows.tolist()]}
    output = HeadOutput(given.float(), attention, {})
    return Step(batch, given, output, attention, torch.nn.Identity(), lambda _: output)


def cells(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def loss(step: Step, **options) -> float:
    term = MaskGuidance(**({"weight": 1.0} | options))
    return float(term(step)["mask_guidance"])


def test_share_on_the_lesion_and_an_even_spread():
    a, m = cells(0.5, 0.25, 0.25), cells(1, 0, 1)
    assert loss(case(a, m)) == pytest.approx(0.28768, abs=1e-5)
    assert loss(case(a, m), weight=0.3) == pytest.approx(0.3 * 0.28768, abs=1e-5)
    kl = 0.5 * math.log(0.5 / 0.5) + 0.5 * math.log(0.5 / 0.25)
    assert loss(case(a, m), form="kl") == pytest.approx(kl, abs=1e-5)
    assert loss(case(cells(0.5, 0, 0.5), m), form="kl") == pytest.approx(0, abs=1e-6)


def test_uniform_attention_costs_the_log_of_what_the_lesion_covers():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :3, :5] = 1  # touches 2 x 3 of 4 x 4 cells
    for form, factor in (("mass", 1), ("kl", 1)):
        assert loss(case(torch.full((1, 1, 4, 4), 1 / 16), mask), form=form) == pytest.approx(
            -factor * math.log(6 / 16)
        )


@pytest.mark.parametrize("form", ["mass", "kl"])
def test_turned_alike_attention_and_mask_cost_the_same(form):
    a = torch.rand(2, 2, 4, 4)
    a /= a.sum((-2, -1), keepdim=True)
    mask = torch.rand(2, 2, 12, 12) < 0.1
    values = [
        loss(case(turn(a), turn(mask)), form=form) for turn in (lambda x: x, lambda x: x.flip(-1).rot90(1, (-2, -1)))
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@pytest.mark.parametrize("form", ["mass", "kl"])
def test_no_gradient_for_absent_unknown_and_empty(form):
    a = torch.full((4, 1, 1, 2), 0.5, requires_grad=True)
    mask = torch.tensor([1, 1, 1, 0]).view(4, 1, 1, 1) * torch.tensor([1, 0])
    MaskGuidance(form=form)(case(a, mask, [[1], [0], [-1], [1]]))["mask_guidance"].backward()
    assert (a.grad.flatten(1).abs().sum(1) > 0).tolist() == [True, False, False, False]


def test_attention_that_is_nowhere_on_the_lesion_stays_finite():
    a = cells(0.0, 1.0).requires_grad_()
    for form in ("mass", "kl"):
        value = MaskGuidance(form=form)(case(a, cells(1, 0)))["mask_guidance"]
        value.backward()
        assert value.isfinite()
        assert a.grad.isfinite().all()


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_every_head_can_be_guided(head: type[Head]):
    torch.manual_seed(0)
    model = head(CHANNELS, LABELS).train()
    x = features().requires_grad_()
    output = model(x, labels())
    mask = torch.zeros(4, LABELS, 8, 12, dtype=torch.bool)
    mask[..., 2:5, 3:5] = True
    value = MaskGuidance(1.0)(case(output.attention, mask, labels().tolist())._replace(output=output))["mask_guidance"]
    assert value.isfinite()
    if value.requires_grad:
        (value + output.logits.sum() * 0).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_masks_are_drawn_by_group_and_no_class_is_left_out():
    table = torch.zeros(40, 3, dtype=torch.int8)
    table[:, 0] = 1
    table[::2, 1] = 1
    table[[6, 7], 2] = 1  # one group alone
    groups = [f"photograph {row // 4}" for row in range(40)]
    chosen = {number: drawn(table, groups, number, seed=1) for number in (1, 2, 5, 100)}
    for number, given in chosen.items():
        by_group = {groups[row] for row in given.nonzero().flatten().tolist()}
        assert given.tolist() == [group in by_group for group in groups], "whole groups"
        for label, there_are in ((0, 10), (1, 10), (2, 1)):
            shown = {groups[row] for row in (table[:, label] == 1).nonzero().flatten().tolist()} & by_group
            assert len(shown) >= min(number, there_are)
        assert len(by_group) == min(number, 10)
    assert bool((chosen[1] <= chosen[2]).all()), "fewer are among more"
    assert any(not torch.equal(chosen[5], drawn(table, groups, 5, seed)) for seed in (2, 3))
    assert int(drawn(table, None, 2, seed=0).sum()) <= 6


def test_only_drawn_pictures_give_their_mask():
    table = torch.tensor([[1], [1], [1]], dtype=torch.int8)
    term = MaskGuidance(1.0, per_class=1)
    term.begin(setting(table))
    (picture,) = term.given.nonzero().flatten().tolist()[:1]
    attention, mask = torch.full((3, 1, 1, 2), 0.5), torch.tensor([[[[1, 0]]]] * 3)
    for row in range(3):
        value = float(term(case(attention[:1], mask[:1], index=[row]))["mask_guidance"])
        assert (value > 0) == bool(term.given[row])
    assert picture in range(3)


def test_a_mask_that_contradicts_its_label_is_named_or_left_alone():
    term, step = MaskGuidance(), case(cells(0.5, 0.5), cells(1, 0), [[0]])
    term.begin(setting(torch.zeros(1, 1, dtype=torch.int8)))
    with pytest.raises(InputError, match=r"an empty mask of class 0, whose label is 0, in 0.png, got a lesion"):
        term.labels(step.batch, step.labels)
    assert torch.equal(MaskGuidance(contradictions="ignore").labels(step.batch, step.labels), step.labels)


@pytest.mark.parametrize("wrong", [{"form": "share"}, {"per_class": 0}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        MaskGuidance(**wrong)
