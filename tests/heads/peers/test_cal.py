"""CAL against numbers of the authors' code, hand-worked maps and what its options promise."""

import pytest
import torch
import torch.nn.functional as F

from ibca_lightning.heads import CALHead
from ibca_lightning.heads.peers.causal.cal import bilinear_pool, class_maps
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features, labels


def wave(*shape: int, phase: float = 0.0) -> torch.Tensor:
    """Numbers of both signs that no random generator has a part in."""
    return torch.sin(torch.arange(torch.Size(shape).numel()) * 1.7 + phase).reshape(shape)


def reference_case() -> tuple[CALHead, torch.Tensor]:
    """The weights and the feature map that the authors' code was run with."""
    head = CALHead(3, 2, maps=2, scale=100.0)
    head.attend.weight.data.copy_(wave(2, 3, 1, 1, phase=1))
    head.norm.weight.data.copy_(torch.tensor([0.5, 2.0]))
    head.norm.bias.data.copy_(torch.tensor([0.3, -0.1]))
    head.weight.data.copy_(0.03 * wave(2, 2, 3, phase=2))
    return head, wave(2, 3, 2, 3)


def test_numbers_of_the_authors_code(monkeypatch: pytest.MonkeyPatch) -> None:
    head, x = reference_case()
    logits = torch.tensor([[2.6742990, 0.2887288], [2.3058879, 0.4338402]])
    effect = torch.tensor([[2.1575823, 2.5924172], [3.4600787, 1.4958272]])
    monkeypatch.setattr(torch, "rand_like", lambda t: torch.full_like(t, 0.5))  # counterfactual maps of ones
    targets = torch.tensor([[1, -1], [0, 1]])
    output = head.train()(x, targets)
    torch.testing.assert_close(output.logits, logits, rtol=0, atol=1e-5)
    known = targets >= 0
    expected = F.binary_cross_entropy_with_logits(effect[known], targets[known].float())
    torch.testing.assert_close(output.losses["effect"], expected, rtol=0, atol=1e-5)
    after = torch.tensor([[2.8970046, 0.1762265], [2.4293449, 0.4731796]])  # by the running statistics
    torch.testing.assert_close(head.eval()(x).logits, after, rtol=0, atol=1e-5)


def test_bilinear_pooling_by_hand() -> None:
    maps = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])
    x = torch.tensor([[[2.0, 2.0], [1.0, -3.0]]])
    # means (2 + 6) / 2 = 4 and (1 - 9) / 2 = -4 under the first map, nothing under the second
    expected = torch.tensor([[[0.5**0.5, -(0.5**0.5)], [0.0, 0.0]]])
    torch.testing.assert_close(bilinear_pool(maps, x), expected)


def test_class_maps_by_hand() -> None:
    maps = torch.tensor([[[1.0, 3.0], [2.0, 0.0], [0.0, 0.0]]])
    shares = torch.tensor([[[3.0, 1.0, -5.0], [-1.0, 0.0, 0.0]]])
    # first class: 3/4 (1/4, 3/4) + 1/4 (1, 0); second class: no map speaks for it, so the mean of the three
    expected = torch.tensor([[[0.4375, 0.5625], [1.75 / 3, 1.25 / 3]]])
    torch.testing.assert_close(class_maps(maps, shares), expected, rtol=0, atol=1e-5)


def test_shares_of_the_maps_add_up_to_the_logit() -> None:
    head = CALHead(CHANNELS, LABELS, maps=4).eval()
    head.bias.data.copy_(torch.arange(5.0))
    maps = head.norm(head.attend(features())).relu().flatten(2)
    pooled = bilinear_pool(maps, features().flatten(2)).flatten(1)
    expected = head.scale * F.linear(pooled, head.weight.flatten(1)) + head.bias
    torch.testing.assert_close(head(features()).logits, expected)


def test_effect_of_maps_that_are_the_counterfactual_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is then that of saying nothing, log 2: the attention made no difference."""
    head = CALHead(CHANNELS, LABELS, maps=4, effect=0.5)
    head.norm.weight.data.zero_()
    head.norm.bias.data.fill_(1.0)
    monkeypatch.setattr(torch, "rand_like", lambda t: torch.full_like(t, 0.5))
    loss = head.train()(features(), labels()).losses["effect"]
    torch.testing.assert_close(loss, 0.5 * torch.tensor(2.0).log())


def test_effect_off_leaves_bilinear_pooling_alone() -> None:
    assert CALHead(CHANNELS, LABELS, effect=0.0).train()(features(), labels()).losses == {}


def test_first_attention_is_near_uniform() -> None:
    torch.manual_seed(0)
    attention = CALHead(CHANNELS, LABELS).train()(features()).attention * 24
    assert attention.min() > 0.05
    assert attention.max() < 5


@pytest.mark.parametrize("options", [{"maps": 0}, {"effect": -0.1}, {"scale": 0.0}])
def test_option_out_of_its_range(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="CALHead's " + next(iter(options))):
        CALHead(CHANNELS, LABELS, **options)
