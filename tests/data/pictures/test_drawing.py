import numpy as np
import pytest
import torch

from ibca_lightning.data.pictures.drawing import attention_panels

STRIP, GAP = 34, 4


def one_hot(row, column, grid=6):
    attention = torch.zeros(1, grid, grid)
    attention[0, row, column] = 1
    return attention


@pytest.mark.parametrize(("row", "column"), [(0, 5), (4, 1), (3, 3)])
def test_the_most_coloured_place_is_where_the_attention_is(row, column):
    image = torch.full((3, 192, 192), 90, dtype=torch.uint8)
    picture = attention_panels(image, one_hot(row, column), ["a"], [0.5])
    assert picture.shape == (STRIP + 192, 2 * 192 + GAP, 3)
    assert picture.dtype == np.uint8
    plain, panel = picture[STRIP:, :192].astype(int), picture[STRIP:, 192 + GAP :].astype(int)
    assert (plain == 90).all()
    # Viridis ends in yellow: red and green without blue.
    yellow = panel[..., 0] + panel[..., 1] - 2 * panel[..., 2]
    at = np.argwhere(yellow == yellow.max()).mean(0)
    assert at == pytest.approx([(row + 0.5) * 32, (column + 0.5) * 32], abs=16)


def test_a_flat_map_and_a_small_cell_are_both_visible():
    """Attention over N cells is of the order of 1/N: each map is scaled to its own maximum."""
    image = torch.full((3, 192, 192), 90, dtype=torch.uint8)
    sharp = attention_panels(image, one_hot(2, 2), ["a"], [0.5])
    faint = attention_panels(image, one_hot(2, 2) * 0.02 + 1e-4, ["a"], [0.5])
    assert np.abs(sharp.astype(int) - faint.astype(int)).max() < 10


def test_the_lesion_is_outlined_and_the_title_says_what_lies_on_it():
    image = torch.full((3, 192, 192), 90, dtype=torch.uint8)
    masks = torch.zeros(2, 192, 192, dtype=torch.bool)
    masks[0, 64:96, 96:128] = True
    attention = torch.cat([one_hot(2, 3), one_hot(2, 3)])
    picture = attention_panels(image, attention, ["a", "b"], [0.5, 0.5], masks)
    first, second = (picture[:, start : start + 192] for start in (196, 392))
    white = np.argwhere((first[STRIP:] == 255).all(-1))
    assert (white.min(0).tolist(), white.max(0).tolist()) == ([64, 96], [95, 127])
    assert len(white) == 4 * 31  # the outline, not the area
    assert not (second[STRIP:] == 255).all(-1).any()  # nothing to outline
    assert not np.array_equal(first[:STRIP], second[:STRIP])  # a share on the lesion is given for the first only


def test_small_pictures_are_enlarged_and_masks_with_them():
    image = torch.zeros(3, 48, 48, dtype=torch.uint8)
    masks = torch.zeros(1, 48, 48, dtype=torch.bool)
    masks[0, 24:48, 0:24] = True
    picture = attention_panels(image, one_hot(0, 0), ["a"], [0.5], masks)
    white = np.argwhere((picture[STRIP:, 196:] == 255).all(-1))
    assert (white.min(0).tolist(), white.max(0).tolist()) == ([96, 0], [191, 95])
