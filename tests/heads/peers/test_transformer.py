"""The parts of the transformer heads against torch's own."""

import pytest
import torch

from ibca_lightning.heads.peers.decoders.transformer import (
    LabelLinear,
    MixBlock,
    MultiHeadAttention,
    ReadBlock,
    projection,
)
from ibca_lightning.system.errors import InputError

WIDTH, NUM_HEADS, FFN = 12, 3, 20


def copied(ours: MultiHeadAttention, theirs: torch.nn.MultiheadAttention) -> None:
    """Their weights into ours; their biases of the keys are random, and left behind."""
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    weights, biases = theirs.in_proj_weight.data.chunk(3), theirs.in_proj_bias.data.chunk(3)
    for linear, weight in zip((ours.query, ours.key, ours.value), weights, strict=True):
        linear.weight.data.copy_(weight)
    ours.query.bias.data.copy_(biases[0])
    ours.value.bias.data.copy_(biases[2])
    ours.output.load_state_dict(theirs.out_proj.state_dict())


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, WIDTH, generator=generator), torch.randn(2, 7, WIDTH, generator=generator)


def test_attention_is_torchs_whatever_the_bias_of_the_keys() -> None:
    torch.manual_seed(0)
    ours = MultiHeadAttention(WIDTH, NUM_HEADS)
    theirs = torch.nn.MultiheadAttention(WIDTH, NUM_HEADS, batch_first=True)
    copied(ours, theirs)
    x, y = tokens()
    torch.testing.assert_close(ours(x, y + 1, y), theirs(x, y + 1, y))
    torch.testing.assert_close(ours.mix(y + 1, y), theirs(y + 1, y + 1, y)[0])


def test_mix_block_is_torchs_encoder_layer() -> None:
    torch.manual_seed(0)
    ours = MixBlock(WIDTH, NUM_HEADS, FFN, 0.0)
    theirs = torch.nn.TransformerEncoderLayer(WIDTH, NUM_HEADS, FFN, dropout=0.0, batch_first=True)
    copied(ours.attention, theirs.self_attn)
    ours.add.norm.weight.data.normal_()
    theirs.norm1.load_state_dict(ours.add.norm.state_dict())
    theirs.linear1.load_state_dict(ours.add.ffn[0].state_dict())
    theirs.linear2.load_state_dict(ours.add.ffn[3].state_dict())
    _, y = tokens()
    torch.testing.assert_close(ours(y), theirs(y))


def test_reading_a_part_of_the_tokens_is_mixing_all_of_them() -> None:
    """What C-Tran saves in its last layer."""
    torch.manual_seed(0)
    mix, read = MixBlock(WIDTH, NUM_HEADS, FFN, 0.0), ReadBlock(WIDTH, NUM_HEADS, FFN, 0.0)
    read.load_state_dict(mix.state_dict())
    _, y = tokens()
    torch.testing.assert_close(read(y[:, 5:], y, y)[0], mix(y)[:, 5:])


def test_dropout_leaves_the_maps_whole() -> None:
    attention = MultiHeadAttention(WIDTH, NUM_HEADS, dropout=0.9).train()
    x, y = tokens()
    (one, one_map), (other, other_map) = attention(x, y, y), attention(x, y, y)
    assert not torch.equal(one, other)
    torch.testing.assert_close(one_map, other_map)
    torch.testing.assert_close(one_map.sum(-1), torch.ones(2, 4))


def test_maps_are_exact_under_autocast() -> None:
    """The softmax of the rounded queries and keys, not a rounded softmax."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(WIDTH, 1)
    x, y = tokens()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, maps = attention(x, y, y)
        scores = attention.query(x).float(), attention.key(y).float()
    expected = (scores[0].double() @ scores[1].double().mT * WIDTH**-0.5).softmax(-1)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.double(), expected, rtol=1e-5, atol=1e-7)


def test_first_maps_are_near_uniform() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 4, 256), torch.randn(2, 49, 256)
    _, maps = MultiHeadAttention(256, 4)(x, y, y)
    assert maps.min() > 0.2 / 49
    assert maps.max() < 5 / 49


def test_label_linear_by_hand() -> None:
    linear = LabelLinear(2, 3)
    linear.weight.data.copy_(torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 0.0]]))
    linear.bias.data.copy_(torch.tensor([0.5, 0.0]))
    got = linear(torch.tensor([[[1.0, 1.0, 1.0], [5.0, 6.0, 7.0]]]))
    torch.testing.assert_close(got, torch.tensor([[6.5, -6.0]]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MultiHeadAttention(12, 5), "divides the width 12"),
        (lambda: MultiHeadAttention(12, 0), "divides the width 12"),
        (lambda: MultiHeadAttention(12, 3, dropout=1.0), r"dropout in \[0, 1\)"),
        (lambda: ReadBlock(12, 3, 0, 0.1), "ffn >= 1"),
        (lambda: projection(12, -1), "width >= 0"),
    ],
)
def test_wrong_arguments_are_refused(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        build()
