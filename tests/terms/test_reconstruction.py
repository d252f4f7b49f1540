"""Pre-training on the pictures themselves: what is hidden, shuffled, and sought."""

import math

import pytest
import torch
from torch import Tensor

from ibca_lightning.heads import HeadOutput
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import Reconstruction, Setting, Step
from ibca_lightning.terms.reconstruction import shuffled

INDEX = torch.tensor([3, 5])


def seen(image: Tensor) -> tuple[Step, list[Tensor]]:
    """A step whose map is the picture at a fourth of its side, and what the term shows the student."""
    shown: list[Tensor] = []

    def again(batch) -> Step:
        shown.append(batch["image"])
        small = torch.nn.functional.avg_pool2d(batch["image"].float(), 4)
        return Step(batch, labels, HeadOutput(labels.float(), small, {}), small, torch.nn.Identity(), again)

    labels = torch.full((len(image), 1), -1)
    return again({"image": image, "index": INDEX}), shown


def begun(**options: float) -> Reconstruction:
    term = Reconstruction(**options)
    term.begin(Setting(["a"], channels=3))
    return term


def test_tiles_are_put_where_they_are_said_to_be_and_the_rest_stays():
    image = torch.arange(2 * 1 * 8 * 7).view(2, 1, 8, 7)
    order = torch.tensor([[8, 1, 2, 3, 4, 5, 6, 7, 0], list(range(9))])
    moved = shuffled(image, order)
    assert torch.equal(moved[1], image[1])
    assert torch.equal(moved[0, :, :2, :2], image[0, :, 4:6, 4:6])
    assert torch.equal(moved[0, :, 4:6, 4:6], image[0, :, :2, :2])
    assert torch.equal(moved[0, :, :2, 2:], image[0, :, :2, 2:])
    assert torch.equal(moved[0, :, 6:], image[0, :, 6:])
    assert sorted(moved.flatten().tolist()) == sorted(image.flatten().tolist())


def test_half_is_hidden_and_what_is_sought_is_what_was_there():
    image = torch.randint(0, 255, (2, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (step, shown), term = seen(image), begun(order=0.0, patches=6)
    losses = term(step)
    assert list(losses) == ["reconstruction"]
    hidden = (shown[-1] != image).any(1)
    assert 0.3 < hidden.float().mean() < 0.7
    assert all(len(shown[-1][i][:, hidden[i]].unique()) == 1 for i in range(2)), "one grey a picture"
    with torch.no_grad():
        term.paint.weight.zero_()
        term.paint.bias.zero_()
    value = float(term(step)["reconstruction"])
    again = [own.clone() for own in (shown[-1], shown[-2])]
    assert not torch.equal(*again), "each step hides others"
    bright = image.float().mean(1)
    spread, mean = (own[:, None, None] for own in torch.std_mean(bright.flatten(1), dim=1, correction=0))
    target = ((bright - mean) / (spread + 1)).square()
    assert value == pytest.approx(float(target[(shown[-1] != image).any(1)].mean()), rel=0.02)


def test_the_place_of_a_tile_is_learnt_and_chance_costs_the_log_of_nine():
    image = torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
    term = begun(weight=2.0, order=0.5)
    with torch.no_grad():
        term.place.weight.zero_()
        term.place.bias.zero_()
    assert float(term(seen(image)[0])["order"]) == pytest.approx(math.log(9), rel=1e-6)


def test_what_is_drawn_is_of_step_and_picture_alone():
    one, two = begun(), begun()
    orders, hidden = one._draw(INDEX)
    turned, other = two._draw(INDEX.flip(0))
    assert torch.equal(orders, turned.flip(0))
    assert torch.equal(hidden, other.flip(0))
    assert not torch.equal(one._draw(INDEX)[1], hidden)


@pytest.mark.parametrize("wrong", [{"hidden": 1}, {"patches": 1}, {"order": -1}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        Reconstruction(**wrong)
