"""From a file to RGB pixels: strict, and as fast as libjpeg allows.

JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves the short side at or above what is needed: two to four
times faster than a full decode. Against an antialiased reference it comes closer than linear resizing of the whole
where a picture has much fine detail, which the latter aliases; in a smooth picture it is slightly further off, both
being near 50 dB there (`python -m tests.bench.data` prints both for its own drawings).
"""

import errno
import os
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.pictures.array_file import read_array
from ibca_lightning.data.pictures.bit_depth import eight_bit
from ibca_lightning.data.pictures.dicom import is_dicom, read_dicom
from ibca_lightning.data.pictures.header import PNG, check_size, damaged, picture_size
from ibca_lightning.system.errors import PictureError, refusal
from ibca_lightning.system.strangers import MAX_PICTURE, regular

Pixels = NDArray[np.uint8]

# Part of the key of what `cache` keeps: raise it with every change of the pixels that reading and resizing give.
READER_VERSION = 1

# A gray flag beside the RGB one: OpenCV takes the scale from the one and the colours from the other, and refuses
# IMREAD_REDUCED_COLOR_x there because that asks for BGR too.
_REDUCED = {
    factor: int(getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{factor}")) | int(cv2.IMREAD_COLOR_RGB) for factor in (8, 4, 2)
}
_FULL = int(cv2.IMREAD_COLOR_RGB) | int(cv2.IMREAD_ANYDEPTH)


def read_image(path: str, target: int | None = None) -> Pixels:
    """Read a picture as RGB.

    JPEG, PNG, TIFF (first page), BMP, WebP, DICOM (see `dicom.read_dicom`) and NPZ (see `array_file.read_array`), told
    by their content. Gray becomes RGB, a palette is looked up, transparency is dropped, the EXIF orientation is
    applied, and any depth becomes 8 bits by `bit_depth.eight_bit`. A picture whose header says more than
    `picture_header.MAX_PIXELS` is refused before it is decoded.

    Args:
        path: The file.
        target: The short side that is needed, in pixels; a JPEG may be decoded smaller as long as it is not below.
            None decodes in full.

    Returns:
        (H, W, 3) uint8.

    Raises:
        PictureError: If the file is missing, empty, truncated, damaged, too large or no picture.
        InputError: If a package that it needs is not installed.
    """
    return PictureFile(path).pixels(target)


class PictureFile:
    """A picture that several want: its file is read once, and decoded once at each scale.

    Raises:
        PictureError: If it cannot be read or is empty.
    """

    def __init__(self, path: str) -> None:
        self._path, self._data = path, read_bytes(path)
        self._decoded: dict[int, Pixels] = {}

    def pixels(self, target: int | None = None) -> Pixels:
        """As `read_image`; not to be changed, because others are given the same array."""
        factor = self.reduction(target)
        if factor not in self._decoded:
            self._decoded[factor] = self._decode(_REDUCED.get(factor, _FULL))
        return self._decoded[factor]

    def reduction(self, target: int | None) -> int:
        """By how much `pixels` reduces the picture, 1, 2, 4 or 8."""
        if target is None or self._data[:2].tobytes() != b"\xff\xd8":
            return 1
        size = picture_size(self._data.data)
        return next((factor for factor in _REDUCED if size and min(size) // factor >= target), 1)

    def _decode(self, flag: int) -> Pixels:
        data, path = self._data, self._path
        if data[:4].tobytes() == b"PK\3\4":
            return eight_bit(read_array(data, path), path)
        if is_dicom(data.data, path):
            return read_dicom(data, path)
        return eight_bit(decode_bytes(data, path, flag), path)


def read_bytes(path: str) -> Pixels:
    """Read a file; through Python, because OpenCV's own reading fails on some non-ASCII paths.

    Raises:
        PictureError: If it cannot be read or is empty.
    """
    try:
        if os.path.getsize(regular(path)) > MAX_PICTURE:
            raise OSError(f"more than {MAX_PICTURE} bytes")
        data = np.fromfile(path, dtype=np.uint8)
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
        check_size(*size, path)
    pixels = None
    # Before libpng sees it: libpng complains on stderr, past every log level.
    if size is not None and (data[:8].tobytes() != PNG or _png_is_sound(view)):
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said below, in one line
        try:
            pixels = cv2.imdecode(data, flag)
        except (cv2.error, MemoryError):
            pass
        finally:
            cv2.utils.logging.setLogLevel(level)
    if pixels is None:
        raise damaged("a picture that can be decoded (JPEG, PNG, TIFF, BMP, WebP, DICOM, NPZ)", data, path)
    return pixels


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
