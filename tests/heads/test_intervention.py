"""Spurious attention and contrast against hand-worked numbers and a naive loop."""
# ruff: noqa: N806

import pytest
import torch
import torch.nn.functional as F

from ibca_lightning.heads.contrast import compared_maps, contrastive_loss


def maps(evidence: torch.Tensor, attention: torch.Tensor, labels: list[list[int]], **options: float) -> torch.Tensor:
    """The maps of `compared_maps`, (B, M, N), as they are without a scale: each sums to 1."""
    found = compared_maps(evidence.mT, attention.mT, torch.tensor(labels), **{"intervention": True, **options}).mT
    return found / found.sum(-1, keepdim=True)


def test_maps_by_hand() -> None:
    reference = torch.tensor([[[0.8, 0.2, 0.0]]])
    attention = torch.tensor([[[0.5, 0.3, 0.2]]])
    found = maps(reference.log(), attention, [[1]], smoothing=0.0)[0]
    torch.testing.assert_close(found[0], reference[0, 0])
    # 0.5 * 0, 0.3 * 0.75, 0.2 * 1
    torch.testing.assert_close(found[1], torch.tensor([0.0, 0.225, 0.2]) / 0.425)
    torch.testing.assert_close(found[2], torch.tensor([0.0, 0.75, 1.0]) / 1.75)
    found = maps(reference.log(), attention, [[1]], smoothing=0.3)[0]  # a uniform map of mass 0.3 more, or 0.3 each
    torch.testing.assert_close(found[1], torch.tensor([0.1, 0.325, 0.3]) / 0.725)
    torch.testing.assert_close(found[2], torch.tensor([0.3, 1.05, 1.3]) / 2.65)
    found = maps(reference.log(), attention, [[1]])[0]  # without a word, a thousandth
    torch.testing.assert_close(found[1], torch.tensor([0.001, 0.676, 0.601]) / 1.278)
    torch.testing.assert_close(found[2], torch.tensor([0.001, 0.751, 1.001]) / 1.753)
    assert maps(reference.log(), attention, [[1]], intervention=False).shape == (1, 2, 3)


def test_what_is_left_of_a_flat_or_certain_reference_is_uniform() -> None:
    uniform = torch.full((1, 1, 4), 0.25)
    certain = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    for attention in (uniform, certain):
        torch.testing.assert_close(maps(attention.log(), attention, [[1]])[:, 1:2], uniform)


def test_the_background_is_where_no_class_that_may_be_present_looks() -> None:
    reference = torch.tensor([[[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]])
    for labels, expected in {(1, 0): [0.0, 0.5, 0.5], (1, -1): [0.0, 1.0, 0.0], (0, 0): [1 / 3] * 3}.items():
        found = maps(reference.log(), reference, [list(labels)], smoothing=0.0)
        torch.testing.assert_close(found[0, -1], torch.tensor(expected))


def test_the_maps_are_only_read() -> None:
    given = [torch.randn(1, 4, 2, requires_grad=True) for _ in range(2)]
    assert not compared_maps(*given, torch.tensor([[1, 0]]), intervention=True).requires_grad


@pytest.mark.parametrize("intervention", [True, False])
def test_contrast_is_that_of_a_naive_loop(intervention: bool) -> None:
    torch.manual_seed(0)
    B, L, C, temperature = 4, 4, 6, 0.3
    anchor, reference, spurious, background = (torch.randn(s) for s in ((B, L, C), (B, L, C), (B, L, C), (B, C)))
    labels = torch.tensor([[1, 0, 1, 0], [1, 1, -1, -1], [1, 0, 0, 0], [0, 0, 1, 0]])
    weight = torch.rand(B, L)

    def unit(x: torch.Tensor) -> torch.Tensor:
        return F.normalize(x, dim=-1)

    terms = []
    for b in range(B):
        for l in range(L):  # noqa: E741
            others = [unit(reference[i, l]) for i in range(B) if i != b and labels[i, l] == 1]
            if labels[b, l] != 1 or not others:
                continue
            negatives = [spurious[b, l], background[b]] if intervention else [background[b]]
            for m in range(L):
                members = [unit(reference[i, m]) for i in range(B) if labels[i, m] == 1]
                if m != l and members:
                    negatives.append(torch.stack(members).sum(0))
            candidates = [torch.stack(others).sum(0), *negatives]
            scores = torch.stack([unit(anchor[b, l]) @ unit(x) for x in candidates]) / temperature
            terms.append(-scores.log_softmax(0)[0] * weight[b, l])
    assert len(terms) == 5  # three of class 0, none of class 1 (alone), two of class 2, class 3 is nowhere
    pooled = torch.cat([reference, *([spurious] if intervention else []), background[:, None]], 1)
    got = contrastive_loss(anchor, pooled, labels, weight, temperature)
    torch.testing.assert_close(got, torch.stack(terms).mean())


@pytest.mark.parametrize("labels", [[[0, 0], [0, 0]], [[1, 0], [0, 1]], [[1, -1], [-1, 1]], [[-1, -1], [-1, -1]]])
def test_contrast_without_a_pair_is_zero_with_a_gradient(labels: list[list[int]]) -> None:
    anchor = torch.randn(2, 2, 3, requires_grad=True)
    pooled = torch.cat([anchor, anchor, anchor[:, :1]], 1)
    value = contrastive_loss(anchor, pooled, torch.tensor(labels), torch.ones(2, 2))
    value.backward()
    assert value.item() == 0
    assert anchor.grad is not None
    assert (anchor.grad == 0).all()


def test_contrast_moves_only_the_anchors_that_have_a_pair() -> None:
    anchor, pooled, weight = (torch.randn(2, number, 3, requires_grad=True) for number in (2, 5, 2))
    contrastive_loss(anchor, pooled, torch.tensor([[1, 0], [1, -1]]), weight[..., 0].sigmoid()).backward()
    assert anchor.grad is not None
    assert (anchor.grad.abs().sum(-1) > 0).tolist() == [[True, False], [True, False]]
    assert all(x.grad is None for x in (pooled, weight))
