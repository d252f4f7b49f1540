"""Height and width of a picture from its header, so that an absurd one is refused before a byte of it is decoded.

Our own on purpose: it looks at bytes that were read anyway, for every kind of picture in one way.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.system.errors import PictureError
from ibca_lightning.system.strangers import MAX_PICTURE

# 400 MB as RGB: three times the largest radiograph or fundus photograph, and far from what would stop a machine.
MAX_PIXELS = 2**27

PNG = b"\x89PNG\r\n\x1a\n"

# Pictures that are read, and then what they may be taken for; each by what stands where.
PICTURES = frozenset({"JPEG", "PNG", "TIFF", "BMP", "WebP", "GIF", "JPEG 2000", "PPM", "AVIF", "NPZ", "DICOM"})
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom", ".npz", ".npy"})
_MAGIC = (
    ("JPEG", 0, rb"\xff\xd8\xff"), ("PNG", 0, re.escape(PNG)), ("TIFF", 0, rb"II[*+]\0|MM\0[*+]"), ("BMP", 0, rb"BM"),
    ("WebP", 8, rb"WEBP"), ("GIF", 0, rb"GIF8[79]a"), ("JPEG 2000", 0, rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("PPM", 0, rb"P[1-7]\s"), ("AVIF", 4, rb"ftypavi[fs]"), ("HEIC", 4, rb"ftyp(?:hei[cmsx]|hev[cx]|mif1|msf1)"),
    ("JPEG XL", 0, rb"\xff\x0a|\0\0\0\x0cJXL "), ("PDF", 0, rb"%PDF"), ("Photoshop", 0, rb"8BPS"),
    ("SVG", 0, rb"\s*<(?:\?xml|svg)"), ("HTML", 0, rb"\s*<(?i:!doctype|html)"),
    ("Git LFS", 0, rb"version https://git-lfs"), ("ICO", 0, rb"\0\0\x01\0"), ("PFM", 0, rb"P[Ff]\s"),
    ("NIfTI", 344, rb"n[i+]1\0"), ("gzip", 0, rb"\x1f\x8b"), ("NPY", 0, rb"\x93NUMPY"), ("HDF5", 0, rb"\x89HDF"),
    ("MetaImage", 0, rb"ObjectType"), ("NRRD", 0, rb"NRRD"), ("OpenEXR", 0, rb"v/1\x01"), ("MPEG", 0, rb"\0\0\x01\xba"),
    ("MP4", 4, rb"ftyp"), ("AVI", 8, rb"AVI "),
)  # fmt: skip
_TAGS = frozenset({256, 257, 258, 259, 262, 274, 277, 284, 338, 339})  # of a TIFF
# What stands where a picture was to be fetched.
_FETCH = {"HTML": "download the picture again: that is an answer of the server", "Git LFS": "run git lfs pull"}


def kind_of(data: memoryview) -> str | None:
    """What a file is, of the kinds that pictures come as; None where its first bytes do not tell."""
    head = bytes(data[:512])
    return next((kind for kind, at, mark in _MAGIC if re.compile(mark).match(head, at)), None)


def is_eight_bit(data: memoryview) -> bool:
    """Whether the first 32 bytes of a picture say that it has 8 bits or fewer; False where they do not tell."""
    kind = kind_of(data)
    return kind in ("JPEG", "BMP", "WebP", "GIF") or (kind == "PNG" and len(data) > 24 and data[24] <= 8)


def check_size(height: int, width: int, path: str, depth: int = 1) -> None:
    """Refuse a picture with more than `MAX_PIXELS` pixels, or none, as a PictureError; or beyond 1 GiB at `depth`.

    Args:
        height: Of the picture, in pixels.
        width: Likewise.
        path: Of its file, for the message.
        depth: Bytes that the numbers of a pixel take in memory.
    """
    most = min(MAX_PIXELS, MAX_PICTURE // depth)
    if not 0 < height * width <= most:
        got = f"a height of {height} and a width of {width}"
        raise PictureError(f"a picture of 1 to {most} pixels at {path}", got, "shrink it or cut it into tiles")


def damaged(what: str, data: NDArray[np.uint8], path: str) -> PictureError:
    """Return the error for bytes that are not what they should be."""
    kind = kind_of(data.data)
    if kind is not None and kind not in PICTURES:
        fix = _FETCH.get(kind, "convert it to PNG or TIFF, or remove its row")
        return PictureError(f"{what} at {path}", f"a {kind} file", fix)
    if kind == "TIFF" and (rare := _rare_numbers(tiff_pages(data.data)[0])):
        return PictureError(f"{what} at {path}", f"a TIFF of {rare}", "write it with 8 or 16 bits, or as NPY")
    got = f"{len(data)} bytes that are truncated, damaged or something else"
    return PictureError(f"{what} at {path}", got, "restore the file or remove its row")


def _rare_numbers(tags: Mapping[int, int]) -> str | None:
    """What the numbers of a TIFF are, where nothing here reads them; None of the usual ones."""
    bits, palette = tags.get(258, 1), tags.get(262) == 3
    if bits in (1, 2, 4, 8, 10, 12, 14, 16, 32) and not (bits > 8 and palette) and (bits, tags.get(339)) != (16, 3):
        return None
    return f"{bits}-bit {'floating-point ' if tags.get(339) == 3 else 'palette ' if palette else ''}numbers"


def picture_size(data: memoryview) -> tuple[int, int] | None:
    """Read height and width of a JPEG, PNG, TIFF, BMP or WebP as it is stored, before any EXIF orientation.

    None if the bytes are none of these, or the header is damaged.
    """
    read = _SIZES.get(kind_of(data) or "")
    try:
        return read(data) if read else None
    except IndexError:
        return None


def pixel_bytes(data: memoryview) -> int:
    """The bytes that a pixel of a picture takes once it is decoded, as far as its header tells."""
    kind = kind_of(data)
    if kind == "TIFF":
        tags = tiff_pages(data)[0]
        return max(tags.get(277, 1), 3) * max(-(-tags.get(258, 8) // 8), 1)
    return 8 if kind == "PNG" and len(data) > 24 and data[24] > 8 else 4


def tiff_pages(data: memoryview, most: int = 1) -> list[dict[int, int]]:
    """What the first pages of a TIFF say, at most so many, at least one.

    Width (256), height (257), Compression (259), PhotometricInterpretation (262), Orientation (274), SamplesPerPixel
    (277), PlanarConfiguration (284), and BitsPerSample (258), ExtraSamples (338), SampleFormat (339) of the first.
    """
    number = _little if data[0] == ord("I") else _big
    large = number(data[2:4]) == 43
    offset, entries, step, value, word = (8, 8, 20, 12, 8) if large else (4, 2, 12, 8, 4)
    pages: list[dict[int, int]] = []
    start = number(data[offset : offset + word])
    while not pages or (start and len(pages) < most):  # the chain may lead back to where it began
        found: dict[int, int] = {}
        end = start + entries + step * min(number(data[start : start + entries]), 4096)
        for at in range(start + entries, end, step):
            tag, kind = number(data[at : at + 2]), number(data[at + 2 : at + 4])
            if tag in _TAGS:
                size, place = {1: 1, 3: 2, 4: 4, 16: 8}.get(kind, 4), at + value
                if number(data[at + 4 : place]) * size > word:  # several, which lie elsewhere
                    place = number(data[place : place + word])
                found.setdefault(tag, number(data[place : place + size]))  # libtiff too takes the first
        pages.append(found)
        start = number(data[end : end + word])
    return pages


def _big(data: bytes | memoryview) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes | memoryview) -> int:
    return int.from_bytes(data, "little")


def _jpeg(data: memoryview) -> tuple[int, int] | None:
    # The frame header (SOFn) stands behind other segments, each with its length.
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _big(data[at + 5 : at + 7]), _big(data[at + 7 : at + 9])
        at += 2 + _big(data[at + 2 : at + 4])
    return None


def _png(head: memoryview) -> tuple[int, int]:
    return _big(head[20:24]), _big(head[16:20])


def _bmp(head: memoryview) -> tuple[int, int]:
    if _little(head[14:18]) == 12:  # the header of OS/2
        return _little(head[20:22]), _little(head[18:20])
    # A negative height means that rows run downwards.
    return abs(int.from_bytes(head[22:26], "little", signed=True)), _little(head[18:22])


def _webp(head: memoryview) -> tuple[int, int] | None:
    kind = bytes(head[12:16])
    if kind == b"VP8X":
        return _little(head[27:30]) + 1, _little(head[24:27]) + 1
    if kind == b"VP8L":
        bits = _little(head[21:25])
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(head[28:30]) & 0x3FFF, _little(head[26:28]) & 0x3FFF
    return None


def _tiff(data: memoryview) -> tuple[int, int] | None:
    found = tiff_pages(data)[0]
    return (found[257], found[256]) if {256, 257} <= found.keys() else None


_SIZES: Mapping[str, Callable[[memoryview], tuple[int, int] | None]] = {
    "JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "WebP": _webp, "TIFF": _tiff,
}  # fmt: skip
