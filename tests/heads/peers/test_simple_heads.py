"""GAP, CSRA and MIL attention against hand-worked numbers and each other."""

import math

import pytest
import torch

from ibca_lightning.heads import (
    AttVIBHead,
    CaaMHead,
    CALHead,
    CSRAHead,
    GAPHead,
    Head,
    IDAHead,
    LfFHead,
    MILAttentionHead,
)
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features


def one_channel_map() -> torch.Tensor:
    """Two channels, 1 x 2 positions: the first says 0 and log 3, the second nothing."""
    return torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]])


def with_weight(head: Head, weight: torch.Tensor, weight_name: str = "weight") -> Head:
    head.get_parameter(weight_name).data.copy_(weight)
    return head


def test_gap_is_pooling_then_linear() -> None:
    head = GAPHead(CHANNELS, LABELS)
    expected = head.linear(torch.nn.AdaptiveAvgPool2d(1)(features()).flatten(1))
    torch.testing.assert_close(head(features()).logits, expected)


def test_gap_by_hand() -> None:
    head = with_weight(GAPHead(2, 1), torch.tensor([[1.0, 5.0]]), "linear.weight")
    head.linear.bias.data.fill_(0.5)
    output = head(one_channel_map())
    torch.testing.assert_close(output.logits, torch.tensor([[math.log(3) / 2 + 0.5]]))
    torch.testing.assert_close(output.attention, torch.tensor([[[[0.25, 0.75]]]]))
    torch.testing.assert_close(output.contribution, torch.tensor([[[[0, math.log(3) / 2]]]]))


def test_csra_by_hand() -> None:
    # weight (3, 4) has norm 5: evidence 0.6 * (0, log 3); temperature 1 / 0.6 makes the attention (1/4, 3/4)
    head = with_weight(CSRAHead(2, 1, residual_weight=0.2, temperature=1 / 0.6), torch.tensor([[3.0, 4.0]]))
    output = head(one_channel_map())
    top = 0.6 * math.log(3)
    torch.testing.assert_close(output.logits, torch.tensor([[top / 2 + 0.2 * 0.75 * top]]))
    torch.testing.assert_close(output.attention, torch.tensor([[[[0.25, 0.75]]]]))
    torch.testing.assert_close(output.contribution, torch.tensor([[[[0, 0.65 * top]]]]))


def test_csra_between_average_and_maximum_pooling() -> None:
    sharp, flat = CSRAHead(CHANNELS, LABELS, temperature=1e4), CSRAHead(CHANNELS, LABELS, temperature=0.0)
    flat.load_state_dict(sharp.state_dict())
    evidence = torch.einsum("lc,bchw->blhw", sharp.weight / sharp.weight.norm(dim=1, keepdim=True), features())
    mean = evidence.mean((-2, -1))
    torch.testing.assert_close(sharp(features()).logits, mean + evidence.amax((-2, -1)))
    torch.testing.assert_close(flat(features()).logits, 2 * mean)


def test_csra_ignores_the_length_of_its_weights() -> None:
    head = CSRAHead(CHANNELS, LABELS)
    before = head(features()).logits
    head.weight.data.mul_(7)
    torch.testing.assert_close(head(features()).logits, before)


def test_mil_attention_by_hand() -> None:
    head = with_weight(MILAttentionHead(2, 1), torch.tensor([[1.0, 5.0]]))
    head.bias.data.fill_(0.5)
    output = head(one_channel_map())
    torch.testing.assert_close(output.logits, torch.tensor([[0.75 * math.log(3) + 0.5]]))
    torch.testing.assert_close(output.attention, torch.tensor([[[[0.25, 0.75]]]]))
    torch.testing.assert_close(output.contribution, torch.tensor([[[[0, 0.75 * math.log(3)]]]]))


def test_mil_attention_starts_near_uniform() -> None:
    attention = MILAttentionHead(512, LABELS)(torch.randn(2, 512, 4, 4).relu()).attention * 16
    assert attention.min() > 0.2
    assert attention.max() < 5


@pytest.mark.parametrize(
    "head_class", [AttVIBHead, CaaMHead, CALHead, CSRAHead, GAPHead, IDAHead, LfFHead, MILAttentionHead]
)
def test_a_width_is_the_same_head_behind_a_learnt_projection(head_class: type[Head]) -> None:
    torch.manual_seed(0)
    wide = head_class(CHANNELS, LABELS, width=8).eval()
    plain = head_class(8, LABELS, width=0).eval()
    plain.load_state_dict({k: v for k, v in wide.state_dict().items() if not k.startswith("project.")})
    convolution = wide.get_submodule("project.0")
    projected = torch.einsum("kc,bchw->bkhw", convolution.weight[:, :, 0, 0], features())
    projected = torch.nn.functional.gelu(projected + convolution.bias[:, None, None])
    one, two = wide(features()), plain(projected)
    torch.testing.assert_close(one.logits, two.logits)
    torch.testing.assert_close(one.attention, two.attention)
    with pytest.raises(InputError, match=f"{head_class.__name__}'s width >= 0, got -1"):
        head_class(CHANNELS, LABELS, width=-1)
