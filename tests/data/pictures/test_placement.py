"""Where the model's square lies on the picture: `Transform.placement` undoes `prepare`."""

import numpy as np
import pytest

from ibca_lightning.data.pictures.transforms import evaluation_transform

SIDE = 64


def picture(height: int, width: int) -> np.ndarray:
    """A lit disc on black, with a white spot in it."""
    y, x = np.mgrid[:height, :width]
    radius = 0.4 * min(height, width)
    lit = (y - height / 2) ** 2 + (x - 0.45 * width) ** 2 < radius**2
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[lit, 1] = 90
    return pixels


@pytest.mark.parametrize("crop", ["none", "field_of_view"])
@pytest.mark.parametrize("resize", ["stretch", "pad"])
@pytest.mark.parametrize("size", [(400, 600), (600, 400), (512, 512), (301, 450)])
def test_a_spot_of_the_square_is_found_again_on_the_picture(size: tuple[int, int], resize: str, crop: str) -> None:
    height, width = size
    transform = evaluation_transform(SIDE, {"resize": resize, "crop": crop})
    pixels = picture(height, width)
    spot = np.array([0.55 * height, 0.42 * width]).astype(int)
    pixels[spot[0] - 15 : spot[0] + 15, spot[1] - 15 : spot[1] + 15, 0] = 255
    red = transform.prepare(pixels)[0][..., 0].astype(float)
    rows, columns = (np.average(np.arange(SIDE) + 0.5, weights=red.sum(axis)) / SIDE for axis in (1, 0))
    top, left, bottom, right = transform.placement(pixels)
    found = (top + rows * (bottom - top)) * height, (left + columns * (right - left)) * width
    step = max((bottom - top) * height, (right - left) * width) / SIDE
    assert found == pytest.approx(tuple(spot), abs=0.3 * step)
    if crop == "none":  # a box round a disc may be a pixel off a square
        assert (top < 0 or left < 0) == (resize == "pad" and height != width)
    assert ((bottom - top) * (right - left) < 0.9) == (crop == "field_of_view")


def test_a_square_picture_that_is_not_cropped_lies_where_it_lies() -> None:
    for resize in ("stretch", "pad"):
        box = evaluation_transform(SIDE, {"resize": resize}).placement(picture(128, 128))
        assert box == (0, 0, 1, 1)
