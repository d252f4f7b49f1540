"""CSRA against the authors' code."""

import pytest
import torch

from ibca_lightning.heads import CSRAHead
from tests.heads.reference import seeded

LAMBDA = 0.4
MAXIMUM = 1e6  # a temperature in the place of theirs of 99, which stands for the maximum

# Logits of github.com/Kevinz-code/CSRA (pipeline/csra.py) with this lambda on `seeded`'s case: one of its heads at each
# temperature.
ONE_HEAD = {
    1.0: [[-0.3028094, -0.9831117, -0.9298972], [0.0842261, -1.7697048, -1.2476138]],
    2.0: [[-0.2310756, -0.9257625, -0.8632262], [0.1033604, -1.6266882, -1.1394849]],
    4.0: [[-0.1667535, -0.8524277, -0.8020548], [0.1348737, -1.5547175, -1.0775214]],
    MAXIMUM: [[-0.1214373, -0.7905123, -0.7663961], [0.2036934, -1.5258994, -1.0632679]],
}
# The same of its module of several heads, each with weights and a temperature of its own: half of normal numbers, drawn
# head by head behind the features.
SEVERAL_HEADS = {
    (1.0, MAXIMUM): [[1.1179914, 0.7130670, -1.5799054], [0.9314453, -0.6672535, -1.4693277]],
    (1.0, 2.0, 4.0, MAXIMUM): [[1.0191647, 0.6949914, -1.4448325], [-0.1693514, -1.6259116, -1.1969173]],
}


@pytest.mark.parametrize("temperature", ONE_HEAD)
def test_same_weights_same_numbers_as_one_head_of_the_authors_code(temperature: float) -> None:
    head, x = seeded(CSRAHead, 6, 3, (2, 3), residual_weight=LAMBDA, temperature=temperature)
    torch.testing.assert_close(head(x).logits, torch.tensor(ONE_HEAD[temperature]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("temperatures", SEVERAL_HEADS)
def test_several_heads_of_the_authors_code_are_several_of_ours_added_up(temperatures: tuple[float, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 2, 3, generator=generator).relu()
    logits = torch.zeros(2, 3)
    for temperature in temperatures:
        head = CSRAHead(6, 3, residual_weight=LAMBDA, temperature=temperature)
        head.weight.data.copy_(0.5 * torch.randn(3, 6, generator=generator))
        logits += head(x).logits
    torch.testing.assert_close(logits, torch.tensor(SEVERAL_HEADS[temperatures]), rtol=0, atol=1e-5)


def test_a_class_without_a_direction_has_no_evidence() -> None:
    head, x = seeded(CSRAHead, 6, 3, (2, 3))
    head.weight.data.zero_()
    assert head(x).logits.abs().max() == 0
