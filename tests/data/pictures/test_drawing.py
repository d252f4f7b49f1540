import numpy as np
import pytest

from ibca_lightning.data.pictures.drawing import Panel, explanation, full_scale, heat_map

STRIP, BAR = 34, 24
GRAY = np.full((192, 192, 3), 90, np.uint8)


def one_hot(row, column, grid=6):
    attention = np.zeros((grid, grid), np.float32)
    attention[row, column] = 1
    return attention


@pytest.mark.parametrize(("row", "column"), [(0, 5), (4, 1), (3, 3)])
def test_the_most_coloured_place_is_where_the_attention_is(row, column):
    drawn = heat_map(GRAY, one_hot(row, column)).astype(int)
    yellow = drawn[..., 0] + drawn[..., 1] - 2 * drawn[..., 2]  # the end of viridis: red and green without blue
    at = np.argwhere(yellow == yellow.max()).mean(0)
    assert at == pytest.approx([(row + 0.5) * 32, (column + 0.5) * 32], abs=16)


def test_a_map_hides_nothing_and_leaves_what_is_not_attended_to_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    drawn = heat_map(picture, one_hot(2, 3))
    assert (drawn == picture).all(-1).mean() > 0.85, "but for a cell of 36 and its fringe"
    inside = slice(72, 88), slice(104, 120)  # within the contour
    assert np.corrcoef(picture[inside].ravel(), drawn[inside].ravel())[0, 1] > 0.8
    assert not (drawn[inside] == picture[inside]).all(-1).any()


def test_the_contour_lies_at_half_of_the_scale_that_the_bar_gives():
    ramp = np.linspace(0, 1, 192, dtype=np.float32)[None].repeat(192, 0) ** 4
    drawn = heat_map(GRAY, ramp / ramp.sum())[2:-2, :-2]
    assert set(np.argwhere((drawn == (0, 255, 255)).all(-1))[:, 1]) == {int(np.ceil(0.5**0.25 * 191))}
    assert full_scale(ramp) == 1
    assert not (heat_map(GRAY, np.full((6, 6), 1 / 36, np.float32)) == (0, 255, 255)).all(-1).any(), "uniform: none"
    bar = explanation(GRAY, [Panel(ramp / ramp.sum(), ["a"])])[-BAR:]
    assert (bar == (0, 255, 255)).all(-1).any()


def test_a_flat_map_and_a_small_cell_are_both_visible():
    """Attention over N cells is of the order of 1/N: each map is scaled to its own maximum."""
    sharp, faint = (heat_map(GRAY, one_hot(2, 2) * scale + least) for scale, least in ((1, 0), (0.02, 1e-4)))
    assert np.abs(sharp.astype(int) - faint.astype(int)).max() < 10


def test_the_lesion_is_outlined_where_it_is_and_one_pixel_of_it_survives():
    outline = np.zeros((192, 192), bool)
    outline[64:96, 96:128] = True
    for attention in (None, one_hot(0, 0)):
        drawn = explanation(np.tile(GRAY, (2, 2, 1)), [Panel(attention, ["a"], outline)])[STRIP : STRIP + 384]
        white = np.argwhere((drawn == 255).all(-1))
        assert (white.min(0).tolist(), white.max(0).tolist()) == ([128, 192], [191, 255])
        assert len(white) == 4 * 63  # the outline, not the area
    small = np.zeros((1920, 1920), bool)
    small[1001, 501] = True
    drawn = explanation(np.tile(GRAY, (2, 2, 1)), [Panel(None, ["a"], small)])[STRIP:]
    assert np.argwhere((drawn == 255).all(-1)).mean(0) == pytest.approx([200, 100], abs=1)
