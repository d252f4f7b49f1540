"""Deletion and insertion curves of models whose probability is a known function of what can be seen."""

import pytest
import torch

from ibca_lightning.metrics.faithfulness import (
    Curve,
    blurred,
    lesion_order,
    mean_colour,
    pair_curves,
    random_order,
    replacement_curve,
)

SIDE, BLACK = 8, torch.zeros(3, 8, 8, dtype=torch.uint8)
WHITE = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
# On a grid of 2 x 2: the label's evidence, and an attention that takes the cells in the order 0, 2, 1, 3.
EVIDENCE = torch.tensor([[0.6, 0.1], [0.3, 0.0]])
ATTENTION = torch.tensor([[0.5, 0.2], [0.25, 0.05]])


def seen(images: torch.Tensor) -> torch.Tensor:
    """Probability = the evidence of the cells that are white; the other label says how much is white."""
    visible = torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).mean(1)
    return torch.stack([visible.mean((1, 2)), (visible * EVIDENCE).sum((1, 2))], dim=1)


def test_deletion_by_hand() -> None:
    curve = replacement_curve(seen, WHITE, BLACK, ATTENTION, label=1, steps=4)
    assert curve.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.probabilities.tolist() == pytest.approx([1, 0.4, 0.1, 0, 0])
    assert curve.area == pytest.approx(0.25 * (0.5 + 0.4 + 0.1 + 0))


def test_insertion_by_hand() -> None:
    curve = replacement_curve(seen, BLACK, WHITE, ATTENTION, label=1, steps=4)
    assert curve.probabilities.tolist() == pytest.approx([0, 0.6, 0.9, 1, 1])
    assert curve.area == pytest.approx(0.25 * (0.6 + 0.9 + 1 + 0.5))


def test_the_order_matters_and_the_label_too() -> None:
    worst = replacement_curve(seen, WHITE, BLACK, -ATTENTION, label=1, steps=4)
    assert worst.probabilities.tolist() == pytest.approx([1, 1, 0.9, 0.6, 0])
    linear = replacement_curve(seen, WHITE, BLACK, ATTENTION, label=0, steps=4)
    assert linear.probabilities.tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert linear.area == pytest.approx(0.5)


@pytest.mark.parametrize(("height", "width", "steps"), [(2, 2, 4), (5, 3, 10), (12, 12, 10), (3, 3, 1)])
def test_insertion_mirrors_deletion_in_reverse_order(height: int, width: int, steps: int) -> None:
    """What is brought back last is what is taken out first."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 30, 30), generator=generator, dtype=torch.uint8)
    weight = torch.rand(3, 30, 30, generator=generator)
    attention = torch.randperm(height * width, generator=generator).view(height, width).float()

    def model(images: torch.Tensor) -> torch.Tensor:
        return (images * weight).mean((1, 2, 3))[:, None] / 255

    inserted = replacement_curve(model, blurred(image), image, attention, 0, steps)
    deleted = replacement_curve(model, image, blurred(image), -attention, 0, steps)
    cells = height * width
    assert [round(share * cells) for share in inserted.shares.tolist()] == [
        int(step * cells / steps + 0.5) for step in range(steps + 1)
    ]
    if steps * (cells // steps) == cells or steps == 1:
        torch.testing.assert_close(deleted.probabilities, inserted.probabilities.flip(0))
        assert deleted.area == pytest.approx(inserted.area)
    plain = model(image[None])[0, 0]
    torch.testing.assert_close(inserted.probabilities[0], deleted.probabilities[-1])
    torch.testing.assert_close(inserted.probabilities[-1], plain)
    torch.testing.assert_close(deleted.probabilities[0], plain)


def test_fewer_cells_than_steps_are_taken_one_by_one() -> None:
    curve = replacement_curve(seen, WHITE, BLACK, ATTENTION, label=1, steps=10)
    assert curve.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_cells_cover_the_picture_where_the_grid_does_not_divide_it() -> None:
    sizes = []

    def model(images: torch.Tensor) -> torch.Tensor:
        sizes.append((images == 0).all(1).sum((1, 2)).tolist())
        return torch.zeros(len(images), 1)

    replacement_curve(model, WHITE, BLACK, torch.arange(9.0).view(3, 3), 0, steps=9)
    # Rows and columns of 3, 2 and 3 pixels: a pixel belongs to the cell that holds its middle. The last goes first.
    assert torch.tensor(sizes[0]).diff().tolist() == [9, 6, 9, 6, 4, 6, 9, 6, 9]


def test_the_model_sees_the_untouched_picture_in_its_own_type() -> None:
    image = torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8)
    shown: list[torch.Tensor] = []

    def model(images: torch.Tensor) -> torch.Tensor:
        shown.append(images)
        return torch.zeros(len(images), 1)

    pair_curves(model, image, ATTENTION, 0)
    assert shown[0].dtype == torch.uint8
    assert torch.equal(shown[0][0], image)
    assert torch.equal(shown[1][-1], image)
    assert torch.equal(shown[0][-1], blurred(image))
    assert torch.equal(shown[1][0], blurred(image))


def test_pairs_of_curves_are_those_of_each_order_and_filler() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    lesion = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    lesion[5, 5] = True
    filler, blur, random = mean_colour(image), blurred(image), random_order(2, 2, seed=3)
    for mask, given, gone in ((lesion, filler, filler), (~lesion & lesion, None, blur), (None, None, blur)):
        curves = pair_curves(seen, image, ATTENTION, 1, mask, steps=3, filler=given, seed=3)
        orders = {"": ATTENTION, "_random": random}
        if mask is lesion:
            orders["_lesion"] = lesion_order(lesion, random)
        assert list(curves) == [f"{kind}{name}" for name in orders for kind in ("deletion", "insertion")]
        for name, order in orders.items():
            for kind, start, end in (("deletion", image, gone), ("insertion", blur, image)):
                expected = replacement_curve(seen, start, end, order, 1, 3)
                assert curves[f"{kind}{name}"].shares.tolist() == expected.shares.tolist()
                assert curves[f"{kind}{name}"].probabilities.tolist() == expected.probabilities.tolist()


def test_area_is_by_trapezoids_over_the_shares() -> None:
    assert Curve(torch.tensor([0, 0.1, 1.0]), torch.tensor([1, 0.5, 0.5])).area == pytest.approx(0.075 + 0.45)


def test_blur_keeps_colours_and_loses_what_is_small() -> None:
    plain = torch.tensor([10, 120, 250], dtype=torch.uint8)[:, None, None].expand(3, 64, 64)
    assert torch.equal(blurred(plain), plain)
    assert torch.equal(mean_colour(plain), plain)
    spot = plain.clone()
    spot[:, 30:33, 30:33] = 0
    after = blurred(spot).int() - plain.int()
    assert after.abs().max() < 25  # 9 pixels under a Gaussian of 4 pixels: at most 9 / (2 pi 16) of 250
    assert after.min() < -5
    mean = 250 * (1 - 9 / 64**2)
    assert mean_colour(spot)[2].unique().tolist() == [round(mean)]
    assert blurred(spot.float())[2].mean() == pytest.approx(mean, abs=1e-2)


def test_random_orders_are_seeded_and_fair() -> None:
    assert torch.equal(random_order(4, 5, seed=3), random_order(4, 5, seed=3))
    assert not torch.equal(random_order(4, 5, seed=3), random_order(4, 5, seed=4))
    first = torch.stack([random_order(4, 5, seed) == random_order(4, 5, seed).max() for seed in range(2000)])
    assert (first.sum(0) - 100).abs().max() < 50  # five standard deviations
    assert len(random_order(30, 30, 0).unique()) == 900


def test_lesion_order_takes_the_fullest_cell_first_and_ties_as_told() -> None:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[0, 0] = True  # upper left: 1 pixel
    mask[4:6, 4:8] = True  # lower right: 8 pixels
    ties = torch.tensor([[0.0, 0.25], [0.5, 0.75]])
    order = lesion_order(mask, ties).flatten().sort(descending=True).indices
    assert order.tolist() == [3, 0, 2, 1]
    assert lesion_order(mask, 0.75 - ties).flatten().sort(descending=True).indices.tolist() == [3, 0, 1, 2]
