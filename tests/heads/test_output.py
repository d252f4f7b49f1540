"""What a head of one's own may give back."""

from typing import Any

import pytest
import torch

from ibca_lightning.heads import GAPHead, HeadOutput
from ibca_lightning.heads.base import require_output
from ibca_lightning.system.errors import InputError


def output(logits: tuple[int, ...], attention: tuple[int, ...]) -> HeadOutput:
    return HeadOutput(torch.zeros(logits), torch.zeros(attention), {})


def test_an_output_of_the_heads_labels_is_taken_as_it_is() -> None:
    for head in (GAPHead(4, 3), torch.nn.Identity()):  # that has no number of labels
        assert require_output(head, given := output((2, 3), (2, 3, 5, 6))) is given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 3), "a HeadOutput of ibca_lightning.heads from GAPHead.forward, got a Tensor; return"),
        ((torch.zeros(2, 3), torch.zeros(2, 3, 5, 6), {}), "from GAPHead.forward, got a tuple; "),
        (output((6,), (2, 3, 5, 6)), r"of 3 labels from GAPHead.forward, got logits \(6,\) and attention \(2, 3, 5, 6"),
        (output((2, 4), (2, 4, 5, 6)), r"of 3 labels from GAPHead.forward, got logits \(2, 4\)"),
        (output((2, 3), (2, 3, 30)), r"of 3 labels .* and attention \(2, 3, 30\); correct"),
        (output((2, 3), (2, 1, 5, 6)), r"of 3 labels .* and attention \(2, 1, 5, 6\); correct"),
    ],
)
def test_another_is_told_of_with_its_shapes(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        require_output(GAPHead(4, 3), given)
