"""Query2Label against the authors' code, and its positions by hand."""

import math

import pytest
import torch

from ibca_lightning.heads import Query2LabelHead
from ibca_lightning.heads.peers.decoders.query2label import sine_positions
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features
from tests.heads.reference import seeded, shuffled

# Logits, and the last cross attention of the first picture, of github.com/SlongLiu/query2labels on `seeded`'s case. All
# its parameters are ours by other names but the bias of the keys, which is random there.
LOGITS = [[2.3593292, -0.6245735, -0.6890427], [2.3565412, -0.6231560, -0.6964997]]
ATTENTION = [
    [0.2421836, 0.2702863, 0.1207948, 0.1824467, 0.1432413, 0.0410472],
    [0.1953982, 0.2252789, 0.1091214, 0.2594562, 0.1582375, 0.0525078],
    [0.1891074, 0.3370887, 0.1202570, 0.1641443, 0.1516193, 0.0377833],
]


def test_same_weights_same_numbers_as_the_authors_code() -> None:
    options = {"width": 8, "num_heads": 2, "ffn": 12, "encoder_layers": 1, "decoder_layers": 2}
    head, x = seeded(Query2LabelHead, 6, 3, (2, 3), **options)
    output = head(x)
    torch.testing.assert_close(output.logits, torch.tensor(LOGITS), rtol=0, atol=1e-5)
    torch.testing.assert_close(output.attention[0].flatten(1), torch.tensor(ATTENTION), rtol=0, atol=1e-5)


def test_positions_by_hand() -> None:
    # 8 channels: sine and cosine of the row at rates 1 and 1/100, then of the column
    got = sine_positions(1, 2, 8)
    row = [0.0, 1.0, math.sin(math.pi / 50), math.cos(math.pi / 50)]
    columns = [[0.0, -1.0, math.sin(math.pi / 100), math.cos(math.pi / 100)], row]  # half a turn, a whole one
    torch.testing.assert_close(got, torch.tensor([row + column for column in columns]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("encoder_layers", [0, 1])
def test_only_positions_tell_places_apart(encoder_layers: int) -> None:
    torch.manual_seed(0)
    x, order = shuffled(features())
    for positions in (True, False):
        head = Query2LabelHead(CHANNELS, LABELS, encoder_layers=encoder_layers, positions=positions).eval()
        here, there = head(features()), head(x)
        same = torch.allclose(here.logits, there.logits, rtol=0, atol=1e-5)
        assert same is not positions
        moved = here.attention.flatten(2)[..., order]
        assert torch.allclose(moved, there.attention.flatten(2), rtol=0, atol=1e-6) is not positions


def test_dead_features_without_positions_are_seen_uniformly() -> None:
    attention = Query2LabelHead(CHANNELS, LABELS, positions=False).eval()(torch.zeros(1, CHANNELS, 2, 3)).attention
    torch.testing.assert_close(attention, torch.full_like(attention, 1 / 6))


def test_first_attention_is_near_uniform_with_positions_too() -> None:
    torch.manual_seed(0)
    attention = Query2LabelHead(512, LABELS).eval()(torch.randn(2, 512, 7, 7).relu()).attention * 49
    assert attention.min() > 0.2
    assert attention.max() < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_layers": 0}, "decoder_layers >= 1"),
        ({"encoder_layers": -1}, "encoder_layers >= 0"),
        ({"width": 6, "num_heads": 2}, "width that 4 divides"),
        ({"num_heads": 3}, "num_heads that divides the width 256"),
        ({"dropout": 1.0}, "dropout"),
        ({"ffn": 0}, "ffn >= 1"),
        ({"width": -4}, "width >= 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Query2LabelHead(CHANNELS, LABELS, **options)
