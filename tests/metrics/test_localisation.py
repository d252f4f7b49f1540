import math
from fractions import Fraction

import pytest
import torch

from ibca_lightning.metrics.localisation import output_figures, pair_figures, positive_share, region_energy, summarise


def touched(mask, height, width):
    """Cells whose area, in pixels, overlaps a pixel of the mask; plain loops over real coordinates."""
    size_y, size_x = len(mask), len(mask[0])
    cells = [[False] * width for _ in range(height)]
    for i in range(height):
        for j in range(width):
            for y in range(size_y):
                for x in range(size_x):
                    overlaps_y = y < (i + 1) * size_y / height and y + 1 > i * size_y / height
                    overlaps_x = x < (j + 1) * size_x / width and x + 1 > j * size_x / width
                    cells[i][j] |= mask[y][x] and overlaps_y and overlaps_x
    return cells


def upsample(grid, size):
    """Bilinear, pixel centres at half integers, borders repeated; in fractions, so that ties are exact."""

    def place(at, cells):
        at = min(max(Fraction(2 * at + 1, 2) * cells / size - Fraction(1, 2), Fraction(0)), Fraction(cells - 1))
        low = math.floor(at)
        return low, min(low + 1, cells - 1), at - low

    grid = [[Fraction(value) for value in row] for row in grid]
    fine = []
    for y in range(size):
        top, bottom, v = place(y, len(grid))
        for x in range(size):
            left, right, u = place(x, len(grid[0]))
            above = grid[top][left] * (1 - u) + grid[top][right] * u
            below = grid[bottom][left] * (1 - u) + grid[bottom][right] * u
            fine.append(above * (1 - v) + below * v)
    return fine


def pixel_ap(grid, mask):
    pixels = list(zip(upsample(grid, len(mask)), [inside for row in mask for inside in row], strict=True))
    positives, before, total = sum(inside for _, inside in pixels), 0, 0.0
    for threshold in sorted({score for score, _ in pixels}, reverse=True):
        chosen = [inside for score, inside in pixels if score >= threshold]
        total += (sum(chosen) - before) / positives * sum(chosen) / len(chosen)
        before = sum(chosen)
    return total


def random_batch(seed, height, width, size):
    generator = torch.Generator().manual_seed(seed)
    attention = torch.rand(3, 4, height, width, generator=generator)
    attention /= attention.sum(dim=(2, 3), keepdim=True)
    if seed % 2:  # ties: multiples of 1/256, which float32 holds exactly, with the rest in one cell
        attention = torch.full_like(attention, 4 / 256) + (attention > attention.mean()) * 3 / 256
        attention[:, :, 1, 1] += 1 - attention.sum(dim=(2, 3))
    mask = torch.rand(3, 4, size, size, generator=generator) < 0.04
    mask[0, 1] = False  # a lesion that was lost
    labels = torch.randint(-1, 2, (3, 4), generator=generator)
    labels[0, :2] = 1
    return attention, mask, labels


@pytest.mark.parametrize(("height", "width", "size"), [(3, 4, 12), (4, 3, 10), (5, 5, 7)])
def test_agrees_with_plain_python(height, width, size):
    for seed in range(4):
        attention, mask, labels = random_batch(seed, height, width, size)
        result = pair_figures(attention, mask, labels)
        for b in range(3):
            cells = [touched(mask[b, c].tolist(), height, width) for c in range(4)]
            for c in range(4):
                found = {name: values[b, c].item() for name, values in result.items()}
                if labels[b, c] != 1 or not mask[b, c].any():
                    assert all(math.isnan(value) for value in found.values())
                    continue
                grid = attention[b, c].tolist()
                places = [(i, j) for i in range(height) for j in range(width)]
                highest = max(grid[i][j] for i, j in places)
                peaks = [(i, j) for i, j in places if grid[i][j] == highest]
                others = [
                    (i, j) for i, j in places if not cells[c][i][j] and any(cells[o][i][j] for o in range(4) if o != c)
                ]
                assert found == pytest.approx(
                    {
                        "energy": sum(grid[i][j] for i, j in places if cells[c][i][j]),
                        "uniform": sum(cells[c][i][j] for i, j in places) / len(places),
                        "pointing": sum(cells[c][i][j] for i, j in peaks) / len(peaks),
                        "other_energy": sum(grid[i][j] for i, j in others),
                        "pixel_AP": pixel_ap(grid, mask[b, c].tolist()),
                    },
                    abs=1e-5,
                )


def test_hand_worked_on_two_by_two_cells():
    attention = torch.tensor([[[[0.7, 0.1], [0.1, 0.1]], [[0.2, 0.3], [0.1, 0.4]]]])
    mask = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    mask[0, 0, 0, 0] = True  # upper left cell
    mask[0, 1, 1, 1:3] = True  # both upper cells
    result = pair_figures(attention, mask, torch.tensor([[1, 1]]))
    assert result["energy"].tolist() == [pytest.approx([0.7, 0.5])]
    assert result["uniform"].tolist() == [[0.25, 0.5]]
    assert result["pointing"].tolist() == [[1.0, 0.0]]
    assert result["other_energy"].tolist() == [pytest.approx([0.1, 0.0])]
    # The corner pixel has the cell's own value, higher than all others: AP 1.
    assert result["pixel_AP"][0, 0] == 1.0
    summary = summarise(result, ["a", "b"])
    assert summary["metrics"] == pytest.approx(
        {
            "attention_energy": 0.6,
            "attention_gain": 0.6 / 0.375,
            "pointing_game": 0.5,
            "other_energy": 0.05,
            "pixel_AP": (1 + result["pixel_AP"][0, 1].item()) / 2,
        }
    )
    assert summary["per_class"]["a"]["attention_gain"] == pytest.approx(2.8)
    assert (summary["per_class"]["b"]["pairs"], summary["pairs"]) == (1, 2)


def test_a_uniform_map_gains_nothing():
    generator = torch.Generator().manual_seed(0)
    attention = torch.full((1, 1, 7, 7), 1 / 49)
    mask = torch.rand(1, 1, 50, 50, generator=generator) < 0.01
    result = pair_figures(attention, mask, torch.ones(1, 1))
    metrics = summarise(result, ["a"])["metrics"]
    assert metrics["attention_gain"] == pytest.approx(1.0)
    assert metrics["pointing_game"] == pytest.approx(metrics["attention_energy"])
    # One threshold only: precision is the share of the pixels, although interpolation is not exact here.
    assert metrics["pixel_AP"] == pytest.approx(mask.float().mean().item())


def test_the_mean_is_over_pairs_not_over_classes():
    energy = torch.tensor([[0.2, 0.9], [0.4, torch.nan], [0.6, torch.nan]])
    summary = summarise({"energy": energy, "uniform": energy * 0 + 0.1, "noise_energy": energy / 2}, ["a", "b"])
    assert summary["metrics"] == pytest.approx(
        {"attention_energy": 0.525, "noise_energy": 0.2625, "attention_gain": 5.25}
    )
    assert summary["per_class"]["a"]["attention_energy"] == pytest.approx(0.4)
    assert [summary["per_class"][name]["pairs"] for name in "ab"] == [3, 1]


def test_without_pairs_all_is_none():
    attention, mask, _ = random_batch(0, 2, 2, 8)
    summary = summarise(pair_figures(attention, mask, torch.zeros(3, 4)), "abcd")
    assert set(summary["metrics"].values()) == {None}
    assert set(summary["metrics"]) == {
        "attention_energy",
        "attention_gain",
        "pointing_game",
        "pixel_AP",
        "other_energy",
    }
    assert summary["pairs"] == 0


def test_region_energy_of_one_region_for_all_labels():
    attention = torch.tensor([[[[0.7, 0.1], [0.1, 0.1]], [[0.2, 0.3], [0.1, 0.4]], [[1.0, 0.0], [0.0, 0.0]]]])
    region = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    region[0, 0, 2:] = True
    result = region_energy(attention, region, torch.tensor([[1, 1, 0]]))
    assert result[0, :2].tolist() == pytest.approx([0.2, 0.5])
    assert torch.isnan(result[0, 2])
    own = region.expand(1, 3, 4, 4).clone()
    own[0, 1] = False
    result = region_energy(attention, own, torch.tensor([[1, 1, 0]]))
    assert result[0, 0].item() == pytest.approx(0.2)
    assert torch.isnan(result[0, 1:]).all()


def test_contribution_by_hand():
    """Its positive part is (0.8, 0, 0, 0.2), whatever the negative part is."""
    attention = torch.full((1, 2, 2, 2), 0.25)
    contribution = torch.tensor([[[[4.0, -9.0], [0.0, 1.0]], [[-1.0, -2.0], [-3.0, 0.0]]]])
    mask = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    mask[0, 0, 3, 3] = True  # lower right cell
    mask[0, 1, 0, 0:3] = True  # both upper cells
    noise = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    noise[0, 0, :2, :2] = True  # upper left cell
    labels = torch.tensor([[1, 1]])
    result = output_figures(attention, contribution, mask, labels, {"noise": noise})
    assert result["contribution_energy"].tolist() == [pytest.approx([0.2, 0.5])]  # the second is uniform
    assert result["contribution_pointing"].tolist() == [[0.0, 0.5]]
    assert result["contribution_other_energy"].tolist() == [pytest.approx([0.8, 0.25])]
    assert result["contribution_noise_energy"].tolist() == [pytest.approx([0.8, 0.25])]
    assert result["noise_energy"].tolist() == [[0.25, 0.25]]
    metrics = summarise(result, ["a", "b"])["metrics"]
    assert metrics["attention_gain"] == pytest.approx(1.0)
    assert metrics["contribution_gain"] == pytest.approx(0.35 / 0.375)
    assert metrics["contribution_pointing_game"] == pytest.approx(0.25)
    alone = pair_figures(positive_share(contribution), mask, labels)
    assert torch.equal(result["contribution_pixel_AP"], alone["pixel_AP"])
    assert not [name for name in metrics if name.endswith("uniform") or name == "contribution_pointing"]


def test_without_a_contribution_nothing_is_said_of_it():
    attention, mask, labels = random_batch(0, 3, 4, 12)
    result, plain = output_figures(attention, None, mask, labels), pair_figures(attention, mask, labels)
    assert result.keys() == plain.keys()
    assert all(torch.equal(result[name].nan_to_num(), plain[name].nan_to_num()) for name in plain)


def test_positive_share_is_a_map_even_where_the_sum_overflows_half_precision():
    generator = torch.Generator().manual_seed(0)
    contribution = torch.randn(2, 3, 4, 5, generator=generator).clamp(-2, 2).mul(3e4).half()
    share = positive_share(contribution)
    assert share.dtype == torch.float32
    torch.testing.assert_close(share.sum((2, 3)), torch.ones(2, 3))
    assert torch.equal(share > 0, contribution > 0)
