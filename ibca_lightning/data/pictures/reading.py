"""From a file to RGB pixels: strict, and as fast as libjpeg allows.

JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves the short side at or above what is needed: two to four
times faster than a full decode. Against an antialiased reference it comes closer than linear resizing of the whole
where a picture has much fine detail, which the latter aliases; in a smooth picture it is slightly further off, both
being near 50 dB there (`python -m tests.bench.data` prints both for its own drawings).
"""

import errno
import io
import warnings
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ibca_lightning.data import storage
from ibca_lightning.data.pictures.bit_depth import Stored, eight_bit
from ibca_lightning.data.pictures.channels import gray, read_channels, wrong
from ibca_lightning.data.pictures.dicom import is_dicom, read_dicom
from ibca_lightning.data.pictures.formats.array_file import is_array, read_array
from ibca_lightning.data.pictures.formats.jpeg import strict
from ibca_lightning.data.pictures.header import (
    PNG,
    check_size,
    damaged,
    is_eight_bit,
    kind_of,
    picture_size,
    pixel_bytes,
    tiff_pages,
)
from ibca_lightning.system.errors import InputError, PictureError, refusal
from ibca_lightning.system.strangers import MAX_PICTURE

Pixels = NDArray[np.uint8]

# Part of the key of what `cache` keeps: raise it with every change of the pixels that reading and resizing give.
READER_VERSION = 5

# A gray flag beside the RGB one: OpenCV takes the scale from the one and the colours from the other, and refuses
# IMREAD_REDUCED_COLOR_x there because that asks for BGR too.
_REDUCED = {
    factor: int(getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{factor}")) | int(cv2.IMREAD_COLOR_RGB) for factor in (8, 4, 2)
}
_FULL = int(cv2.IMREAD_COLOR_RGB) | int(cv2.IMREAD_ANYDEPTH)
_FULL_BGR = int(cv2.IMREAD_COLOR_BGR) | int(cv2.IMREAD_ANYDEPTH)


# What Pillow reads and OpenCV does not, or does not read fully.
_PILLOW = ("GIF", "JPEG2000", "PPM", "AVIF", "TIFF")
_DECODED = "a picture that can be decoded (JPEG, PNG, TIFF, BMP, WebP, GIF, DICOM, NPZ)"
_LAB = (8, 9, 10)  # PhotometricInterpretation of a TIFF
_SAMPLED = 64  # pictures that tell the depth of a data set


def read_image(path: str, target: int | None = None, depth: int | None = None) -> Pixels:
    """Read a picture as RGB.

    JPEG, PNG, TIFF (first page), BMP, WebP, GIF (first picture), JPEG 2000, PPM, AVIF, DICOM (see `dicom.read_dicom`),
    NPZ and NPY (see `array_file.read_array`), told by their content. Gray becomes RGB, a palette is looked up,
    transparency is dropped, the EXIF orientation is applied, and any depth becomes 8 bits by `bit_depth.eight_bit`. A
    picture whose header says more than `picture_header.MAX_PIXELS` is refused before it is decoded.

    Args:
        path: The file.
        target: The short side that is needed, in pixels; a JPEG may be decoded smaller as long as it is not below.
            None decodes in full.
        depth: The bits of a picture that may have more than 8, where its file does not say; None takes those it uses.

    Returns:
        (H, W, 3) uint8.

    Raises:
        PictureError: If the file is missing, empty, truncated, damaged, too large or no picture.
        InputError: If a package that it needs is not installed.
    """
    return PictureFile(path).pixels(target, depth)


def depth_of(path: Callable[[int], str], count: int, channels: int = 3) -> int | None:
    """The depth of a data set: the largest that some of its pictures use; None where they say where white is.

    Args:
        path: Of a picture, by its number.
        count: Of the pictures.
        channels: Of each.
    """
    depths = []
    for at in range(0, count, -(-count // _SAMPLED) or 1):
        # Said when the picture is read; but a storage that fails now may answer then.
        with suppress(PictureError if storage.is_remote(path(at)) else InputError, OSError):
            head = storage.beginning(path(at), 32)
            depths.append(None if is_eight_bit(memoryview(head)) else PictureFile(path(at)).depth(channels))
    return max((depth for depth in depths if depth), default=None)


class PictureFile:
    """A picture that several want: its file is read once, and decoded once at each scale.

    Raises:
        PictureError: If it cannot be read or is empty.
    """

    def __init__(self, path: str, data: Pixels | None = None) -> None:
        self._path, self._data = path, read_bytes(path) if data is None else data  # with data the path is but a name
        self._stored: dict[int, Stored] = {}
        self._decoded: dict[tuple[int, int | None], Pixels] = {}

    @property
    def encoded(self) -> memoryview:
        """The bytes of the file."""
        return self._data.data

    def pixels(self, target: int | None = None, depth: int | None = None) -> Pixels:
        """As `read_image`; not to be changed, because others are given the same array."""
        key = factor, _ = self.reduction(target), depth
        if key not in self._decoded:
            self._decoded[key] = self._decode(factor).rgb(self._path, depth)
        return self._decoded[key]

    def depth(self, channels: int = 3) -> int | None:
        """The bits that the picture uses; None where they are 8, or its file says how many they are."""
        if is_eight_bit(self._data[:32].data):
            return None
        return (self._decode(1) if channels in (1, 3) else self._many(channels)).depth(self._path)

    def channels(self, count: int, target: int | None = None, depth: int | None = None) -> Pixels:
        """As `pixels`, but (H, W, count): of 1 a gray picture, of other numbers as `channels.read_channels`."""
        if count == 3:
            return self.pixels(target, depth)
        if count == 1:
            return gray(self.pixels(target, depth), self._path)
        if is_dicom(self._data.data, self._path):
            raise wrong(self._path, count, "a DICOM picture of 1 or 3")
        shown = eight_bit(self._many(count).pixels, self._path, depth)
        return 255 - shown if self._many(count).inverted else shown

    def reduction(self, target: int | None) -> int:
        """By how much `pixels` reduces the picture, 1, 2, 4 or 8."""
        if target is None or kind_of(self._data.data) != "JPEG":
            return 1
        size = picture_size(self._data.data)
        return next((factor for factor in _REDUCED if size and min(size) // factor >= target), 1)

    def _many(self, count: int) -> Stored:
        """The picture of other than 1 or 3 channels, kept beside those that are told apart by their scale."""
        if -count not in self._stored:
            self._stored[-count] = read_channels(self._data, self._path, count)
        return self._stored[-count]

    def _decode(self, factor: int) -> Stored:
        if factor not in self._stored:
            self._stored[factor] = self._read(_REDUCED.get(factor, _FULL))
        return self._stored[factor]

    def _read(self, flag: int) -> Stored:
        data, path = self._data, self._path
        if is_array(data):
            return Stored(read_array(data, path))
        if is_dicom(data.data, path):
            return read_dicom(data, path)
        tags = tiff_pages(data.data)[0] if kind_of(data.data) == "TIFF" else {}
        if tags.get(262) in _LAB:  # of which OpenCV and Pillow each make other colours
            raise PictureError(f"a TIFF in gray or RGB at {path}", "one in CIELAB", "convert it to RGB")
        if tags.get(284) == 2 and tags.get(277, 1) > 1 and not (tags.get(258) == 8 and tags.get(262, 2) >= 2):
            return _planes(data, path, tags)
        pixels = decode_bytes(data, path, flag)
        # OpenCV looks at that tag only where it makes 8 bits of a picture.
        inverted = pixels.dtype != np.uint8 and tags.get(262) == 0
        # Numbers that are packed have all their bits in use; OpenCV brings them to 16.
        packed = pixels.dtype == np.uint16 and tags.get(258) in (10, 12, 14)
        return Stored(eight_bit(pixels, path, 16) if packed else pixels, inverted)


def _planes(data: Pixels, path: str, tags: Mapping[int, int]) -> Stored:
    """A TIFF in planes without transparency: OpenCV takes those of 16 bits for pixels, and multiplies gray by it."""
    if tags.get(262, 1) > 2:
        raise PictureError(f"a TIFF in gray or RGB at {path}", "other colours, in planes", "convert it to RGB")
    stored = read_channels(data, path, tags[277])
    colours = tags.get(262) == 2 or tags[277] == 3
    return replace(stored, pixels=stored.pixels[..., :3] if colours else stored.pixels[..., 0])


def read_bytes(path: str) -> Pixels:
    """Read a file; through Python, because OpenCV's own reading fails on some non-ASCII paths.

    Raises:
        PictureError: If it cannot be read or is empty.
    """
    try:
        data = storage.content(path, MAX_PICTURE)
    except FileNotFoundError:
        raise PictureError(f"a picture at {path}", "nothing there", "restore the file or remove its row") from None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ESTALE):  # no fault of the picture, to be passed over
            raise refusal(error) or error from None
        raise PictureError(f"a picture at {path}", error.strerror or error, "check the path and permissions") from None
    if not len(data):
        raise PictureError(f"a picture at {path}", "a file of 0 bytes", "restore the file or remove its row")
    return data


def decode_bytes(data: Pixels, path: str, flag: int) -> NDArray[Any]:
    """Decode a picture by one of OpenCV's IMREAD flags, and refuse one that is incomplete or absurdly large.

    Raises:
        PictureError: If it is truncated, damaged, too large or no picture.
    """
    view = data.data
    size = picture_size(view)
    if size is not None:
        check_size(*size, path, pixel_bytes(view))
    kind = kind_of(view)
    sound: Pixels | None = strict(data) if kind == "JPEG" else data
    pixels = _by_pillow(data, path) if kind == "TIFF" and _is_packed(view) else None
    # Before libpng sees it: libpng complains on stderr, past every log level.
    if pixels is None and size is not None and sound is not None and (kind != "PNG" or _png_is_sound(view)):
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said below, in one line
        try:
            # Where RGB is asked for, OpenCV 5.0 writes nothing into the array of a TIFF of 16-bit colours.
            turned = flag == _FULL and kind == "TIFF"
            if not (turned and _has_transparency(view)):
                pixels = cv2.imdecode(sound, _FULL_BGR if turned else flag)
                pixels = pixels[..., ::-1] if turned and pixels is not None else pixels
        except (cv2.error, MemoryError):
            pass
        finally:
            cv2.utils.logging.setLogLevel(level)
    if pixels is None:
        pixels = _by_pillow(data, path)
    if pixels is None:
        raise damaged(_DECODED, data, path)
    if flag == cv2.IMREAD_GRAYSCALE and pixels.ndim == 3:  # Pillow's are RGB
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return pixels


def _is_packed(data: memoryview) -> bool:
    """Whether a TIFF is of 8 bits or fewer, packed by bytes: of what is missing there OpenCV says nothing."""
    tags = tiff_pages(data)[0]
    return tags.get(258, 1) <= 8 and tags.get(262, 1) <= 3 and tags.get(259) in (5, 8, 32773, 32946)


def _has_transparency(data: memoryview) -> bool:
    """Whether a TIFF of 8-bit colours has it beside them, unassociated; OpenCV would multiply them by it."""
    tags = tiff_pages(data)[0]
    return (tags.get(262), tags.get(277), tags.get(258), tags.get(338)) == (2, 4, 8, 2)


def _by_pillow(data: Pixels, path: str) -> NDArray[Any] | None:
    """Decode what OpenCV cannot; None where Pillow cannot either."""
    kind = kind_of(data.data)
    if kind not in {"GIF", "JPEG 2000", "PPM", "AVIF", "TIFF"}:
        return None  # of the others OpenCV is the judge
    opened = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are judged here, and of broken tags
            with Image.open(io.BytesIO(data.tobytes()), formats=_PILLOW) as image:
                check_size(image.height, image.width, path)
                opened = True
                ImageOps.exif_transpose(image, in_place=True)
                return np.asarray(image if image.mode.startswith(("I", "F")) else image.convert("RGB"))
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"a smaller picture at {path}", error, "shrink it or cut it into tiles") from None
    except Exception:  # Pillow raises many kinds over damaged bytes
        if kind == "TIFF":
            if opened:
                raise damaged(_DECODED, data, path) from None
            return None
        fix = "convert it to PNG if it is sound; restore it, or remove its row, if not"
        raise PictureError(f"a picture that can be decoded at {path}", f"a {kind} file that cannot", fix) from None


def _png_is_sound(data: memoryview) -> bool:
    """Walk the chunks of a PNG up to IEND and check the sums of those that matter."""
    at = len(PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if end > len(data):
            return False
        kind = bytes(data[at + 4 : at + 8])
        critical = kind[:1].isupper()
        if critical and zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return False
        if kind == b"IEND":
            return True
        at = end
    return False
