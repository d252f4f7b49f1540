"""ADD-GCN against the authors' code, and its nodes."""

import pytest
import torch

from ibca_lightning.heads import AddGCNHead
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features
from tests.heads.reference import seeded, shuffled

# Mean of both scores of github.com/Yejin0111/ADD-GCN on `seeded`'s case, absolute values for the running variance.
LOGITS = [
    [0.1012891, -1.3656514, -0.2539342, 3.4770861, 3.4949024],
    [-3.8800895, -1.8588111, 0.5708922, 4.6444907, 7.8259964],
]


def test_same_weights_same_logits_as_the_authors_code() -> None:
    head, x = seeded(AddGCNHead, 6, 5, (2, 3), hidden=8)
    head.norm.running_var.abs_()
    torch.testing.assert_close(head(x).logits, torch.tensor(LOGITS), rtol=0, atol=2e-5)


def test_the_order_of_the_positions_does_not_matter_and_maps_follow_it() -> None:
    head = AddGCNHead(CHANNELS, LABELS).eval()
    x, order = shuffled(features())
    torch.testing.assert_close(head(x).logits, head(features()).logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(head(x).attention.flatten(2), head(features()).attention.flatten(2)[..., order])


def test_a_class_has_a_say_in_the_others() -> None:
    head = AddGCNHead(CHANNELS, LABELS).eval()
    before = head(features()).logits
    head.masks.weight.data[0] += 1
    moved = (head(features()).logits - before).abs().amax(0)
    assert (moved[1:] > 1e-4).all(), "its own mask changed alone, and with its node all of the graph"


def test_wrong_options_are_refused() -> None:
    with pytest.raises(InputError, match="AddGCNHead's hidden"):
        AddGCNHead(CHANNELS, LABELS, hidden=0)
