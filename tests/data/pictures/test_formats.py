"""Pictures beyond what OpenCV decodes, and the limit on sizes."""

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ibca_lightning.data.pictures import reading
from ibca_lightning.data.pictures.header import MAX_PIXELS, picture_size
from ibca_lightning.data.pictures.reading import PictureFile, read_image
from ibca_lightning.system.errors import InputError, PictureError

pydicom = pytest.importorskip("pydicom")


def gradient(bits: int = 12, signed: bool = False) -> np.ndarray:
    values = np.linspace(0, 2**bits - 1, 64 * 48).round().astype(np.int32).reshape(48, 64)
    return (values - 2 ** (bits - 1)).astype(np.int16) if signed else values.astype(np.uint16)


def dicom(path: Path, pixels: np.ndarray, *, preamble: bool = True, bits: int = 12, **tags: Any) -> str:
    """Write a DICOM file; `pixels` as they are stored."""
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128 if preamble else None)
    file.Rows, file.Columns = pixels.shape[-2:] if pixels.ndim == 2 else pixels.shape[:2]
    file.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    file.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        file.PlanarConfiguration = 0
    file.BitsAllocated = 8 * pixels.dtype.itemsize
    file.BitsStored = min(bits, file.BitsAllocated)
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=preamble)
    return str(path)


def linear(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """The pseudo-code of PS3.3 C.11.2.1.2.1, value by value."""
    out = np.empty(values.shape, np.uint8)
    for at, x in np.ndenumerate(values):
        if x <= centre - 0.5 - (width - 1) / 2:
            out[at] = 0
        elif x > centre - 0.5 + (width - 1) / 2:
            out[at] = 255
        else:
            out[at] = round(((x - (centre - 0.5)) / (width - 1) + 0.5) * 255)
    return out


def gray(path: str) -> np.ndarray:
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    return pixels[..., 0]


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_first_window_of_the_header_and_monochrome1(tmp_path: Path, photometric: str, preamble: bool) -> None:
    stored = gradient()
    path = dicom(
        tmp_path / "x.dcm",
        stored,
        preamble=preamble,
        WindowCenter=[1500, 40],
        WindowWidth=[1000, 400],
        PhotometricInterpretation=photometric,
    )
    expected = linear(stored, 1500, 1000)
    assert 0 < (expected > 0).mean() < 1
    assert np.array_equal(gray(path), 255 - expected if photometric == "MONOCHROME1" else expected)


def test_rescaling_comes_before_the_window(tmp_path: Path) -> None:
    stored = gradient(signed=True)
    options = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    path = dicom(tmp_path / "x.dicom", stored, **options)
    assert np.array_equal(gray(path), linear(stored * 2.0 - 1024, 40, 400))


def test_windows_that_are_exact_or_sigmoid(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 1500, 2000, 4095]], np.uint16)
    options = {"WindowCenter": 1500, "WindowWidth": 1000}
    exact = dicom(tmp_path / "e.dcm", stored, VOILUTFunction="LINEAR_EXACT", **options)
    sigmoid = dicom(tmp_path / "s.dcm", stored, VOILUTFunction="SIGMOID", **options)
    assert gray(exact).tolist() == [[0, 0, 128, 255, 255]]
    # 255 / (1 + exp(-4 (x - c) / w)) at x - c = -1500, -500, 0, 500, 2595
    assert gray(sigmoid).tolist() == [[1, 30, 128, 225, 255]]


def test_without_a_window_unsigned_values_follow_the_rule_of_all_pictures(tmp_path: Path) -> None:
    for bits, largest in ((12, 4095), (12, 900), (16, 60000)):
        stored = np.linspace(0, largest, 300).astype(np.uint16).reshape(15, 20)
        cv2.imwrite(str(tmp_path / "x.png"), stored)
        assert np.array_equal(
            gray(dicom(tmp_path / "x.dcm", stored, bits=bits)), read_image(str(tmp_path / "x.png"))[..., 0]
        )


def test_without_a_window_signed_values_run_from_least_to_largest_without_padding(tmp_path: Path) -> None:
    stored = np.array([[-2000, -100, 0, 100, 155]], np.int16)
    assert gray(dicom(tmp_path / "x.dcm", stored, bits=16)).tolist() == [[0, 225, 237, 248, 255]]
    path = dicom(tmp_path / "p.dcm", stored, bits=16, PixelPaddingValue=-2000)
    assert gray(path).tolist() == [[0, 0, 100, 200, 255]]


def test_colour_dicom(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    assert np.array_equal(read_image(dicom(tmp_path / "x.dcm", stored, bits=8)), stored)


def test_gray_dicom_as_one_channel(tmp_path: Path) -> None:
    file = PictureFile(dicom(tmp_path / "x.dcm", gradient()))
    assert np.array_equal(file.channels(1), file.pixels()[..., :1])
    colour = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for path, asked in ((dicom(tmp_path / "c.dcm", colour, bits=8), 1), (str(tmp_path / "x.dcm"), 5)):
        with pytest.raises(PictureError, match=rf"a picture of {asked} channels? at .*\.dcm, got .*3;"):
            PictureFile(path).channels(asked)


def test_dicom_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path) -> None:
    several = dicom(tmp_path / "f.dcm", gradient(), NumberOfFrames=3)
    with pytest.raises(PictureError, match=r"one frame at .*f\.dcm, got 3"):
        read_image(several)
    huge = dicom(tmp_path / "h.dcm", gradient(), Rows=60000, Columns=60000)
    with pytest.raises(PictureError, match=rf"{MAX_PIXELS} pixels at .*h\.dcm, got a height of 60000"):
        read_image(huge)
    whole = Path(dicom(tmp_path / "w.dcm", gradient())).read_bytes()
    for at, data in enumerate((whole[:-100], whole[:200], b"\0" * 128 + b"DICM", b"no DICOM at all")):
        (tmp_path / f"{at}.dcm").write_bytes(data)
        with pytest.raises(PictureError, match=r"at .*\.dcm, got \d+ bytes that are truncated"):
            read_image(str(tmp_path / f"{at}.dcm"))


def test_a_missing_pydicom_is_said_and_never_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicom(tmp_path / "x.dcm", gradient())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"pydicom, to read .*x\.dcm.*pip install") as caught:
        read_image(path)
    assert not isinstance(caught.value, PictureError)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.arange(12, dtype=np.uint8).reshape(3, 4), lambda a: np.repeat(a[..., None], 3, 2)),
        (np.arange(12, dtype=np.uint8).reshape(3, 4, 1), lambda a: np.repeat(a, 3, 2)),
        (np.arange(48, dtype=np.uint8).reshape(4, 4, 3), lambda a: a),
        (np.arange(64, dtype=np.uint8).reshape(4, 4, 4), lambda a: a[..., :3]),
        (np.arange(0, 4096, 128, dtype=np.uint16).reshape(4, 8), lambda a: np.repeat(a[..., None] // 16, 3, 2)),
        (np.eye(3, dtype=bool), lambda a: np.repeat(a[..., None] * 255, 3, 2)),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_array_in_an_npz_is_a_picture(tmp_path: Path, array: np.ndarray, expected: Any, save: Any) -> None:
    save(tmp_path / "x.npz", picture=array)
    assert np.array_equal(read_image(str(tmp_path / "x.npz"), 2), expected(array))


def test_other_npz_files_are_refused(tmp_path: Path) -> None:
    picture = np.zeros((4, 4), np.uint8)
    cases = {
        "two": ({"a": picture, "b": picture}, r"one array at .*two\.npz, got a\.npy, b\.npy"),
        "line": ({"a": np.zeros(9, np.uint8)}, r"got uint8 of shape \(9,\)"),
        "float": ({"a": np.zeros((4, 4))}, r"8 or 16 bits a channel at .*float64"),
        "object": ({"a": np.array([[None]])}, "got object"),
        "bomb": ({"a": np.broadcast_to(np.uint8(0), (40000, 5000))}, "a height of 40000"),
    }
    for name, (arrays, message) in cases.items():
        np.savez_compressed(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(PictureError, match=message):
            read_image(str(tmp_path / f"{name}.npz"))
    data = (tmp_path / "two.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(PictureError, match="truncated"):
        read_image(str(tmp_path / "cut.npz"))


KINDS = [
    ("x.jpg", {}),
    ("x.jpg", {"progressive": True}),
    ("x.png", {}),
    ("x.bmp", {}),
    ("x.tif", {}),
    ("x.tif", {"big_tiff": True}),
    ("x.webp", {}),
    ("x.webp", {"lossless": True}),
    ("x.webp", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
]


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_sizes_are_read_from_headers(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    Image.new("RGB", (37, 23)).save(tmp_path / name, **options)
    data = (tmp_path / name).read_bytes()
    assert picture_size(memoryview(data)) == (23, 37)
    for end in range(0, min(len(data), 200), 3):
        assert picture_size(memoryview(data[:end])) in (None, (23, 37), (0, 0), (0, 37), (23, 0)) or end < 32


def test_a_tiff_of_the_other_byte_order(tmp_path: Path) -> None:
    head = b"MM\0*" + struct.pack(">IH", 8, 2) + struct.pack(">HHIHHHHIHH", 256, 3, 1, 37, 0, 257, 3, 1, 23, 0)
    assert picture_size(memoryview(head + b"\0" * 4)) == (23, 37)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * (30001 * 64), 9)
    bomb = reading.PNG + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)

    def never(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", never)
    for flag in (None, 32):
        with pytest.raises(PictureError, match=r"pixels at .*bomb\.png, got a height of 30000 and a width of 30000"):
            read_image(str(tmp_path / "bomb.png"), flag)


@pytest.mark.parametrize("suffix", [".webp", ".tif"])
def test_orientation_of_other_formats(tmp_path: Path, suffix: str) -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:5] = 255  # bright on top, so bright on the right once turned by 90 degrees with the clock
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / f"x{suffix}", exif=exif, **({"lossless": True} if "w" in suffix else {}))
    assert np.array_equal(read_image(str(tmp_path / f"x{suffix}")), np.rot90(picture, -1))


def test_fine_detail_aliases_less_in_a_reduced_jpeg_than_by_linear_resizing_of_the_whole(tmp_path: Path) -> None:
    # Much fine detail. In smoother pictures (amplitudes halved from octave to octave) the two are within 1 dB at 53 dB.
    rng = np.random.default_rng(0)
    octaves = [rng.normal(size=(2**at, 2**at, 3)) * 2 ** (-at / 4) for at in range(2, 11)]
    picture = sum(cv2.resize(octave, (1000, 1000), interpolation=cv2.INTER_CUBIC) for octave in octaves)
    picture = ((picture - picture.min()) / (picture.max() - picture.min()) * 255).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "x.jpg", quality=92, subsampling=0)
    whole = read_image(str(tmp_path / "x.jpg"))
    reference = np.asarray(Image.fromarray(whole).resize((384, 384), Image.Resampling.LANCZOS))

    def decibel(pixels: np.ndarray) -> float:
        small = cv2.resize(pixels, (384, 384), interpolation=cv2.INTER_LINEAR).astype(float)
        return float(20 * np.log10(255 / np.sqrt(((small - reference) ** 2).mean())))

    reduced = read_image(str(tmp_path / "x.jpg"), 384)
    assert reduced.shape[:2] == (500, 500)
    assert decibel(reduced) > 36
    assert decibel(reduced) > decibel(whole) + 1
