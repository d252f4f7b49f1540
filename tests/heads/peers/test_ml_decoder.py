"""ML-Decoder against the authors' code, and its groups."""

import pytest
import torch

from ibca_lightning.heads import MLDecoderHead
from ibca_lightning.losses import masked_bce
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features, labels
from tests.heads.reference import seeded

# Logits, and the cross attention of the first picture's two groups, of github.com/Alibaba-MIIL/ML_Decoder on `seeded`'s
# case: 5 labels in 2 groups of 3. All its parameters are ours by other names but the bias of the keys, random there.
LOGITS = [
    [-1.9342098, -0.6843696, -0.7238656, -0.8022819, 1.5533502],
    [-1.9262885, -0.6794443, -0.7609507, -0.8842834, 1.5426651],
]
GROUP_ATTENTION = [
    [0.1022475, 0.2099088, 0.1766624, 0.0811806, 0.0816749, 0.3483259],
    [0.1419938, 0.2027952, 0.1774804, 0.1002744, 0.0857253, 0.2917309],
]


def test_same_weights_same_numbers_as_the_authors_code() -> None:
    head, x = seeded(MLDecoderHead, 6, 5, (2, 3), width=8, num_heads=2, ffn=12, groups=2)
    output = head(x)
    torch.testing.assert_close(output.logits, torch.tensor(LOGITS), rtol=0, atol=1e-5)
    expected = torch.tensor(GROUP_ATTENTION)[[0, 0, 0, 1, 1]]
    torch.testing.assert_close(output.attention[0].flatten(1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("num_labels", "groups", "maps"), [(7, 3, 3), (6, 3, 3), (4, 100, 4), (5, 1, 1)])
def test_labels_of_a_group_share_their_map(num_labels: int, groups: int, maps: int) -> None:
    attention = MLDecoderHead(CHANNELS, num_labels, groups=groups).eval()(features()).attention
    assert attention.shape[1] == num_labels
    assert len(attention[0].flatten(1).unique(dim=0)) == maps


def test_queries_stay_as_drawn_and_are_saved() -> None:
    head = MLDecoderHead(CHANNELS, LABELS).train()
    before = head.queries.clone()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, weight_decay=0.1)
    masked_bce(head(features()).logits, labels()).backward()
    optimizer.step()
    torch.testing.assert_close(head.queries, before, rtol=0, atol=0)
    torch.testing.assert_close(head.state_dict()["queries"], before, rtol=0, atol=0)
    assert not torch.equal(before, MLDecoderHead(CHANNELS, LABELS).queries), "not the same for every seed"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"groups": 0}, "groups >= 1"), ({"num_heads": 3}, "divides the width 256"), ({"ffn": 0}, "ffn >= 1"),
     ({"dropout": -0.1}, "dropout"), ({"width": -1}, "width >= 0")],
)  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MLDecoderHead(CHANNELS, LABELS, **options)
