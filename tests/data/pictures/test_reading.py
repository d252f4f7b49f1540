import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, features

from ibca_lightning.data.pictures.reading import PictureFile, depth_of, read_image
from ibca_lightning.system.errors import InputError, PictureError


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


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_colours_of_a_tiff_are_those_that_it_holds(tmp_path: Path, kind: type) -> None:
    """OpenCV 5.0 gave memory as it was for 16-bit colours."""
    words = np.random.default_rng(0).integers(0, 256 if kind is np.uint8 else 4096, (40, 30, 3))
    cv2.imwrite(str(tmp_path / "x.tif"), words[..., ::-1].astype(kind))
    assert np.array_equal(read_image(str(tmp_path / "x.tif")), words if kind is np.uint8 else words >> 4)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("extra", ["unassalpha", "unspecified", "assocalpha"])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack", "miniswhite"])
def test_planes_of_a_tiff_are_without_its_transparency(
    tmp_path: Path, smooth: np.ndarray, kind: type, planes: str, extra: str, photometric: str
) -> None:
    tifffile = pytest.importorskip("tifffile")
    colours = smooth if photometric == "rgb" else smooth[..., :1]
    stored = 255 - colours if photometric == "miniswhite" else colours
    alpha = np.tile(np.arange(304, dtype=np.uint8), (200, 1))[..., None]
    pixels = np.dstack([stored, alpha]).astype(kind) * kind(257 if kind is np.uint16 else 1)
    pixels = np.moveaxis(pixels, 2, 0) if planes == "separate" else pixels
    path = str(tmp_path / "x.tif")
    tifffile.imwrite(path, pixels, photometric=photometric, planarconfig=planes, extrasamples=[extra])
    assert np.array_equal(read_image(path), np.broadcast_to(colours, smooth.shape))


def test_colours_of_a_tiff_that_nobody_here_makes_rgb_of_are_refused(tmp_path: Path, smooth: np.ndarray) -> None:
    lab = ImageCms.createProfile("LAB")
    turn = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    path = saved(ImageCms.applyTransform(Image.fromarray(smooth), turn), tmp_path / "x.tif")
    with pytest.raises(PictureError, match=r"x\.tif, got one in CIELAB; convert it to RGB"):
        read_image(path)


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


@pytest.mark.parametrize("depth", [10, 12, 14, 16])
def test_one_depth_keeps_the_brightness_of_pictures_of_one_device(tmp_path: Path, depth: int) -> None:
    for most in (3, 3800, 4095, 4096, 4200, 16384, 65535):
        words = np.linspace(0, most, 600).astype(np.uint16).reshape(20, 30)
        cv2.imwrite(str(tmp_path / "x.png"), words)
        expected = np.minimum(words, 2**depth - 1) // 2 ** (depth - 8)  # white beyond it
        assert np.array_equal(read_image(str(tmp_path / "x.png"), None, depth)[..., 0], expected)


def test_a_depth_is_for_pictures_that_do_not_say_it(tmp_path: Path, smooth: np.ndarray) -> None:
    path = saved(Image.fromarray(smooth), tmp_path / "x.png")
    assert np.array_equal(read_image(path, None, 16), smooth)
    assert PictureFile(path).depth() is None


def test_the_depth_of_a_data_set_is_the_largest_that_its_pictures_use(tmp_path: Path) -> None:
    paths = []
    for at, most in enumerate((900, 3800, 4095)):
        paths.append(str(tmp_path / f"{at}.png"))
        cv2.imwrite(paths[-1], np.full((4, 4), most, np.uint16))
    assert depth_of(paths.__getitem__, len(paths)) == 12
    assert depth_of([str(tmp_path / "none.png"), paths[0]].__getitem__, 2) == 10
    cv2.imwrite(paths[0], np.full((4, 4), 255, np.uint8))
    assert depth_of(paths.__getitem__, 1) is None
    assert depth_of(paths.__getitem__, 0) is None


@pytest.mark.parametrize(("kind", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 4095)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_a_tiff_says_whether_0_is_white(tmp_path: Path, kind: type, white: int, order: str, photometric: int) -> None:
    ramp = np.linspace(0, white, 600).astype(kind).reshape(20, 30)
    (tmp_path / "x.tif").write_bytes(plain_tiff(ramp, photometric, order))
    left, right = read_image(str(tmp_path / "x.tif"))[[0, -1], [0, -1], 0].tolist()
    assert (left, right) == ((0, 255) if photometric else (255, 0))


def plain_tiff(gray: np.ndarray, photometric: int, order: str) -> bytes:
    """A TIFF of one strip, in either order of bytes."""
    data = gray.astype(gray.dtype.newbyteorder(order)).tobytes()
    (height, width), bits = gray.shape, 8 * gray.itemsize
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: height, 279: len(data)}
    tags[273] = start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(tags)) + entries + b"\0" * 4
    assert len(head) == start
    return head + data


@pytest.mark.parametrize("suffix", ["gif", "jp2", "ppm", "avif"])
def test_further_formats_are_read(tmp_path: Path, smooth: np.ndarray, suffix: str) -> None:
    options = {"jp2": {"irreversible": False}, "avif": {"quality": 100, "subsampling": "4:4:4"}}.get(suffix, {})
    if f".{suffix}" not in Image.registered_extensions() or (suffix == "avif" and not features.check("avif")):
        pytest.skip("this Pillow writes none")
    path = saved(Image.fromarray(smooth), tmp_path / f"x.{suffix}", **options)
    expected = np.asarray(Image.open(path).convert("RGB"))
    assert np.array_equal(read_image(path, 50), expected)
    Path(path).write_bytes(Path(path).read_bytes()[:300])
    with pytest.raises(PictureError, match=r"got a (GIF|JPEG 2000|PPM|AVIF) file that cannot; convert it to PNG"):
        read_image(path)


def test_a_picture_of_an_unusual_format_has_its_bounds_too(tmp_path: Path) -> None:
    (tmp_path / "x.ppm").write_bytes(b"P6 60000 60000 255\n" + bytes(64))
    with pytest.raises(PictureError, match=r"a smaller picture at .*3600000000 pixels"):
        read_image(str(tmp_path / "x.ppm"))


@pytest.mark.parametrize("by", [Image, cv2])
@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 100.0, 255.0], [0, 100, 255]), ([0, 2048.0, 4095.0], [0, 128, 255])],
)
def test_floating_point_pictures_are_shares_of_white_or_numbers(
    tmp_path: Path, by: object, values: list[float], expected: list[int]
) -> None:
    pixels = np.array([values] * 2, np.float32)
    path = str(tmp_path / "x.tif")
    Image.fromarray(pixels).save(path) if by is Image else cv2.imwrite(path, pixels)
    assert read_image(path)[0, :, 0].tolist() == expected


@pytest.mark.parametrize("wrong", [[-1.0, 1.0], [0.0, 70000.0], [np.nan, 1.0], [0.0, np.inf]])
def test_floating_point_pictures_beyond_that_are_refused(tmp_path: Path, wrong: list[float]) -> None:
    Image.fromarray(np.array([wrong], np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(PictureError, match=r"from 0 to 65535, or from 0\.0 to 1\.0, at .*x\.tif, got float32 from"):
        read_image(str(tmp_path / "x.tif"))


def test_whole_numbers_of_32_bits_are_read_where_16_hold_them(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 2048, 4095]], np.int32)).save(tmp_path / "x.tif")
    assert read_image(str(tmp_path / "x.tif"))[0, :, 0].tolist() == [0, 128, 255]
    Image.fromarray(np.array([[-5, 2048, 4095]], np.int32)).save(tmp_path / "x.tif")
    with pytest.raises(PictureError, match="got int32 from -5 to 4095"):
        read_image(str(tmp_path / "x.tif"))


@pytest.mark.parametrize(
    ("head", "kind"),
    [(b"\0\0\0\x18ftypheic", "HEIC"), (b"%PDF-1.7", "PDF"), (b"<svg>", "SVG"), (b"8BPS", "Photoshop"),
     (b"\x1f\x8b\x08", "gzip"), (b"\0" * 344 + b"n+1\0", "NIfTI"), (b"\0\0\0 ftypisom", "MP4"), (b"Pf\n", "PFM"),
     (b"\0\0\1\0\1\0", "ICO")],
)  # fmt: skip
def test_what_is_no_picture_that_is_read_is_called_by_its_name(tmp_path: Path, head: bytes, kind: str) -> None:
    (tmp_path / "x.png").write_bytes(head + bytes(600))
    with pytest.raises(PictureError, match=rf"x\.png, got a {kind} file; convert it"):
        read_image(str(tmp_path / "x.png"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n<!DOCTYPE html><p>404", "a HTML file; download"),
        ("version https://git-lfs.github.com/spec/v1\n", "run git lfs"),
    ],
)
def test_what_stands_where_a_picture_was_to_be_fetched_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.jpg").write_text(text)
    with pytest.raises(PictureError, match=said):
        read_image(str(tmp_path / "x.jpg"))
