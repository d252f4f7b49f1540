"""Spurious attention and contrast against hand-worked numbers and a naive loop."""
# ruff: noqa: N806

import pytest
import torch
import torch.nn.functional as F

from ibca_lightning.heads.contrast import background_attention, contrastive_loss, spurious_attention


def test_spurious_attention_by_hand() -> None:
    attention = torch.tensor([[[0.5, 0.3, 0.2]]])
    reference = torch.tensor([[[0.8, 0.2, 0.0]]])
    # 0.5 * 0, 0.3 * 0.75, 0.2 * 1
    expected = torch.tensor([[[0.0, 0.225, 0.2]]]) / 0.425
    torch.testing.assert_close(spurious_attention(attention, reference, smoothing=0.0), expected)
    smoothed = torch.tensor([[[0.1, 0.325, 0.3]]]) / 0.725  # a uniform map of mass 0.3 more
    torch.testing.assert_close(spurious_attention(attention, reference, smoothing=0.3), smoothed)
    little = torch.tensor([[[0.001, 0.676, 0.601]]]) / 1.278  # without a word, a thousandth of a map: times 3 above
    torch.testing.assert_close(spurious_attention(attention, reference), little)


def test_spurious_attention_of_a_flat_or_certain_reference_is_uniform() -> None:
    uniform = torch.full((1, 1, 4), 0.25)
    certain = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    for attention, reference in ((uniform, uniform), (certain, certain)):
        torch.testing.assert_close(spurious_attention(attention, reference), uniform)


def test_background_attention_by_hand() -> None:
    reference = torch.tensor([[[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]])
    by_labels = {(1, 0): [0.0, 0.5, 0.5], (1, -1): [0.0, 1.0, 0.0], (0, 0): [1 / 3] * 3}
    for labels, expected in by_labels.items():
        got = background_attention(reference, torch.tensor([labels]), smoothing=0.0)
        torch.testing.assert_close(got, torch.tensor([expected]))
    labels = torch.tensor([[1, -1]])  # 0, 0.5, 0 and the smoothing
    for got, smoothing in (
        (background_attention(reference, labels, smoothing=0.5), 0.5),
        (background_attention(reference, labels), 1e-3),
    ):
        expected = torch.tensor([[smoothing, 0.5 + smoothing, smoothing]]) / (0.5 + 3 * smoothing)
        torch.testing.assert_close(got, expected)


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
    shown = spurious if intervention else None
    got = contrastive_loss(anchor, reference, shown, background, labels, weight, temperature)
    torch.testing.assert_close(got, torch.stack(terms).mean())


@pytest.mark.parametrize("labels", [[[0, 0], [0, 0]], [[1, 0], [0, 1]], [[1, -1], [-1, 1]], [[-1, -1], [-1, -1]]])
def test_contrast_without_a_pair_is_zero_with_a_gradient(labels: list[list[int]]) -> None:
    anchor = torch.randn(2, 2, 3, requires_grad=True)
    value = contrastive_loss(anchor, anchor, anchor, anchor[:, 0], torch.tensor(labels), torch.ones(2, 2))
    value.backward()
    assert value.item() == 0
    assert anchor.grad is not None
    assert (anchor.grad == 0).all()


def test_contrast_moves_only_the_anchors_that_have_a_pair() -> None:
    tensors = [torch.randn(2, 2, 3, requires_grad=True) for _ in range(3)]
    background, weight = torch.randn(2, 3, requires_grad=True), torch.rand(2, 2, requires_grad=True)
    contrastive_loss(*tensors, background, torch.tensor([[1, 0], [1, -1]]), weight).backward()
    anchor, *rest = tensors
    assert anchor.grad is not None
    assert (anchor.grad.abs().sum(-1) > 0).tolist() == [[True, False], [True, False]]
    assert all(x.grad is None for x in (*rest, background, weight))
