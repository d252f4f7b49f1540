"""The drawer of heat maps: smooth, with lines that hold what they say, one scale, and the picture's own colours."""

import cv2
import numpy as np
import pytest
import torch

from ibca_lightning.data.pictures.drawing import COLOUR, Panel, class_panel, heat_maps, held_level, smooth
from ibca_lightning.data.pictures.figure import explanation
from ibca_lightning.system.whole_files import write_png

GRAY = np.full((192, 192, 3), 90, np.uint8)


def one_hot(row, column, grid=6):
    attention = np.zeros((grid, grid), np.float32)
    attention[row, column] = 1
    return attention


def heat_map(picture, attention):
    """The picture with one map alone."""
    return heat_maps(picture, [Panel(attention)])[0]


def lined(drawn, most=30):
    """Where the colour of a line is."""
    return (np.abs(drawn.astype(int) - COLOUR) < most).all(-1)


def within(drawn):
    """What the outermost lines of a picture enclose."""
    filled = np.zeros(drawn.shape[:2], np.uint8)
    contours, _ = cv2.findContours(lined(drawn, 60).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(filled, contours, -1, 1, cv2.FILLED).astype(bool)


@pytest.mark.parametrize(("row", "column"), [(0, 5), (4, 1), (3, 3)])
def test_the_most_coloured_place_is_where_the_attention_is(row, column):
    drawn = heat_map(GRAY, one_hot(row, column)).astype(int)
    changed = np.abs(drawn - 90).sum(-1) * ~lined(drawn)
    cells = cv2.resize(changed.astype(np.float32), (6, 6), interpolation=cv2.INTER_AREA)
    assert np.unravel_index(cells.argmax(), cells.shape) == (row, column)


def test_a_map_hides_nothing_and_leaves_what_is_not_attended_to_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    drawn = heat_map(picture, one_hot(2, 3))
    assert (drawn == picture).all(-1).mean() > 0.75, "but for a cell of 36 and those next to it"
    inside = slice(74, 86), slice(106, 118)  # within the lines
    for channel in range(3):
        assert np.corrcoef(picture[(*inside, channel)].ravel(), drawn[(*inside, channel)].ravel())[0, 1] > 0.95
    assert not (drawn[inside] == picture[inside]).all(-1).any()


@pytest.mark.parametrize(
    ("cells", "size"), [((6, 6), (192, 192)), ((1, 1), (20, 30)), ((7, 5), (300, 220)), ((2, 9), (64, 90))]
)
def test_a_constant_map_stays_constant_and_the_sum_is_kept(cells, size):
    assert smooth(np.full(cells, 0.3), *size) == pytest.approx(0.3, rel=1e-5)
    attention = np.random.default_rng(0).gamma(0.3, size=cells)
    read = smooth(attention, *size)
    assert (read >= 0).all()
    assert read.mean() == pytest.approx(attention.mean(), rel=0.02)
    assert smooth(attention, 8 * cells[0], 8 * cells[1]).mean() == pytest.approx(attention.mean(), rel=1e-5)


def test_a_single_cell_becomes_a_round_spot_without_rings_or_stars():
    read = smooth(one_hot(3, 3, 7), 700, 700)
    rows, columns = np.mgrid[:700, :700] + 0.5 - 350
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    for share in (0.2, 0.5, 0.8):
        edge = np.abs(read / read.max() - share) < 0.01
        reach = [radius[edge & (np.abs(angle - at) < 0.1)].mean() for at in np.linspace(-3, 3, 13)]
        assert max(reach) / min(reach) < 1.06, "a star of linear interpolation: 1.4"
    for line in (read[350], np.diagonal(read)):  # falls on each side, never rises again, never below 0
        assert (np.diff(line[: len(line) // 2]) >= -1e-6).all()
        assert (np.diff(line[len(line) // 2 :]) <= 1e-6).all()
    assert read.min() == 0


def test_the_level_of_a_share_by_hand():
    attention = np.array([[0.4, 0.1], [0.2, 0.3]])
    assert [held_level(attention, share) for share in (0.3, 0.4, 0.5, 0.7, 0.8, 1)] == [0.4, 0.4, 0.3, 0.3, 0.2, 0.1]
    assert held_level(7 * attention, 0.8) == pytest.approx(1.4), "whatever the map sums to"
    assert held_level(np.full((4, 4), 1 / 16), 0.5) == 1 / 16


def test_the_lines_hold_half_and_80_per_cent_of_the_attention():
    attention = np.random.default_rng(1).gamma(0.3, size=(4, 4))
    attention[[0, -1]] = attention[:, [0, -1]] = 0  # no line is cut by the frame
    attention /= attention.sum()
    read = smooth(attention, 400, 400)
    for share in (0.5, 0.8):
        assert read[read >= held_level(read, share)].sum() / read.sum() == pytest.approx(share, abs=0.01)
    outer = within(heat_map(np.full((400, 400, 3), 90, np.uint8), attention))
    assert read[outer].sum() / read.sum() == pytest.approx(0.8, abs=0.02), "and what is drawn is that line"


def test_all_maps_of_a_picture_have_one_scale():
    """Equal attention has equal density, whatever else the map holds, and on whatever grid it lies."""
    one, two, three = one_hot(1, 1), one_hot(4, 4), one_hot(1, 4)
    sharp, spread = 0.75 * one + 0.25 * two, 0.5 * one + 0.25 * two + 0.25 * three
    first, second = heat_maps(GRAY, [Panel(sharp), Panel(spread)])
    assert first[144, 144] == pytest.approx(second[144, 144], abs=2), "a quarter of the attention"
    assert heat_map(GRAY, sharp)[144, 144, 1] < first[144, 144, 1] - 5, "alone it would be fainter, beside its peak"
    flat, coarse = np.full((12, 12), 1 / 144, np.float32), np.full((3, 3), 1 / 9, np.float32)
    for drawn in heat_maps(GRAY, [Panel(flat), Panel(coarse), Panel(coarse / 4, box=(0.0, 0.0, 0.5, 0.5))]):
        assert drawn[40, 40] == pytest.approx(heat_map(GRAY, flat)[40, 40], abs=1), "per area, whatever the grid"


def test_a_uniform_map_looks_like_nothing():
    drawn = heat_map(GRAY, np.full((6, 6), 1 / 36, np.float32)).astype(int)
    assert not lined(drawn).any()
    assert np.abs(drawn - 90).max() < 25
    assert np.ptp(drawn, axis=(0, 1)).max() <= 1


def test_maps_that_are_none_are_drawn_too():
    for value in (0.0, np.nan):
        assert heat_map(GRAY, np.full((3, 3), value, np.float32)).shape == GRAY.shape


def test_the_lesion_is_outlined_where_it_is_and_one_pixel_of_it_survives():
    outline = np.zeros((192, 192), bool)
    outline[64:96, 96:128] = True
    large = np.tile(GRAY, (2, 2, 1))
    for attention in (None, one_hot(0, 0)):
        (drawn,) = heat_maps(large, [Panel(attention, (), outline)])
        white = np.argwhere((drawn == 255).all(-1))
        assert (white.min(0).tolist(), white.max(0).tolist()) == ([128, 192], [191, 255])
        assert len(white) == 4 * 63  # the outline, not the area
    small = np.zeros((1920, 1920), bool)
    small[1001, 501] = True
    (drawn,) = heat_maps(large, [Panel(None, (), small)])
    assert np.argwhere((drawn == 255).all(-1)).mean(0) == pytest.approx([200, 100], abs=1)


def heading(title, width=300, columns=1):
    """The height of what stands above a picture of 300 rows."""
    figure = explanation(np.zeros((300, width, 3), np.uint8), [Panel(None, title)], columns=columns)
    assert (figure[-300:, :width] == 0).all()
    return figure[:-300]


def test_a_title_is_never_cut():
    """Words go on in the next line, a word that is too long is broken, and every letter is drawn."""
    one, more = heading(["short"]), heading(["a long name of a class that goes on over several lines of a panel"])
    assert len(more) > len(one)
    name = "pneumonoultramicroscopicsilicovolcanoconiosis"
    ink = [(heading([text], width) < 128).all(-1).sum() for text, width in ((name, 300), (name, 1000))]
    letters = [(heading([letter]) < 128).all(-1).sum() for letter in name]
    assert ink[0] == pytest.approx(sum(letters), rel=0.05)
    for strip in (more, heading([name]), heading(["_".join("abcdefghijklmnopqrst") * 3])):
        assert (strip[:, -3:] == 255).all(), "nothing runs beyond the edge"


def test_letters_of_other_languages_are_drawn():
    """German, French, Spanish, Polish, signs of numbers, Chinese: no box and no question mark in their place."""
    letters = "äöüßÄÖÜéèçñåłąęśćżź–≥µ?正常"
    drawn = [heading([letter]).tobytes() for letter in letters]
    assert len({*drawn, heading([""]).tobytes()}) == len(letters) + 1
    assert heading(["\U0010ffff"]).tobytes() == heading(["?"]).tobytes(), "what no font holds"
    assert heading(["u\u0308"]).tobytes() == heading(["ü"]).tobytes(), "as macOS names files"
    assert heading(["b\udcff"]).tobytes() == heading(["b\\udcff"]).tobytes(), "a name that is no UTF-8"


def test_a_name_is_broken_behind_its_signs():
    width = 150  # panels are 192 wide
    parts = ["very_long_file_name_of_a_", "patient_2026_11_27_left_", "eye.jpg"]
    assert heading(["".join(parts)], width).shape == heading(parts, width).shape
    joined, alone = (np.argwhere((heading(own, width) < 128).all(-1)) for own in (["".join(parts)], parts))
    assert np.array_equal(joined, alone)


def test_the_legend_and_the_grid_are_said_and_fit_any_width():
    panel = class_panel("a", 0.7, 0.5, torch.full((12, 12), 1 / 144))
    assert panel.title == ("a", "found: p = 0.70, threshold 0.50", "12 x 12 cells")
    plain = explanation(GRAY, [Panel(None, ["a"])])
    heights = []
    for columns in (1, 3):
        figure = explanation(GRAY, [Panel(panel.attention, ["a"])] * 3, columns=columns)
        rows = plain.shape[0] * (3 // columns) + 4 * (3 // columns - 1)
        legend = figure[rows:]
        heights.append(len(legend))
        assert (legend[:, -1] == 255).all(), "no letter is cut"
        assert (legend < 100).any()
    assert heights[0] > heights[1], "in more rows where there is less room"


def test_a_png_holds_what_was_drawn(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_png(tmp_path / "deep" / "眼.png", picture)
    (file,) = tmp_path.rglob("*.png")
    found = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(found[..., ::-1], picture)
