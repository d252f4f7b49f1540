"""IDA against numbers of its public implementation, reductions to simpler heads, and what tells heads apart."""

import math
from typing import Any

import pytest
import torch

from ibca_lightning.heads import CSRAHead, IDAHead
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features


def wave(*shape: int, phase: float = 0.0) -> torch.Tensor:
    """Numbers of both signs that no random generator has a part in."""
    return torch.sin(torch.arange(torch.Size(shape).numel()) * 1.7 + phase).reshape(shape)


REFERENCE = [  # that code with its axis moved, its `heavy` off and on
    ({"layers": 1}, [[0.1290100, 1.6754334], [0.4972141, 2.0426049]]),
    ({"layers": 2, "feed_forward": 4}, [[0.1388127, 1.8411140], [0.1438636, 1.8408041]]),
]


@pytest.mark.parametrize(("options", "logits"), REFERENCE, ids=["dot product", "transformer"])
def test_numbers_of_the_public_implementation(options: dict[str, Any], logits: list[list[float]]) -> None:
    head = IDAHead(6, 2, num_heads=2, width=0, **options).eval()
    weights = sorted((name, p) for name, p in head.named_parameters() if name != "bias")
    for phase, (_, parameter) in enumerate(weights):
        parameter.data.copy_(wave(*parameter.shape, phase=phase))
    torch.testing.assert_close(head(wave(2, 6, 2, 3)).logits, torch.tensor(logits), rtol=0, atol=1e-5)


def test_one_head_without_a_second_attention_is_the_attended_half_of_csra() -> None:
    csra, ida = CSRAHead(CHANNELS, LABELS), IDAHead(CHANNELS, LABELS, num_heads=1, layers=0, width=0)
    ida.weight.data.copy_(1e5 * csra.weight.unsqueeze(0))  # long enough for 1/32 not to matter
    csra.residual_weight = 0.0
    mean = csra(features()).logits
    csra.residual_weight = 1.0
    torch.testing.assert_close(ida(features()).logits, csra(features()).logits - mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ida(features()).attention, csra(features()).attention, rtol=1e-5, atol=1e-6)


def test_contribution_by_hand_without_a_second_attention() -> None:
    # one channel a head; weights 31/32 and 1/32 give w = 31/32 and 1/2
    head = IDAHead(2, 1, num_heads=2, layers=0, width=0)
    head.weight.data.copy_(torch.tensor([[[31 / 32]], [[1 / 32]]]))
    head.bias.data.fill_(0.5)
    x = torch.tensor([[[[0.0, math.log(3) * 32 / 31]], [[2 * math.log(4), 0.0]]]])
    output = head(x)
    # the first head attends (1/4, 3/4) to evidence (0, log 3), the second (4/5, 1/5) to (log 4, 0)
    expected = torch.tensor([[[[0.8 * math.log(4), 0.75 * math.log(3)]]]])
    torch.testing.assert_close(output.contribution, expected)
    torch.testing.assert_close(output.logits, expected.sum((-2, -1)) + 0.5)


def test_the_contribution_sums_to_the_logit_less_its_bias_and_is_none_behind_a_second_attention() -> None:
    head = IDAHead(CHANNELS, LABELS, layers=0).eval()
    head.bias.data.normal_()
    output = head(features())
    assert output.contribution is not None
    assert output.contribution.shape == output.attention.shape
    torch.testing.assert_close(output.contribution.sum((-2, -1)), output.logits - head.bias, rtol=0, atol=1e-5)
    assert IDAHead(CHANNELS, LABELS, layers=1)(features()).contribution is None


def test_a_second_attention_that_says_nothing_changes_nothing() -> None:
    dual, single = IDAHead(CHANNELS, LABELS, width=0), IDAHead(CHANNELS, LABELS, layers=0, width=0)
    single.load_state_dict(dual.state_dict(), strict=False)
    assert not torch.allclose(dual(features()).logits, single(features()).logits, atol=1e-3)
    for parameter in dual.across[0].out.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(dual(features()).logits, single(features()).logits)


def test_the_second_attention_reads_heads_as_a_set() -> None:
    """Heads in another order, weights and channels alike, give the same logits: a token is one head, not a mixture."""
    head = IDAHead(CHANNELS, LABELS, width=0)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = features().unflatten(1, (4, -1))[:, order].flatten(1, 2)
    expected = head(features())
    head.weight.data.copy_(head.weight.data[order].clone())
    torch.testing.assert_close(head(shuffled).logits, expected.logits)
    torch.testing.assert_close(head(shuffled).attention, expected.attention)


def test_short_weights_say_little() -> None:
    head = IDAHead(CHANNELS, LABELS, num_heads=1, layers=0, width=0)
    head.weight.data.copy_(torch.nn.functional.normalize(head.weight.data, dim=-1) / 32)
    half = head(features()).logits  # 1/32 of 1/32 + 1/32: vectors of length 1/2
    head.weight.data.mul_(1e6)
    x = features() / 2
    torch.testing.assert_close(head(x).logits, half, rtol=1e-4, atol=1e-4)


def test_projection_allows_any_number_of_channels() -> None:
    with pytest.raises(InputError, match="num_heads that divides the 30 channels"):
        IDAHead(30, LABELS, width=0)
    assert IDAHead(30, LABELS, width=16)(features()[:, :30]).logits.shape == (4, LABELS)


@pytest.mark.parametrize("options", [{"num_heads": 0}, {"layers": -1}, {"feed_forward": -1}, {"width": -4}])
def test_option_out_of_its_range(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="IDAHead's " + next(iter(options))):
        IDAHead(CHANNELS, LABELS, **options)
