"""Pictures beyond what OpenCV decodes, and the limit on sizes."""

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image

from ibca_lightning.data.pictures import reading
from ibca_lightning.data.pictures.header import MAX_PIXELS, picture_size
from ibca_lightning.data.pictures.reading import PictureFile, read_image
from ibca_lightning.system.errors import InputError, PictureError


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


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15])
def test_without_a_window_the_bits_of_the_header_are_the_depth(tmp_path: Path, bits: int) -> None:
    for largest in (2**bits - 1, 2**bits // 4, 2**bits // 4 - 1, 3):  # whatever the picture's own largest value is
        stored = np.linspace(0, largest, 300).astype(np.uint16).reshape(15, 20)
        expected = stored >> (bits - 8)
        assert np.array_equal(gray(dicom(tmp_path / "x.dcm", stored, bits=bits)), expected)
        steep = {"RescaleSlope": 3, "RescaleIntercept": -1000}  # a line keeps the range
        assert np.array_equal(gray(dicom(tmp_path / "x.dcm", stored, bits=bits, **steep)), expected)


def test_sixteen_bits_of_a_header_say_nothing_and_follow_the_rule_of_all_pictures(tmp_path: Path) -> None:
    for largest in (900, 4095, 60000):
        stored = np.linspace(0, largest, 300).astype(np.uint16).reshape(15, 20)
        cv2.imwrite(str(tmp_path / "x.png"), stored)
        path = dicom(tmp_path / "x.dcm", stored, bits=16)
        for depth in (None, 12, 16):
            assert np.array_equal(read_image(path, None, depth), read_image(str(tmp_path / "x.png"), None, depth))


def test_signed_values_of_less_than_16_bits_run_over_the_range_of_the_header(tmp_path: Path) -> None:
    for stored in ([[-2048, 0, 2047]], [[0, 100, 2047]], [[-10, 0, 10]]):
        expected = np.round((np.array(stored) + 2048) / 4095 * 255)
        assert np.array_equal(gray(dicom(tmp_path / "x.dcm", np.array(stored, np.int16), bits=12)), expected)


@pytest.mark.parametrize(
    "tags",
    [{"WindowCenter": 0, "WindowWidth": 0}, {"WindowCenter": 2000, "WindowWidth": -100},
     {"WindowCenter": 2000, "WindowWidth": 0.5}, {"WindowCenter": 9, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
     {"WindowCenter": 9}, {"WindowCenter": "nan", "WindowWidth": 100}, {"WindowCenter": [], "WindowWidth": 9},
     {"VOILUTSequence": []}, {"ModalityLUTSequence": []}, {"RescaleSlope": 1, "RescaleIntercept": None},
     {"RescaleSlope": "nan", "RescaleIntercept": 0}, {"RescaleIntercept": -1024}, {"RescaleSlope": 2},
     {"PixelPaddingValue": 65535}, {"BitsStored": 12, "HighBit": None}, {"SamplesPerPixel": None}, {"HighBit": 15},
     {"HighBit": 60000}, {"PixelRepresentation": None}, {"VOILUTSequence": [pydicom.Dataset()]},
     {"PhotometricInterpretation": "monochrome2 "}, {"RescaleSlope": 0, "RescaleIntercept": 0},
     {"RescaleSlope": 0, "RescaleIntercept": 77}],
)  # fmt: skip
def test_a_window_or_slope_that_is_none_is_not_there(tmp_path: Path, tags: dict[str, Any]) -> None:
    assert np.array_equal(gray(dicom(tmp_path / "x.dcm", gradient(), **tags)), gradient() >> 4)


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (8, np.uint16), (12, np.uint16), (16, np.uint16)])
def test_a_lookup_table_of_any_entries(tmp_path: Path, name: str, bits: int, kind: type) -> None:
    """pydicom counts to 255 where entries have 8 bits, and reads no modality table of 12."""
    table = pydicom.Dataset()
    table.LUTDescriptor = [4000, 48, bits]
    table.LUTData = (np.arange(4000)[::-1] * (2**bits - 1) // 3999).astype(kind).tobytes()
    shown = gray(dicom(tmp_path / "x.dcm", gradient(), **{name: [table]})).astype(int)
    expected = 255 * (3999 - np.clip(gradient().astype(int) - 48, 0, 3999)) / 3999
    assert np.abs(shown - expected).max() <= 1
    whole = table.LUTData
    for table.LUTData, table.LUTDescriptor in ((whole[:3000], [4000, 48, bits]), (whole, [4000, 48, 0])):
        with pytest.raises(PictureError, match="truncated, damaged"):
            read_image(dicom(tmp_path / "none.dcm", gradient(), **{name: [table]}))


@pytest.mark.parametrize("signed", [True, False])
def test_bits_that_lie_on_the_left(tmp_path: Path, signed: bool) -> None:
    pixels = gradient(signed=signed)
    right = gray(dicom(tmp_path / "r.dcm", pixels))
    assert np.array_equal(gray(dicom(tmp_path / "l.dcm", pixels << 4, HighBit=15)), right)


@pytest.mark.parametrize("groups", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_an_enhanced_file_has_its_window_and_line_in_groups(tmp_path: Path, groups: str) -> None:
    window, line, group = (pydicom.Dataset() for _ in range(3))
    window.WindowCenter, window.WindowWidth, line.RescaleSlope, line.RescaleIntercept = 40, 400, 2, -1024
    group.FrameVOILUTSequence, group.PixelValueTransformationSequence = [window], [line]
    path = dicom(tmp_path / "x.dcm", gradient(), **{groups: [group]})
    assert np.array_equal(gray(path), linear(gradient() * 2.0 - 1024, 40, 400))


@pytest.mark.parametrize("name", ["WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("text", [b"abc ", b"20,5", b"--", b"1e400 ", b"\\ "])
def test_a_number_that_is_none_is_not_there(tmp_path: Path, name: str, text: bytes) -> None:
    tags = {"WindowCenter": "2048", "WindowWidth": "4096", "RescaleSlope": "1", "RescaleIntercept": "0"}
    path = Path(dicom(tmp_path / "x.dcm", gradient(), **tags))
    data, tag = path.read_bytes(), pydicom.datadict.tag_for_keyword(name)
    at = data.index(struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, b"DS"))
    size = int.from_bytes(data[at + 6 : at + 8], "little")
    path.write_bytes(data[: at + 6] + struct.pack("<H", len(text)) + text + data[at + 8 + size :])
    assert np.abs(gray(str(path)).astype(int) - (gradient() >> 4)).max() <= 1


def test_numbers_of_a_line_hold_in_a_window_too(tmp_path: Path) -> None:
    window = {"WindowCenter": 4096, "WindowWidth": 8192}
    for line in ({"RescaleSlope": 2}, {"RescaleSlope": 2, "RescaleIntercept": None}):
        shown = gray(dicom(tmp_path / "x.dcm", gradient(), **line, **window))
        assert np.array_equal(shown, linear(2 * gradient().astype(int), 4096, 8192))


@pytest.mark.parametrize("bits", [12, 16])
def test_padding_beyond_the_bits_or_of_the_other_sign(tmp_path: Path, bits: int) -> None:
    stored = np.linspace(-1000, 1000, 64 * 48).astype(np.int16).reshape(48, 64)
    whole = gray(dicom(tmp_path / "w.dcm", stored, bits=12))
    padded = stored.copy()
    padded[:, :6] = -32768
    path = dicom(tmp_path / "p.dcm", padded, bits=bits, PixelPaddingValue=-32768)
    shown = gray(path)
    assert not shown[:, :6].any()
    if bits == 12:
        assert np.array_equal(shown[:, 6:], whole[:, 6:])
    unsigned = stored.astype(np.uint16) & 0xFFF
    unsigned[:, :6] = 65535
    assert not gray(dicom(tmp_path / "u.dcm", unsigned, bits=bits, PixelPaddingValue=65535))[:, :6].any()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("values", "bits", "window"),
    [
        (np.linspace(-1024, 3000, 3072).round().astype(np.int16), 12, (1000, 4000)),
        (np.linspace(0, 60000, 3072).astype(np.uint16), 12, (30000, 60000)),
        (np.linspace(0, 4000, 3072).astype(np.uint16), 8, (2000, 4000)),
        (np.linspace(0, 3000, 3072).astype(np.uint16), 10, None),
    ],
)
def test_values_beyond_the_bits_of_the_header_do_not_wrap_round(
    tmp_path: Path, values: np.ndarray, bits: int, window: tuple[int, int] | None, compressed: bool
) -> None:
    stored = values.reshape(48, 64)
    tags = {} if window is None else {"WindowCenter": window[0], "WindowWidth": window[1]}
    path = dicom(tmp_path / "x.dcm", stored, bits=bits, **tags)
    if compressed and bits > 8:  # of 8 pydicom would write one byte a pixel
        file = pydicom.dcmread(path)
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID
        file.compress("1.2.840.10008.1.2.5")
        file.save_as(path)
    assert np.array_equal(gray(path), stored >> 4 if window is None else linear(stored, *window))


def test_colours_beyond_the_bits_of_the_header_do_not_wrap_round(tmp_path: Path) -> None:
    colours = np.dstack([gradient(), gradient()[::-1], gradient()[:, ::-1]])
    assert np.array_equal(read_image(dicom(tmp_path / "x.dcm", colours, bits=10)), colours >> 4)


def test_a_sign_an_overlay_and_marks_beyond_the_bits_are_no_values(tmp_path: Path) -> None:
    expected = gradient() >> 4
    signed = gradient(signed=True)
    bare = gray(dicom(tmp_path / "b.dcm", signed & np.int16(0xFFF)))  # without the sign's bits
    assert np.array_equal(bare, gray(dicom(tmp_path / "s.dcm", signed)))
    overlaid = gradient() + (np.arange(48, dtype=np.uint16) % 2 << 15)[:, None]
    assert np.array_equal(gray(dicom(tmp_path / "m.dcm", overlaid)), expected)
    steep = np.where(np.arange(64) % 2, np.uint16(5096), np.uint16(2700)) + gradient() // 64
    path = dicom(tmp_path / "o.dcm", steep)
    with pytest.raises(PictureError, match=r"BitsStored of the values at .*o\.dcm, got 12, and values of more bits"):
        read_image(path)
    file = pydicom.dcmread(path)
    file.add_new(0x60000102, "US", 12)
    file.save_as(path)
    assert np.array_equal(gray(path), (steep & 0xFFF) >> 4)


@pytest.mark.parametrize("absent", ["Rows", "PhotometricInterpretation", "PixelData"])
def test_a_header_without_a_picture_is_told(tmp_path: Path, absent: str) -> None:
    path = dicom(tmp_path / "x.dcm", gradient(), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    file = pydicom.dcmread(path)
    delattr(file, absent)
    file.save_as(path)
    with pytest.raises(PictureError, match=rf"got a header without {absent}: no picture"):
        read_image(path)


def test_the_first_window_that_is_one_is_taken(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", gradient(), WindowCenter=[0, 1500], WindowWidth=[0, 1000])
    assert np.array_equal(gray(path), linear(gradient(), 1500, 1000))


def test_a_falling_line_turns_the_range(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", gradient(), RescaleSlope=-1, RescaleIntercept=4095)
    assert np.abs(gray(path).astype(int) - (255 - (gradient() >> 4))).max() <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 4000}])
def test_padding_is_background_and_no_part_of_the_range(
    tmp_path: Path, photometric: str, window: dict[str, int]
) -> None:
    stored = np.linspace(0, 4000, 64 * 48).astype(np.uint16).reshape(48, 64)
    options: dict[str, Any] = {"bits": 16, "PhotometricInterpretation": photometric, **window}
    whole = gray(dicom(tmp_path / "w.dcm", stored, **options))
    for value, limit in ((65535, None), (65000, 65535), (65535, 65000)):
        padded = stored.copy()
        padded[:, :6] = value
        tags = {"PixelPaddingValue": value} | ({} if limit is None else {"PixelPaddingRangeLimit": limit})
        shown = gray(dicom(tmp_path / "p.dcm", padded, **options, **tags))
        assert not shown[:, :6].any()
        assert np.array_equal(shown[:, 6:], whole[:, 6:])


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("name", ["bare", "bare.dcm"])  # told by its content, or by its name
def test_a_file_without_meta_is_read_as_it_is_written(tmp_path: Path, implicit: bool, name: str) -> None:
    file = pydicom.dcmread(dicom(tmp_path / "x.dcm", gradient()))
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    file.save_as(tmp_path / name, implicit_vr=implicit, little_endian=True)
    assert np.array_equal(gray(str(tmp_path / name)), gradient() >> 4)


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


def test_a_video_in_dicom_is_called_so(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import MPEG2MPML

    path = dicom(tmp_path / "v.dcm", gradient())
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID, file.PixelData = MPEG2MPML, encapsulate([b"\0\0\1\xb3" + bytes(96)])
    file["PixelData"].is_undefined_length = True
    file.save_as(path, enforce_file_format=True)
    with pytest.raises(PictureError, match=r"a picture at .*v\.dcm, got a video \(MPEG2.*write its frames as pictures"):
        read_image(path)


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
        "float": ({"a": np.full((4, 4), -0.5)}, r"from 0\.0 to 1\.0, at .*got float64 from -0\.5 to -0\.5"),
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
