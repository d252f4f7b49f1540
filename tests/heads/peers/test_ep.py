"""Efficient probing against the authors' code, and its class maps."""

import pytest
import torch

from ibca_lightning.heads import EPHead, GAPHead
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features
from tests.terms.contract import wave

# The pooled vector of github.com/billpsomas/efficient-probing (poolings/ep.py) for 3 positions, 8 channels, 2 queries.
POOLED = [-0.03999950, -0.07304884, 0.14773101, -0.14482300, -0.03009652, 0.40442095, -0.56633842, 0.43080783]


def reference() -> tuple[EPHead, torch.Tensor]:
    """A head whose classes are the channels of the pooled vector, and the map."""
    head = EPHead(8, 8, queries=2)
    head.value.weight.data = wave(8, 8, a=0.3).float()
    head.queries.data = wave(1, 2, 8, a=0.5)[0].float()
    head.classify.weight.data, head.classify.bias.data = torch.eye(8), torch.zeros(8)
    return head, wave(1, 3, 8).float().mT.reshape(1, 8, 1, 3)


def test_same_weights_same_pooled_vector_as_the_authors_code() -> None:
    head, x = reference()
    torch.testing.assert_close(head(x).logits[0], torch.tensor(POOLED), rtol=0, atol=1e-6)


def test_a_class_map_is_where_the_queries_look_times_what_is_there() -> None:
    head, x = reference()
    positions = x.flatten(2)
    looks = (head.queries @ positions * 8**-0.5).softmax(-1).mean(1)[0]
    weighed = looks * (head.value.weight @ positions[0]).exp()
    torch.testing.assert_close(head(x).attention[0, :, 0], weighed / weighed.sum(-1, keepdim=True))


def test_queries_that_look_nowhere_in_particular_make_it_gap() -> None:
    head, gap = EPHead(CHANNELS, LABELS, queries=4), GAPHead(CHANNELS, LABELS)
    head.queries.data.zero_()
    head.value.weight.data = torch.eye(CHANNELS)
    head.classify.load_state_dict(gap.linear.state_dict())
    for ours, theirs in zip(head(features()), gap(features()), strict=True):
        if isinstance(ours, torch.Tensor):
            torch.testing.assert_close(ours, theirs)


def test_as_many_queries_as_divide_the_channels() -> None:
    taken = {channels: EPHead(channels, LABELS).queries.shape for channels in (8, 96, 416, 33)}
    assert taken == {8: (8, 8), 96: (32, 96), 416: (32, 416), 33: (1, 33)}


@pytest.mark.parametrize("options", [{"queries": 0}, {"width": -1}])
def test_wrong_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"EPHead's {next(iter(options))}"):
        EPHead(CHANNELS, LABELS, **options)
