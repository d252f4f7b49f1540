"""Pictures of which a part was lost: libjpeg and libtiff go on, and the rest is noise."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ibca_lightning.data.pictures.formats.jpeg import strict
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.system.errors import PictureError

KINDS: list[dict[str, Any]] = [
    {}, {"optimize": True}, {"quality": 95, "subsampling": 0}, {"progressive": True, "quality": 92},
    {"restart_marker_rows": 1}, {"quality": 30, "optimize": True},
]  # fmt: skip


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """Grain on slow changes, (480, 640, 3)."""
    rng = np.random.default_rng(0)
    slow = cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.float32), (640, 480), interpolation=cv2.INTER_CUBIC)
    return Image.fromarray((slow + rng.normal(0, 12, slow.shape)).clip(0, 255).astype(np.uint8))


def even() -> list[Image.Image]:
    """Pictures of which large parts never change, as drawings and black borders."""
    black = np.zeros((480, 640, 3), np.uint8)
    disc = cv2.circle(black.copy(), (320, 300), 60, (200, 90, 80), -1)
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8)[:, None], (480, 1, 3))
    return [Image.fromarray(pixels) for pixels in (black, 255 - black, disc, ramp, black[:1, :1])]


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_jpeg_with_a_hole_is_damaged(
    tmp_path: Path, photograph: Image.Image, options: dict[str, Any], place: float, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(encoded(photograph, **options))
    at = int(place * len(data))
    data[at : at + 512] = bytes(512)
    (tmp_path / "x.jpg").write_bytes(data)
    for target in (None, 50):
        with pytest.raises(PictureError, match=r"at .*x\.jpg, got \d+ bytes that are truncated, damaged"):
            read_image(str(tmp_path / "x.jpg"), target)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"quality": 95}])
def test_a_jpeg_that_lost_bytes_is_damaged(tmp_path: Path, photograph: Image.Image, options: dict[str, Any]) -> None:
    data = encoded(photograph, **options)
    (tmp_path / "x.jpg").write_bytes(data[:20000] + data[20512:])
    for target in (None, 50):
        with pytest.raises(PictureError, match="damaged"):
            read_image(str(tmp_path / "x.jpg"), target)


def test_a_jpeg_whose_rest_was_never_written_is_damaged(tmp_path: Path, photograph: Image.Image) -> None:
    data = encoded(photograph)
    (tmp_path / "x.jpg").write_bytes(data[: len(data) // 3] + bytes(len(data)))
    with pytest.raises(PictureError, match="damaged"):
        read_image(str(tmp_path / "x.jpg"))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [*KINDS, {"progressive": True, "quality": 5}, {"restart_marker_blocks": 5}])
def test_sound_jpegs_are_what_opencv_makes_of_them(
    tmp_path: Path, photograph: Image.Image, mode: str, options: dict[str, Any]
) -> None:
    for image in (photograph, *even()):
        data = encoded(image.convert(mode), **options)
        for more in (b"", b"\0" * 600, b"\xff\xd8 another \xff\xd9"):
            (tmp_path / "x.jpg").write_bytes(data + more)
            expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert np.array_equal(read_image(str(tmp_path / "x.jpg")), expected)


def test_an_end_that_is_filled_up_is_no_damage(tmp_path: Path, photograph: Image.Image) -> None:
    data = encoded(photograph)
    (tmp_path / "x.jpg").write_bytes(data[:-2] + bytes(600) + data[-2:])
    assert strict(np.fromfile(tmp_path / "x.jpg", np.uint8)) is not None
    assert read_image(str(tmp_path / "x.jpg")).shape == (480, 640, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_tiff_with_a_hole_is_damaged(tmp_path: Path, photograph: Image.Image, mode: str, place: float) -> None:
    image = photograph.convert(mode)
    image.save(tmp_path / "x.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(str(tmp_path / "x.tif")), np.asarray(image.convert("RGB")))
    data = bytearray((tmp_path / "x.tif").read_bytes())
    at = int(place * len(data))
    data[at : at + 400] = bytes(400)
    (tmp_path / "x.tif").write_bytes(data)
    with pytest.raises(PictureError, match=r"at .*x\.tif, got \d+ bytes that are truncated, damaged"):
        read_image(str(tmp_path / "x.tif"))
