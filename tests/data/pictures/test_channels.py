"""Pictures of another number of channels than three, from their files to the tensor of a batch."""

import sys
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import tifffile
import torch

from ibca_lightning.data.cache import Layout, MemoryCache
from ibca_lightning.data.disk_cache import DiskCache
from ibca_lightning.data.pictures import reading
from ibca_lightning.data.pictures.channels import as_rgb
from ibca_lightning.data.pictures.default_augmentation import DefaultAugmenter
from ibca_lightning.data.pictures.reading import PictureFile, read_image
from ibca_lightning.data.pictures.transforms import evaluation_transform, training_transform
from ibca_lightning.system.errors import InputError, PictureError


def noise(channels: int, kind: type = np.uint8, side: int = 24) -> np.ndarray:
    pixels = np.random.default_rng(channels).integers(0, np.iinfo(kind).max, (side, side + 8, channels))
    pixels[0, 0] = np.iinfo(kind).max  # the depth is told by the largest value
    return pixels.astype(kind)


def npz(path: Path, pixels: np.ndarray) -> str:
    np.savez_compressed(path, pixels)
    return str(path)


def npy(path: Path, pixels: np.ndarray) -> str:
    np.save(path, pixels)
    return str(path)


def pages(path: Path, pixels: np.ndarray) -> str:
    cv2.imwritemulti(str(path), [np.ascontiguousarray(pixels[..., at]) for at in range(pixels.shape[2])])
    return str(path)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 5, 7])
@pytest.mark.parametrize(("write", "name"), [(npz, "a.npz"), (npy, "a.npy"), (pages, "a.tif")])
def test_every_channel_is_read_in_its_order(tmp_path, write, name, channels, kind):
    pixels = noise(channels, kind)
    path = write(tmp_path / name, pixels)
    expected = pixels if kind == np.uint8 else pixels >> 8
    assert np.array_equal(PictureFile(path).channels(channels), expected)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_with_all_channels_in_each_pixel(tmp_path, planar):
    pixels = noise(5)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar)
    assert np.array_equal(PictureFile(str(tmp_path / "a.tif")).channels(5), pixels)


def test_tiff_of_many_channels_names_the_package_that_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    cv2.imwrite(str(tmp_path / "a.tif"), noise(1))
    with pytest.raises(InputError, match=r"tifffile, to read the channels of .*a.tif.*ibca-lightning\[tiff\]"):
        PictureFile(str(tmp_path / "a.tif")).channels(5)


def test_transparency_is_a_fourth_channel_where_four_are_asked_for(tmp_path):
    pixels = noise(4)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))
    file = PictureFile(str(tmp_path / "a.png"))
    assert np.array_equal(file.channels(4), pixels)
    assert np.array_equal(file.channels(3), pixels[..., :3])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.npz", "a.npy"])
def test_gray_pictures_have_one_channel_where_one_is_asked_for(tmp_path, name):
    path, pixels = tmp_path / name, noise(1)
    writer = {".npz": npz, ".npy": npy}.get(path.suffix)
    _ = writer(path, pixels) if writer else cv2.imwrite(str(path), pixels)
    assert np.array_equal(PictureFile(str(path)).channels(1), read_image(str(path))[..., :1])


@pytest.mark.parametrize(
    ("write", "name", "channels", "asked"),
    [(npz, "a.npz", 5, 4), (npy, "a.npy", 5, 1), (pages, "a.tif", 5, 6), (npz, "a.npz", 3, 1), (npz, "a.npz", 1, 5)],
)
def test_another_number_of_channels_is_one_line_that_names_the_file(tmp_path, write, name, channels, asked):
    path = write(tmp_path / name, noise(channels))
    with pytest.raises(PictureError) as caught:
        PictureFile(path).channels(asked)
    line = str(caught.value)
    assert "\n" not in line
    assert path in line
    assert "channel" in line
    assert str(channels) in line


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("resize", ["stretch", "pad"])
def test_each_channel_is_treated_as_if_it_were_alone(tmp_path, channels, resize):
    path = npz(tmp_path / "a.npz", noise(channels, side=70))
    way = {"resize": resize, "in_channels": str(channels)}
    transform = evaluation_transform(16, way)
    image, _ = transform(transform.read(path))
    assert image.shape == (channels, 16, 16)
    for at in range(channels):
        alone = npz(tmp_path / f"{at}.npz", noise(channels, side=70)[..., at])
        single = evaluation_transform(16, {"resize": resize})
        assert torch.equal(image[at], single(single.read(alone))[0][0])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_default_augmentation_moves_all_channels_alike(channels):
    smooth = cv2.resize(noise(1, side=8)[:, :8], (32, 32), interpolation=cv2.INTER_CUBIC)
    whole = np.repeat(smooth[..., None], channels, axis=2)
    for seed in range(12):
        torch.manual_seed(seed)
        image, masks = DefaultAugmenter()(whole, [whole[..., 0]])
        torch.manual_seed(seed)
        rgb, _ = DefaultAugmenter()(np.repeat(whole[..., :1], 3, axis=2), [])
        assert image.shape == whole.shape
        assert len(masks) == 1
        # OpenCV rounds otherwise where it takes other numbers of channels at once.
        assert np.abs(image.astype(int) - rgb[..., :1].astype(int)).max() <= 8


def test_augmentations_of_colour_say_that_they_take_three_channels():
    pixels, way = noise(5, side=32)[:, :32], {"resize": "stretch", "in_channels": "5"}
    flipped, _ = training_transform(32, [A.HorizontalFlip(p=1)], way)(pixels)
    assert torch.equal(flipped, torch.from_numpy(pixels[:, ::-1].transpose(2, 0, 1).copy()))
    with pytest.raises(InputError, match=r"augmentations that take 5 channels.*data.augment"):
        training_transform(32, [A.CLAHE(p=1)], way)(pixels)


def test_caches_keep_every_channel(tmp_path):
    path, kept = tmp_path / "a.npz", (noise(5)[:, :24], [noise(1)[:, :24, 0]])
    npz(path, kept[0])
    names = set()
    for channels in (3, 5):
        layout, way = Layout(24, 1, channels), {"resize": "stretch", "in_channels": str(channels)}
        disk = DiskCache(str(tmp_path / "cache"), layout, way, [b"a"])
        names.add(disk.folder)
        prepared = (kept[0][..., :channels], kept[1])
        for cache in (MemoryCache(1, layout), disk):
            for _ in range(2):
                pixels, planes = cache.fetch(0, [str(path)], lambda prepared=prepared: prepared)
                assert np.array_equal(pixels, prepared[0])
                assert np.array_equal(planes[0], kept[1][0])
    assert len(names) == 2


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_people_are_shown_three_channels(channels):
    shown = as_rgb(noise(channels))
    assert shown.shape == (24, 32, 3)
    assert np.array_equal(shown[..., 0], noise(channels)[..., 0])


def test_pixels_and_depth_of_many_channels_are_one_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "five.npy", np.full((4, 6, 5), 700, np.uint16))
    decoded: list[int] = []
    real = reading.read_channels
    monkeypatch.setattr(reading, "read_channels", lambda *given: decoded.append(1) or real(*given))
    file = reading.PictureFile(str(tmp_path / "five.npy"))
    assert file.channels(5).shape == (4, 6, 5)
    assert file.depth(5) == 10
    assert len(decoded) == 1
