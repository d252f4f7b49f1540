from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ibca_lightning.data import CSVDataModule
from ibca_lightning.data.pictures.field_of_view import bounds, cut, field_of_view
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.data.pictures.transforms import evaluation_transform
from ibca_lightning.use.picture_batches import picture_batches
from ibca_lightning.use.picture_list import list_pictures

CROP = {"resize": "stretch", "crop": "field_of_view"}


def fundus(height: int, width: int, centre: tuple[int, int], radius: int, seed: int = 0) -> np.ndarray:
    """A lit disc (orange, brighter in the middle, noisy) on near-black, as a camera gives it."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((height, width))
    distance = np.hypot(rows - centre[0], columns - centre[1]) / radius
    light = np.where(distance < 1, 1 - 0.5 * distance**2, 0)[..., None] * np.array([200, 110, 50])
    return np.clip(light + rng.integers(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "centre", "radius"),
    [((600, 900), (300, 430), 250), ((2000, 3000), (1000, 1500), 900), ((400, 600), (200, 300), 240)],
    ids=["whole", "large", "cut off above and below"],
)
@pytest.mark.parametrize("label", [False, True])
def test_the_box_fits_the_disc(shape: tuple[int, int], centre: tuple[int, int], radius: int, label: bool) -> None:
    image = fundus(*shape, centre, radius)
    if label:  # the name of the eye, in a corner
        image[5:25, 5:60] = 255
    box = field_of_view(image)
    assert box is not None
    expected = [
        max(0, centre[0] - radius) / shape[0],
        max(0, centre[1] - radius) / shape[1],
        min(shape[0], centre[0] + radius) / shape[0],
        min(shape[1], centre[1] + radius) / shape[1],
    ]
    assert np.abs(np.array(box) - expected).max() < 0.015
    assert (np.array(box[:2]) <= np.array(expected[:2]) + 1e-3).all()  # never into the disc


def bright() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 200, (300, 400, 3), dtype=np.uint8)


def corner_spot() -> np.ndarray:
    return fundus(300, 400, (40, 40), 30)


def half() -> np.ndarray:
    image = np.zeros((300, 400, 3), np.uint8)
    image[:, :150] = 180
    return image


@pytest.mark.parametrize("make", [bright, corner_spot, half, lambda: np.zeros((300, 400, 3), np.uint8)])
def test_a_picture_without_a_disc_is_left_as_it_is(make) -> None:  # type: ignore[no-untyped-def]
    image = make()
    assert field_of_view(image) is None
    plain, _ = evaluation_transform(32, {"resize": "stretch"})(image)
    assert torch.equal(evaluation_transform(32, CROP)(image)[0], plain)


def test_tiny_pictures_are_left_as_they_are() -> None:
    for side in (1, 2, 7, 9):
        assert field_of_view(np.full((side, side, 3), 100, np.uint8)) is None


def test_every_side_is_rounded_outwards() -> None:
    pixels = np.arange(200, dtype=np.uint8).reshape(10, 20)
    box = (0.36, 0.38, 0.54, 0.51)  # 3.6, 7.6, 5.4 and 10.2 pixels
    assert bounds(pixels, box) == (3, 7, 6, 11)
    assert np.array_equal(cut(pixels, box), pixels[3:6, 7:11])
    assert bounds(pixels, (0.3, 0.25, 0.5, 0.75)) == (3, 5, 5, 15)


def test_masks_of_any_size_are_cut_like_the_picture() -> None:
    image = fundus(600, 900, (300, 430), 250)
    mask = np.zeros((300, 450), np.uint8)
    mask[145:155, 210:220] = 1  # the middle of the disc, at half the scale
    tensor, (bits,) = evaluation_transform(100, CROP)(image, [mask])
    rows, columns = np.nonzero(bits)
    assert abs(rows.mean() - 49.5) < 2
    assert abs(columns.mean() - 49.5) < 2
    assert 3 <= np.ptp(rows) + 1 <= 5  # 20 of 500 pixels
    assert tensor[0, :5, :5].max() < 40
    assert tensor[0, 2:4, 48:52].float().mean() > 60  # the disc reaches the edge


def test_a_reduced_jpeg_is_read_again_where_the_disc_is_small(tmp_path: Path) -> None:
    image = fundus(1000, 1600, (500, 800), 330)
    cv2.imwrite(str(tmp_path / "x.jpg"), image[..., ::-1])
    assert read_image(str(tmp_path / "x.jpg"), 400).shape[:2] == (500, 800)
    transform = evaluation_transform(400, CROP)
    pixels = transform.read(str(tmp_path / "x.jpg"))
    box = field_of_view(pixels)
    assert box is not None
    assert min(cut(pixels, box).shape[:2]) >= 400
    plain = evaluation_transform(400, {"resize": "stretch"})
    assert plain.read(str(tmp_path / "x.jpg")).shape[:2] == (500, 800)


def test_prediction_reads_as_test_did(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for at in range(4):
        image = fundus(300, 420, (150, 200), 120, at) if at else bright()
        cv2.imwrite(str(tmp_path / f"images/{at}.jpg"), image[..., ::-1])
    rows = "image,a\n" + "".join(f"{at}.jpg,{at % 2}\n" for at in range(4))
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.csv").write_text(rows)
    options = {"val_csv": "val.csv", "test_csv": "test.csv", "group_overlap": "warn"}
    options |= {"image_size": 64, "num_workers": 0, "image_dir": "images"}
    module, plain = (CSVDataModule(str(tmp_path), crop=crop, **options) for crop in ("field_of_view", "none"))
    for each in (module, plain):
        with pytest.warns(UserWarning, match="in one split"):
            each.setup()
    assert module.preprocessing == {"resize": "stretch", "crop": "field_of_view"}
    test, uncut = module.test_sets()["test"], plain.test_sets()["test"]
    transform = evaluation_transform(64, module.preprocessing)
    (batch,) = picture_batches(list_pictures([str(tmp_path / "images")]).files, [transform], 4, 0)
    for at, image in enumerate(batch.images[0]):
        assert torch.equal(image, test[at]["image"])
        assert torch.equal(image, uncut[at]["image"]) == (at == 0)
