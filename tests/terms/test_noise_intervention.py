"""The noise of another picture: hand-worked maps, and a detector that finds what was never drawn for it."""

import pytest
import torch
from torch import Tensor

from ibca_lightning.heads import HeadOutput
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import NoiseIntervention, Step, Terms
from ibca_lightning.terms.noise_intervention import swapped
from tests.terms.contract import given, setting


def cells(*rows: list[float]) -> Tensor:
    """A picture a row, one channel, one line of cells."""
    return torch.tensor(rows, dtype=torch.float32).view(len(rows), 1, 1, -1)


def test_noise_gives_way_to_the_mean_of_the_rest_and_to_the_noise_of_the_next_picture():
    maps = cells([1, 2, 9, 3], [50, 4, 6, 8], [7, 7, 7, 7])
    noise = cells([0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0])
    wanted = cells([1, 2, 2, 3], [6, 4, 9, 8], [50, 7, 7, 7])  # roll: 0 has the noise of 2, 1 of 0, 2 of 1
    assert torch.equal(swapped(maps, noise, noise), wanted)
    neighbours = cells([0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0])  # taken out with it, and not lent
    wanted = cells([1, 1, 1, 1], [7, 7, 9, 8], [50, 7, 7, 7])
    assert torch.equal(swapped(maps, neighbours, noise), wanted)


def test_a_picture_that_is_all_noise_is_emptied_and_one_without_is_left():
    assert torch.equal(
        swapped(cells([5, 6], [1, 2]), cells([1, 1], [0, 0]), cells([1, 1], [0, 0])), cells([0, 0], [5, 6])
    )
    maps = torch.rand(3, 2, 4, 4)
    assert torch.equal(swapped(maps, *torch.zeros(2, 3, 1, 4, 4)), maps)


def test_no_gradient_reaches_the_picture_that_lends_its_noise():
    maps = cells([1, 2, 9], [3, 4, 6]).requires_grad_()
    swapped(maps, *[cells([0, 0, 1], [0, 0, 0])] * 2)[1].sum().backward()
    assert torch.equal(maps.grad[0], torch.zeros(1, 1, 3)), "what is lent is only read"
    assert torch.equal(maps.grad[1], cells([1, 1, 0])[0]), "what is covered has no say"


def step(features: Tensor, drawn: Tensor) -> Step:
    output = HeadOutput(torch.zeros(len(features), 1), torch.zeros(len(features), 1, 1, 1), {})
    return Step(
        {"drawn_mask": drawn}, torch.zeros(len(features), 1), output, features, torch.nn.Identity(), lambda _: output
    )


def begun(channels: int = 2, **options) -> NoiseIntervention:
    term = NoiseIntervention(**options)
    term.begin(setting(given(1))._replace(channels=channels))
    return term


def test_loss_of_a_detector_that_knows_nothing():
    drawn = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    drawn[..., 0, 0] = True
    loss = begun(weight=2.0)(step(torch.rand(1, 2, 2, 2), drawn))["noise"]
    assert loss.item() == pytest.approx(2 * (3 * 0.6931472 + 3 * 0.5) / 4)  # 3 log 2 of one cell, sigmoid(0) of three


def test_thresholds_follow_the_cells_without_drawing():
    term = begun(1, erased=0.5, lent=0.1)
    torch.nn.init.ones_(term.detector.weight)
    maps = torch.arange(121.0).view(1, 1, 11, 11)
    drawn = torch.zeros(1, 1, 11, 11, dtype=torch.bool)
    assert term.thresholds.tolist() == [float("inf")] * 2, "nothing is found before the first step"
    term(step(maps, drawn))
    deviation = maps.var(correction=0).sqrt()
    torch.testing.assert_close(term.thresholds, torch.tensor([0.0, 48.0]) / deviation)  # 60 and 108, less the mean, 60
    drawn[..., 5:, :] = True  # beside it, row 4 says nothing either: 44 cells are left, 0 to 43
    term(step(maps, drawn))
    wanted = 0.9 * torch.tensor([60.0, 108.0]) + 0.1 * torch.tensor([21.5, 38.7])
    torch.testing.assert_close(term.thresholds, (wanted - 60) / deviation)
    term(step(maps, torch.ones_like(drawn)))
    torch.testing.assert_close(term.thresholds, (wanted - 60) / deviation)  # a batch that is all drawn says nothing


def marked(pictures: int, generator: torch.Generator, drawn: bool, present: bool) -> tuple[Tensor, Tensor]:
    """Maps of 6 channels: noise; a real mark is +4 in channels 0, 1 and 2, a drawn one in 0, 1 and 3 or 4."""
    maps = torch.randn(pictures, 6, 5, 5, generator=generator)
    mask = torch.zeros(pictures, 1, 5, 5, dtype=torch.bool)
    if present:
        maps[:, [0, 1, 2], 4, 4] += 4
    if drawn:
        rows, columns = torch.randint(0, 3, (2, pictures), generator=generator)
        other = 3 + torch.randint(0, 2, (pictures,), generator=generator)
        for at in range(pictures):
            maps[at, [0, 1, int(other[at])], rows[at], columns[at]] += 4
            mask[at, 0, rows[at], columns[at]] = True
    return maps, mask


def test_it_finds_a_kind_of_mark_that_was_never_drawn_and_takes_it_off_its_class():
    generator = torch.Generator().manual_seed(0)
    term = begun(6, start=0.5)
    optimizer = torch.optim.Adam(term.parameters(), 0.02)
    for at in range(100):
        maps, mask = marked(16, generator, drawn=True, present=at % 3 == 0)
        optimizer.zero_grad()
        term(step(maps, mask))["noise"].backward()
        optimizer.step()
    maps = torch.cat([marked(20, generator, False, present)[0] for present in (True, False)])
    with torch.no_grad():
        found = term.scores(maps)[:, 0] > term.thresholds[1]
    assert found[:20, 4, 4].float().mean() > 0.8
    assert found[20:].float().mean() < 0.1
    batch = {"drawn_mask": torch.zeros(40, 1, 5, 5, dtype=torch.bool)}
    assert torch.equal(term.features(batch, maps), maps), "first the detector learns"
    term.progress = 0.5
    order = torch.arange(40).view(2, 20).T.flatten()  # a marked picture lends to one without, and the other way round
    changed = term.features(batch, maps[order])
    own, lent = changed[0::2, 2, 4, 4], changed[1::2, 2, 4, 4]
    assert lent.mean() > own.mean() + 2, "the mark now stands on the pictures without the class"


def test_what_is_sure_is_lent_with_what_is_likely_beside_it(monkeypatch):
    term = begun(1, start=0.0)
    term.thresholds.copy_(torch.tensor([2.0, 5.0]))
    monkeypatch.setattr(term, "scores", lambda maps: maps)
    maps = cells(
        [1, 1, 1, 1, 1, 1, 1, 1], [0, 3, 6, 3, 1, 1, 3, 1]
    )  # the lone 3 and the 1 beside the others stay at home
    changed = term.features({}, maps)
    assert changed[0].flatten().tolist() == [1, 3, 6, 3, 1, 1, 1, 1]
    assert changed[1].flatten().tolist() == [0] * 8, "all cells are likely, or beside one"


def test_what_is_changed_is_what_the_head_reads_and_the_share_is_kept():
    term = begun(1, start=0.0)
    term.thresholds.fill_(-1.0)  # all is noise: each picture becomes the next
    maps = torch.rand(40, 1, 2, 2)
    terms = Terms([term])
    assert torch.equal(terms.features({}, maps), maps.roll(1, 0))
    term.share = 0.5
    torch.manual_seed(0)
    changed = (terms.features({}, maps) == maps.roll(1, 0)).flatten(1).all(1)
    assert 10 <= int(changed.sum()) <= 30


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", 1.5),
        ("share", -0.1),
        ("start", 1.0),
        ("weight", -1.0),
        ("erased", 0.0),
        ("erased", 1.1),
        ("lent", 0.3),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(InputError, match=f"NoiseIntervention's {name}"):
        NoiseIntervention(**{name: value})


def test_data_without_drawn_noise_end_in_one_line():
    term = NoiseIntervention()
    terms = Terms([term])
    terms.begin(setting(given(1)))
    with pytest.raises(InputError, match=r"noise drawn on the training pictures.*NoiseIntervention.*drawn_noise"):
        terms.labels({"label": given(1)}, 0.0)
