"""TSFormer against the authors' blocks."""

import pytest
import torch

from ibca_lightning.heads import TSFormerHead
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features
from tests.heads.reference import seeded, shuffled

# Logits, and the last cross attention of the first picture, of the blocks and the classifier of
# github.com/jasonseu/TSFormer on `seeded`'s case, over our projected map in the place of ViT tokens.
LOGITS = [[-8.5326281, -0.4623770, -7.7908897], [-8.3389244, 0.0864682, -8.1667528]]
ATTENTION = [
    [0.1729977, 0.1539062, 0.1431521, 0.1911254, 0.1705490, 0.1682697],
    [0.1744669, 0.1579313, 0.1434505, 0.1999818, 0.1605030, 0.1636666],
    [0.1694993, 0.1529986, 0.1452546, 0.1956721, 0.1701227, 0.1664528],
]


def test_same_weights_same_numbers_as_the_authors_code() -> None:
    head, x = seeded(TSFormerHead, 6, 3, (2, 3), width=8, num_heads=2, ffn=12, layers=2)
    output = head(x)
    torch.testing.assert_close(output.logits, torch.tensor(LOGITS), rtol=0, atol=1e-5)
    torch.testing.assert_close(output.attention[0].flatten(1), torch.tensor(ATTENTION), rtol=0, atol=1e-5)


def test_labels_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    head = TSFormerHead(CHANNELS, LABELS).eval()
    before = head(features()).logits
    head.tokens.data[0].normal_()
    after = head(features()).logits
    torch.testing.assert_close(after[:, 1:], before[:, 1:], rtol=0, atol=1e-6)
    assert not torch.allclose(after[:, 0], before[:, 0], rtol=0, atol=1e-3)


def test_places_are_not_told_apart() -> None:
    torch.manual_seed(0)
    head = TSFormerHead(CHANNELS, LABELS).eval()
    x, order = shuffled(features())
    here, there = head(features()), head(x)
    torch.testing.assert_close(there.logits, here.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(there.attention.flatten(2), here.attention.flatten(2)[..., order], rtol=0, atol=1e-6)


def test_first_attention_is_near_uniform() -> None:
    torch.manual_seed(0)
    attention = TSFormerHead(512, LABELS).eval()(torch.randn(2, 512, 7, 7).relu()).attention * 49
    assert attention.min() > 0.2
    assert attention.max() < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layers": 0}, "layers >= 1"), ({"num_heads": 3}, "divides the width 256"), ({"dropout": 1.0}, "dropout"),
     ({"ffn": 0}, "ffn >= 1"), ({"width": -1}, "width >= 0")],
)  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TSFormerHead(CHANNELS, LABELS, **options)
