import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.system.errors import InputError


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """A picture (200, 304, 3) that survives JPEG and resampling well."""
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 255, (8, 12, 3), dtype=np.uint8), (304, 200), interpolation=cv2.INTER_CUBIC)


def saved(image: Image.Image, path: Path, **options: object) -> str:
    image.save(path, **options)  # type: ignore[arg-type]
    return str(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp", ".jpg"])
def test_pixels_are_those_pillow_reads(tmp_path: Path, smooth: np.ndarray, suffix: str) -> None:
    path = saved(Image.fromarray(smooth), tmp_path / f"größe{suffix}", **({"lossless": True} if "w" in suffix else {}))
    expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.abs(read_image(path).astype(int) - expected).max() <= (3 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, smooth: np.ndarray, mode: str) -> None:
    image = Image.fromarray(smooth)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    path = saved(image, tmp_path / ("x.jpg" if mode == "CMYK" else "x.png"))
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (200, 304, 3)
    if mode != "CMYK":  # Pillow and libjpeg convert ink to light differently
        assert np.array_equal(pixels, np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize(
    ("target", "short"), [(None, 200), (101, 200), (100, 100), (60, 100), (50, 50), (25, 25), (3, 25)]
)
def test_jpeg_is_reduced_but_never_below_the_target(
    tmp_path: Path, smooth: np.ndarray, target: int | None, short: int
) -> None:
    path = saved(Image.fromarray(smooth), tmp_path / "x.jpg", quality=95)
    pixels = read_image(path, target)
    assert min(pixels.shape[:2]) == short
    reference = cv2.resize(smooth, pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(pixels.astype(int) - reference).mean() < 2  # and it is RGB, not BGR


@pytest.mark.parametrize("target", [None, 50])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_orientation_is_applied(tmp_path: Path, smooth: np.ndarray, suffix: str, target: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = saved(Image.fromarray(smooth), tmp_path / f"x{suffix}", exif=exif)
    pixels = read_image(path, target)
    assert pixels.shape[0] > pixels.shape[1]
    turned = cv2.resize(np.rot90(smooth, -1), pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(pixels.astype(int) - turned).mean() < 3


@pytest.mark.parametrize(
    ("largest", "depth"), [(255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (40000, 16), (65535, 16)]
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_become_eight_by_the_depth_in_use(tmp_path: Path, largest: int, depth: int, suffix: str) -> None:
    words = np.linspace(0, largest, 600).astype(np.uint16).reshape(20, 30)
    cv2.imwrite(str(tmp_path / f"x{suffix}"), words)
    pixels = read_image(str(tmp_path / f"x{suffix}"))
    assert np.array_equal(pixels[..., 0], words // 2 ** (depth - 8))
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.97])
def test_truncated_pictures_are_refused_in_silence(
    tmp_path: Path, smooth: np.ndarray, capfd: pytest.CaptureFixture[str], suffix: str, keep: float
) -> None:
    whole = cv2.imencode(suffix, smooth)[1].tobytes()
    path = tmp_path / f"x{suffix}"
    path.write_bytes(whole[: int(len(whole) * keep)])
    for target in (None, 50):
        with pytest.raises(InputError, match=rf"at .*x{suffix}, got \d+ bytes that are truncated"):
            read_image(str(path), target)
    assert capfd.readouterr() == ("", "")


def test_progressive_and_unfinished_jpeg(tmp_path: Path, smooth: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(smooth).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    path = tmp_path / "x.jpg"
    path.write_bytes(data + b"trailing bytes are legal")
    assert read_image(str(path), 100).shape == (100, 152, 3)
    path.write_bytes(data[:-2])  # only the end marker is gone
    with pytest.raises(InputError, match="truncated"):
        read_image(str(path))


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path, smooth: np.ndarray) -> None:
    data = bytearray(cv2.imencode(".png", smooth)[1].tobytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_image(str(tmp_path / "x.png"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "a file of 0 bytes"), (b"hello", "5 bytes that are"), (None, "nothing there")],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.png, got {message}"):
        read_image(str(tmp_path / "x.png"))
    with pytest.raises(InputError, match="a picture at"):
        read_image(str(tmp_path))


def test_floating_point_pictures_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.tif"), np.full((4, 5, 3), 0.5, np.float32))
    with pytest.raises(InputError, match=r"x\.tif"):
        read_image(str(tmp_path / "x.tif"))
