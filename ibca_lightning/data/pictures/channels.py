"""Pictures of another number of channels than three: read, handed to OpenCV, and shown to people."""

import io
import math
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ibca_lightning.data.pictures.bit_depth import Stored
from ibca_lightning.data.pictures.formats.array_file import is_array, read_array
from ibca_lightning.data.pictures.header import check_size, damaged, kind_of, picture_size, pixel_bytes, tiff_pages
from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.system.strangers import MAX_PICTURE

_AT_ONCE = 4  # channels that all of OpenCV takes


def gray(pixels: NDArray[np.uint8], path: str) -> NDArray[np.uint8]:
    """The one channel (H, W, 1) of a gray picture that was read as RGB.

    Raises:
        PictureError: If it has colours.
    """
    if not (np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])):
        raise wrong(path, 1, 3)
    return np.ascontiguousarray(pixels[..., :1])


def read_channels(data: NDArray[np.uint8], path: str, channels: int) -> Stored:
    """Read a picture of `channels` channels, 2 or 4 and more, its bytes given, in their order, of any number type.

    An array in an NPZ or NPY file, a TIFF with them in each pixel or a page each, or a PNG or WebP with transparency.

    The orientation is applied.

    Raises:
        PictureError: If the file is damaged, too large, or has another number of channels.
        InputError: If a package that it needs is not installed.
    """
    if is_array(data):
        stored = Stored(read_array(data, path, channels))
    else:
        size = picture_size(data.data)
        if size is None:
            raise damaged(f"a picture of {channels} channels (TIFF, NPZ, NPY)", data, path)
        check_size(*size, path, pixel_bytes(data.data))
        stored = _tiff(data, path, channels) if kind_of(data.data) == "TIFF" else Stored(_decoded(data))
    shape = stored.pixels.shape
    if len(shape) != 3 or shape[2] != channels:
        raise wrong(path, channels, shape[2] if len(shape) == 3 else 1)
    return stored


def wrong(path: str, channels: int, got: int | str) -> PictureError:
    """The error for a picture of another number of channels."""
    fix = "set data.in_channels to it, or remove the row"
    return PictureError(f"a picture of {channels} channel{'s' * (channels > 1)} at {path}", got, fix)


def in_parts(pixels: NDArray[np.uint8], function: Callable[[Any], Any]) -> NDArray[np.uint8]:
    """Apply a function of OpenCV to a picture (H, W, C), as many channels at a time as it takes."""
    if pixels.shape[2] == 3:
        return np.asarray(function(pixels), dtype=np.uint8)
    starts = range(0, pixels.shape[2], _AT_ONCE)
    return np.dstack([function(np.ascontiguousarray(pixels[..., at : at + _AT_ONCE])) for at in starts])


def as_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What people are shown of a picture (H, W, C): its first three channels, black where there are two, or gray."""
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 2:
        return np.dstack([pixels, np.zeros_like(pixels[..., 0])])
    return np.ascontiguousarray(pixels[..., :3])


def _decoded(data: NDArray[np.uint8]) -> NDArray[Any]:
    """What OpenCV makes of a picture with transparency, as RGBA."""
    pixels: Any = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return np.empty(0)
    with suppress(Exception), Image.open(io.BytesIO(data.tobytes())) as image:  # a damaged header says nothing
        pixels = _turned(pixels, image.getexif().get(274, 1))
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    return np.asarray(pixels)


def _turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A picture (H, W) or (H, W, C) the right way up, by the tag Orientation of TIFF and EXIF."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]


def _tiff(data: NDArray[np.uint8], path: str, channels: int) -> Stored:
    said = tiff_pages(data.data, channels + 1)
    inverted = said[0].get(262) == 0
    sizes = {(page.get(257, 0), page.get(256, 0), page.get(277, 1)) for page in said}
    height, width, samples = sizes.pop()
    if len(said) > 1 and not sizes and samples == 1:  # a page for each channel
        if len(said) != channels:
            raise wrong(path, channels, f"more than {channels}" if len(said) > channels else len(said))
        check_size(height, width, path, channels * max(max(page.get(258, 8) for page in said) // 8, 1))
        if (pixels := _pages(data)) is not None:
            return Stored(pixels, inverted and pixels.dtype != np.uint8)  # of 8 bits OpenCV has done it
    try:
        import tifffile
    except ImportError:
        fix = "pip install 'ibca-lightning[tiff]', or write a page for each channel, or an NPZ"
        raise InputError(f"tifffile, to read the channels of {path}", "no such package", fix) from None
    try:
        with tifffile.TiffFile(io.BytesIO(data.tobytes())) as file:
            page: Any = file.pages[0]
            if page.samplesperpixel != channels:
                raise wrong(path, channels, page.samplesperpixel)
            if page.nbytes > MAX_PICTURE:
                raise PictureError(f"a picture of at most {MAX_PICTURE} bytes at {path}", page.nbytes, "shrink it")
            _require_measured(page)
            pixels = page.asarray()
            planar = pixels.ndim == 3 and page.planarconfig == 2
    except PictureError:
        raise
    except Exception as error:  # tifffile raises many kinds over damaged bytes
        if "imagecodecs" in str(error):
            got = "one that is compressed in a way that tifffile alone does not read"
            raise PictureError(f"a TIFF that can be read at {path}", got, "write it without compression") from None
        raise damaged("a TIFF that can be read", data, path) from None
    return Stored(_turned(np.moveaxis(pixels, 0, 2) if planar else pixels, said[0].get(274, 1)), inverted)


def _require_measured(page: Any) -> None:
    """Refuse a strip or tile that is deflated from more than it is to hold, which tifffile would unpack whole."""
    if page.compression in (8, 32946):
        most = math.prod(page.chunks) * page.dtype.itemsize
        for segment, _ in page.parent.filehandle.read_segments(page.dataoffsets, page.databytecounts):
            if len(zlib.decompressobj().decompress(segment, most + 1)) > most:
                raise ValueError("a strip of more than its rows")


def _pages(data: NDArray[np.uint8]) -> NDArray[Any] | None:
    """All pages of a TIFF, (H, W, C); None where they cannot be decoded, or have colours."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        whole, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    alike = whole and all(page.shape == pages[0].shape and page.ndim == 2 for page in pages)
    return np.dstack(pages) if alike else None
