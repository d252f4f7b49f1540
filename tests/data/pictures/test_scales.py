"""Where white is: fractions, planes, packed bits, transparency, CT numbers, tags of pictures of many channels."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from ibca_lightning.data.pictures.reading import PictureFile, depth_of, read_image
from ibca_lightning.system.errors import PictureError
from tests.data.pictures.test_formats import dicom, gray

SHARES = np.random.default_rng(0).random((24, 32))
SHARES[0, :2] = 0, 1


def bytes_of(**options: Any) -> np.ndarray:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, **options)
    return np.frombuffer(buffer.getvalue(), np.uint8)


@pytest.mark.parametrize("suffix", ["tif", "npy"])
@pytest.mark.parametrize(("least", "largest"), [(0, 1), (0, 1.0000001), (-1e-7, 1), (0, 1.0009)])
def test_fractions_that_pass_white_by_a_hair_are_shares_of_it(
    tmp_path: Path, suffix: str, least: float, largest: float
) -> None:
    path = tmp_path / f"a.{suffix}"
    values = (least + SHARES * (largest - least)).astype(np.float32)
    np.save(path, values) if suffix == "npy" else tifffile.imwrite(path, values)
    assert np.abs(gray(str(path)) - 255 * SHARES).max() <= 1
    assert depth_of(lambda _: str(path), 1) is None  # so that it sets no depth for others


@pytest.mark.parametrize("largest", [1.02, 2.0, 9.5])
def test_fractions_of_an_unknown_scale_are_refused(tmp_path: Path, largest: float) -> None:
    np.save(tmp_path / "a.npy", (SHARES * largest).astype(np.float32))
    with pytest.raises(PictureError, match=rf"got fractions of float32 from 0 to {largest:g}; scale it to"):
        read_image(str(tmp_path / "a.npy"))


def test_shares_of_white_have_no_depth(tmp_path: Path) -> None:
    """A set of whole numbers and shares: the depth of the former must not make the latter black."""
    np.save(tmp_path / "share.npy", SHARES.astype(np.float32))
    np.save(tmp_path / "whole.npy", (SHARES * 4095).round().astype(np.float32))
    paths = [str(tmp_path / "share.npy"), str(tmp_path / "whole.npy")]
    depth = depth_of(paths.__getitem__, 2)
    assert depth == 12
    for path in paths:
        assert np.abs(read_image(path, depth=depth)[..., 0] - 255 * SHARES).max() <= 1


def test_dark_whole_numbers_stay_dark_where_the_depth_is_known(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", (SHARES > 0.5).astype(np.float32))
    assert read_image(str(tmp_path / "a.npy"), depth=12).max() == 0
    assert read_image(str(tmp_path / "a.npy")).max() == 255


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_colours_of_16_bits_in_planes(options: dict[str, Any]) -> None:
    pixels = np.random.default_rng(1).integers(0, 2**16, (3, 24, 32)).astype(np.uint16)
    pixels[:, 0, 0] = 2**16 - 1
    data = bytes_of(data=pixels, photometric="rgb", planarconfig="separate", **options)
    assert np.array_equal(PictureFile("a.tif", data).pixels(), np.moveaxis(pixels >> 8, 0, 2))


@pytest.mark.parametrize("opaque", [0, 128, 255])
def test_transparency_of_a_tiff_is_dropped_as_that_of_a_png(opaque: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (9, 12, 4)).astype(np.uint8)
    pixels[..., 3] = opaque
    data = bytes_of(data=pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(PictureFile("a.tif", data).pixels(), pixels[..., :3])


def packed_tiff(values: np.ndarray, bits: int) -> np.ndarray:
    """A gray TIFF whose numbers have `bits` bits, one behind the other, a row beginning a byte."""
    rows = b"".join(np.packbits((row[:, None] >> np.arange(bits)[::-1] & 1).ravel()).tobytes() for row in values)
    entries = [
        (256, values.shape[1]), (257, values.shape[0]), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1),
        (278, values.shape[0]), (279, len(rows)),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    whole = b"II*\0" + struct.pack("<I", 8 + len(rows)) + rows + struct.pack("<H", len(entries)) + table + b"\0" * 4
    return np.frombuffer(whole, np.uint8)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("share", [1, 0.25])
def test_packed_numbers_have_the_depth_that_the_file_says(bits: int, share: float) -> None:
    values = (SHARES * share * (2**bits - 1)).round().astype(np.int64)
    file = PictureFile("a.tif", packed_tiff(values, bits))
    for depth in (None, 12):
        assert np.abs(file.pixels(depth=depth)[..., 0] - (values >> (bits - 8))).max() <= 1
    assert file.depth() is None


def test_an_implant_does_not_change_the_rest_of_a_ct(tmp_path: Path) -> None:
    stored = np.array([[-1024, 0, 40, 300, 3071]], np.int16)
    expected = [[round((value + 1024) / 4095 * 255) for value in (-1024, 0, 40, 300, 3071)]]
    assert gray(dicom(tmp_path / "a.dcm", stored, bits=16, Modality="CT")).tolist() == expected
    hot = np.concatenate([stored, np.full((1, 5), 20000, np.int16)])
    assert gray(dicom(tmp_path / "b.dcm", hot, bits=16, Modality="CT")).tolist() == [*expected, [255] * 5]
    line = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    raised = (hot.astype(np.int32) + 1024).astype(np.uint16)
    assert gray(dicom(tmp_path / "c.dcm", raised, bits=16, Modality="CT", **line)).tolist() == [*expected, [255] * 5]
    twelve = dicom(tmp_path / "d.dcm", raised[:1], bits=12, Modality="CT", **line)
    assert np.abs(gray(twelve).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_of_many_channels_are_turned_as_others_are(orientation: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (5, 7, 4)).astype(np.uint8)
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274] = orientation
    Image.fromarray(pixels, "RGBA").save(buffer, "png", exif=exif)
    with Image.open(buffer) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    png = np.frombuffer(buffer.getvalue(), np.uint8)
    tag = [(274, "H", 1, orientation, False)]
    samples = bytes_of(data=pixels, photometric="minisblack", planarconfig="contig", extratags=tag)
    pages = bytes_of(data=np.moveaxis(pixels, 2, 0), photometric="minisblack", extratags=tag)
    for name, data in (("a.png", png), ("a.tif", samples), ("b.tif", pages)):
        assert np.array_equal(PictureFile(name, data).channels(4), expected)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("as_pages", [True, False])
def test_white_is_zero_in_pictures_of_many_channels(as_pages: bool, kind: type) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (5, 9, 12))
    stored = (pixels * (257 if kind == np.uint16 else 1)).astype(kind)
    given = stored if as_pages else np.moveaxis(stored, 0, 2)
    data = bytes_of(data=given, photometric="miniswhite", **({} if as_pages else {"planarconfig": "contig"}))
    found = PictureFile("a.tif", data).channels(5, depth=16)
    assert np.array_equal(found, 255 - np.moveaxis(pixels, 0, 2))


def test_sound_files_that_nothing_here_reads_are_called_what_they_are(tmp_path: Path) -> None:
    palette = np.zeros((3, 2**16), np.uint16)
    float16 = bytes_of(data=SHARES.astype(np.float16))
    indexed = bytes_of(data=(SHARES * 65535).astype(np.uint16), photometric="palette", colormap=palette)
    packed = packed_tiff((SHARES * 63).astype(np.int64), 6)
    said = ((float16, "16-bit floating-point"), (indexed, "16-bit palette"), (packed, "6-bit"))
    for data, words in said:
        with pytest.raises(PictureError, match=rf"got a TIFF of {words} numbers; write it with 8 or 16"):
            PictureFile("a.tif", data).pixels()
    path = dicom(tmp_path / "a.dcm", np.zeros((4, 4, 4), np.uint8), bits=8, PhotometricInterpretation="ARGB")
    with pytest.raises(PictureError, match=r"in gray, RGB or YBR, or with a palette, at .*, got ARGB; convert it"):
        read_image(path)
