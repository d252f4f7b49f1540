"""A DICOM picture as a radiologist's screen shows it; the only file that knows pydicom, the extra `dicom`."""

from __future__ import annotations

import io
import math
import re
import warnings
import zlib
from collections.abc import Callable, MutableSequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.pictures.bit_depth import Stored, eight_bit, in_strips
from ibca_lightning.data.pictures.header import check_size, damaged
from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.system.strangers import MAX_PICTURE, inflates_beyond

if TYPE_CHECKING:
    from pydicom import Dataset


_READS = 2**18  # of a file: each element takes one to three, and 300 bytes of Python
_LONGEST = 2**20  # bytes of an element that is no picture: a table of 16 bits has an eighth of that
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
# Groups 2 and 8 with the elements that come first in them: a file without preamble, in the usual byte order.
_BARE = re.compile(rb"\x02\0[\0\1]\0|\x08\0[\0\1\5\x08\x12-\x18]\0")


def is_dicom(data: memoryview, path: str = "") -> bool:
    """Tell a DICOM file by its mark or first element; an old one that has neither by its name."""
    marked = bytes(data[128:132]) == b"DICM" or _BARE.match(bytes(data[:4])) is not None
    return marked or path.lower().endswith((".dcm", ".dicom"))


def read_dicom(data: NDArray[np.uint8], path: str) -> Stored:
    """Read a DICOM file of one frame, its bytes given.

    Gray values go through the rescale slope and intercept (or the modality table), then through the first window of the
    header that is one (linear, exact or sigmoid, PS3.3 C.11.2.1.2), or its VOI table where there is no window. Without
    either the range of BitsStored runs from black to white. Sixteen bits are what a header says that does not know:
    then CT numbers run from -1024 to 3071, those of 12 bits, of other pictures `bit_depth.eight_bit` decides, and
    signed values that go below 0 run from the least to the largest. Padding is
    no part of the range and becomes black. MONOCHROME1 is inverted. Colour becomes RGB.

    Raises:
        PictureError: If the file is damaged, holds no picture, several frames, or too large a one.
        InputError: If pydicom, or what it needs for the file's compression, is not installed.
    """
    try:
        import pydicom
    except ImportError:
        fix = "install it: pip install 'ibca-lightning[dicom]'"
        raise InputError(f"pydicom, to read {path}", "no such package", fix) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the file
            with _Measured(data.tobytes()) as file:
                header = pydicom.dcmread(file, force=True)
            _shorten(header)
            return _pixels(header, path)
    except InputError:
        raise
    except Exception:  # pydicom raises many kinds over damaged bytes
        raise damaged("a DICOM picture that can be decoded", data, path) from None


class _Measured(io.BytesIO):
    """A file that pydicom reads element by element, and whole only where the rest is deflated; it knows no bound."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        self._reads += 1
        if self._reads > _READS:
            raise PictureError("a DICOM header of a usual length", "hundreds of thousands of elements", "write it anew")
        data = super().read(size)
        if size is None or size < 0:
            if inflates_beyond(data, MAX_PICTURE):
                got = "a larger one, packed"
                raise PictureError(f"a DICOM picture of at most {MAX_PICTURE} bytes", got, "shrink it")
            from pydicom.filereader import read_dataset

            with suppress(EOFError):  # as pydicom, which unpacks it again, into a file that counts nothing
                read_dataset(_Measured(zlib.decompress(data, -zlib.MAX_WBITS)), False, True)
        return data


def _shorten(header: Dataset) -> None:
    """Leave out what is no picture and far too long: read as numbers or items it would take a hundred times more."""
    for tag in list(header.keys()):
        element: Any = header.get_item(tag)  # not yet made into what it stands for
        if isinstance(element.value, bytes | str):
            if len(element.value) > _LONGEST and tag not in _PIXELS:
                del header[tag]
        elif element.VR == "SQ":
            for item in element.value or ():
                _shorten(item)


def _pixels(header: Dataset, path: str) -> Stored:
    photometric = _complete(header, path)
    height, width = int(header.Rows), int(header.Columns)
    frames = int(header.get("NumberOfFrames") or 1)
    check_size(height, width, path, max(int(header.SamplesPerPixel) * int(header.BitsAllocated) // 8, 1))
    if frames != 1:
        raise PictureError(f"one frame at {path}", frames, "write each frame as a picture of its own")
    if "TransferSyntaxUID" not in header.file_meta:  # a file without meta: pydicom has seen how it is written
        from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

        implicit, little = header.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    if photometric.startswith(("MONOCHROME", "RGB")):
        header.pixel_array_options(correct_unused_bits=False)  # `_of_bits` does
    try:
        pixels = header.pixel_array
    except (ImportError, RuntimeError, NotImplementedError) as error:
        syntax = header.file_meta.get("TransferSyntaxUID")
        lacking = "plugin" in str(error) or "missing" in str(error) or isinstance(error, NotImplementedError)
        # The same is said of pixels that are not compressed, but cut or mislabelled.
        if lacking and syntax is not None and re.search("MPEG|HEVC", syntax.name):
            got, fix = f"a video ({syntax.name})", "write its frames as pictures"
            raise PictureError(f"a picture at {path}", got, fix) from None
        if lacking and syntax is not None and syntax.is_transfer_syntax and syntax.is_compressed:
            fix = "pip install 'pylibjpeg[all]' or uncompress the files"
            raise InputError(f"a decoder for the compression of {path}", syntax.name, fix) from None
        raise
    bits, single = int(header.BitsStored), photometric.startswith(("MONOCHROME", "PALETTE"))
    if pixels.shape not in ([(height, width)] if single else [(height, width, 3), (height, width, 4)]):
        raise PictureError(f"{height} x {width} pixels at {path}", f"an array {pixels.shape}", "write it anew")
    if photometric.startswith(("MONOCHROME", "RGB")):
        pixels, padding, bits = _of_bits(header, pixels, path)
    if photometric.startswith("MONOCHROME"):
        if padding is not None:
            pixels = np.where(padding, pixels.min(initial=pixels.max(), where=~padding), pixels)
        return Stored(_gray(header, pixels, bits), photometric == "MONOCHROME1", padding)
    if photometric.startswith("PALETTE"):
        from pydicom.pixels.processing import apply_color_lut

        bits = int(header.RedPaletteColorLookupTableDescriptor[2])
        _require_palette(header, bits, path)
        pixels = apply_color_lut(pixels, header)
    pixels = pixels[..., :3]
    return Stored(pixels if bits >= 16 else eight_bit(pixels, path, max(bits, 8)))


def _complete(header: Dataset, path: str) -> str:
    """Fill in what can be nothing else, refuse a header that lacks more; return what its colours mean."""
    kinds = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    needed = ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")
    absent = [name for name in needed if header.get(name) in (None, "")]
    absent += [kinds[0]] if not any(kind in header for kind in kinds) else []
    if absent and "SOPClassUID" in header:
        got = f"a header without {', '.join(absent)}: no picture, or a part of one"
        raise PictureError(f"a DICOM picture at {path}", got, "restore the file or remove its row")
    photometric = header.PhotometricInterpretation = str(header.PhotometricInterpretation).strip().upper()
    if not photometric.startswith(("MONOCHROME", "PALETTE", "RGB", "YBR")):
        what = f"a DICOM picture in gray, RGB or YBR, or with a palette, at {path}"
        raise PictureError(what, photometric, "convert it, or remove its row")
    single = photometric.startswith(("MONOCHROME", "PALETTE"))
    header.SamplesPerPixel = header.get("SamplesPerPixel") or (1 if single else 3)
    if header.SamplesPerPixel > 1:
        header.PlanarConfiguration = header.get("PlanarConfiguration") or 0
    header.PixelRepresentation = header.get("PixelRepresentation") or 0
    for groups in ("Shared", "PerFrame"):  # an enhanced file says of its one frame there what others say above
        for group in (header.get(f"{groups}FunctionalGroupsSequence") or [])[:1]:
            for macro in ("FrameVOILUTSequence", "PixelValueTransformationSequence"):
                for item in (group.get(macro) or [])[:1]:
                    header.update({element.tag: element for element in item})
    if not 0 < int(header.get("BitsStored") or 0) <= header.BitsAllocated:
        header.BitsStored = header.BitsAllocated
    return photometric


def _require_palette(header: Dataset, bits: int, path: str) -> None:
    """Refuse a palette in segments that say to be more than its entries, or are others again: a few may be billions."""
    number = "u1" if bits == 8 else "<u2" if header.file_meta.TransferSyntaxUID.is_little_endian else ">u2"
    for colour in ("Red", "Green", "Blue", "Alpha"):
        data = header.get(f"Segmented{colour}PaletteColorLookupTableData") or b""
        words, at, entries = np.frombuffer(data[: len(data) // 2 * 2], number).tolist(), 0, 0
        while at + 1 < len(words):
            segment, count = words[at : at + 2]
            at, entries = at + 2 + (count if segment == 0 else 1), entries + count
            if segment > 1 or entries > 2**16:
                got = f"segments of {entries} or more"
                raise PictureError(f"a palette of at most {2**16} colours at {path}", got, "write it anew")


def _of_bits(header: Dataset, stored: NDArray[Any], path: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None, int]:
    """The values, where there is padding, and the bits: those of the header, or all where values need them.

    Bits above BitsStored may be a sign, an overlay, or anything; pydicom would clear them. Some files hold values
    there, which then wrap round. Their neighbours tell: values lie near each other, marks do not. HighBit says where
    the bits are, as old files have them on the left; pydicom does not look at it.

    Raises:
        PictureError: If nobody can say what stands above BitsStored.
    """
    bits = int(header.BitsStored)
    allocated = int(header.BitsAllocated)
    beyond = allocated - bits
    if stored.dtype.kind not in "iu" or beyond <= 0:
        return stored, _padding(header, stored, stored), bits
    below = int(header.get("HighBit") or 0) + 1 - bits
    left = 0 < below <= beyond and not (stored & (2**below - 1)).any()  # where those below hold something, it errs
    values = stored >> below if left else (stored << beyond) >> beyond
    padding = _padding(header, values, stored)
    wraps = np.zeros_like(stored, bool) if left else values != stored
    if padding is not None:
        wraps &= ~padding
    overlays = any(header[tag].value for tag in list(header.keys()) if tag >> 24 == 0x60 and tag & 0xFFFF == 0x0102)
    if overlays or not wraps.any():
        return values, padding, bits
    jumps, others = _jumps(stored, wraps), _jumps(values, wraps)
    if not jumps and not others:  # all wrap alike: one mark on every pixel
        return values, padding, bits
    if jumps <= others:
        return stored, _padding(header, stored, stored), allocated
    if others <= jumps / 2:
        return values, padding, bits
    got = f"{bits}, and values of more bits"
    raise PictureError(f"BitsStored of the values at {path}", got, "write it with BitsStored as BitsAllocated")


def _jumps(values: NDArray[Any], wraps: NDArray[np.bool_]) -> int:
    """The differences, summed, of neighbours of which one wraps."""
    wide = values.astype(np.int32 if values.itemsize < 4 else np.int64)
    return sum(int(np.abs(np.diff(wide, axis=axis))[np.diff(wraps, axis=axis)].sum(dtype=np.int64)) for axis in (0, 1))


def _padding(header: Dataset, pixels: NDArray[Any], stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """(H, W) where the header says that there is no picture; None where it does not, or that were everywhere."""
    ends = [*_numbers(header, "PixelPaddingValue")[:1], *_numbers(header, "PixelPaddingRangeLimit")[:1]]
    if not ends or not np.isfinite(ends).all() or pixels.dtype.kind not in "iu":
        return None
    # Written as signed beside pixels that are not, or the other way round.
    least, largest = np.sort(np.array(ends).astype(np.int64).astype(pixels.dtype))[[0, -1]]
    bits = int(header.BitsStored)
    floor = -(2 ** (bits - 1)) if pixels.dtype.kind == "i" else 0
    within = floor <= least <= largest < floor + 2**bits
    where = pixels if within else stored  # with the bits beyond BitsStored
    padding: NDArray[np.bool_] = (where >= least) & (where <= largest)
    return padding if padding.any() and not padding.all() else None


def _gray(header: Dataset, pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Gray values before any inversion: 0-255, or whole numbers of which nobody knows where white is."""
    slope, intercept = [*_numbers(header, "RescaleSlope"), 1.0][0], [*_numbers(header, "RescaleIntercept"), 0.0][0]
    if not math.isfinite(slope) or slope == 0 or not math.isfinite(intercept):  # a line that is none
        slope, intercept = 1.0, 0.0
    modality, voi = (_lookup(header, f"{name}LUTSequence") for name in ("Modality", "VOI"))

    def of(some: NDArray[Any]) -> NDArray[Any]:
        return modality.of(some) if modality else some * slope + intercept

    function = str(header.get("VOILUTFunction") or "LINEAR").strip().upper()
    windows = zip(_numbers(header, "WindowCenter"), _numbers(header, "WindowWidth"), strict=False)
    least = 1.0 if function == "LINEAR" else 0.0
    for window in windows:
        if all(map(math.isfinite, window)) and window[1] > 0 and window[1] >= least:
            return in_strips(pixels, partial(_windowed, of, *window, function))
    if voi:
        return in_strips(pixels, lambda some: _scaled(voi.of(of(some)) / (2**voi.bits - 1)))
    values, lowest, rising = pixels, 0, True
    if modality:
        values, bits = in_strips(pixels, modality.of), modality.bits
    else:  # a line keeps the range that is stored
        rising = slope > 0
        lowest = -(2 ** (bits - 1)) if header.get("PixelRepresentation") == 1 else 0
    if 8 <= bits < 16 and rising and not lowest:
        return eight_bit(values, "", bits)
    if bits < 16:

        def shares(some: NDArray[Any]) -> NDArray[np.uint8]:
            share = (some.astype(np.float64) - lowest) / (2**bits - 1)
            return _scaled(share if rising else 1 - share)

        return in_strips(values, shares)
    if not modality and _holds_ct_numbers(header):
        return in_strips(values, lambda some: _scaled((of(some) + 1024) / 4095))
    if rising and values.min() >= 0:
        return values
    ends, onto = (values.min(), values.max()), (0, 1) if rising else (1, 0)
    return in_strips(values, lambda some: _scaled(np.interp(some, ends, onto)))


def _holds_ct_numbers(header: Dataset) -> bool:
    """Whether values are Hounsfield's: of a CT, whose zero the header places, or which can be below it."""
    said = header.get("RescaleType") == "HU" or header.get("Modality") == "CT"
    return said and (header.PixelRepresentation == 1 or "RescaleIntercept" in header)


class _Lookup(NamedTuple):
    """A table of values, the value that its first entry stands for, and the bits of an entry."""

    entries: NDArray[np.int32]
    first: int
    bits: int

    def of(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """What stands in the table for values; before and behind it its ends."""
        return self.entries[np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)]


def _lookup(header: Dataset, name: str) -> _Lookup | None:
    """Read a lookup table; pydicom's own way counts in 8 bits where the entries have 8. None where there is none."""
    item = (header.get(name) or [{}])[0]
    if "LUTDescriptor" not in item or "LUTData" not in item:
        return None
    number, first, bits = map(int, item.LUTDescriptor)
    number, data = number or 2**16, item.LUTData
    if isinstance(data, bytes):  # entries of 8 bits have a byte each, or two
        order = "<" if header.file_meta.TransferSyntaxUID.is_little_endian else ">"
        data = np.frombuffer(data, np.uint8 if len(data) <= number + 1 else f"{order}u2")
    entries = np.asarray(data, np.int32)[:number]
    if len(entries) < number or not 8 <= bits <= 16:
        raise ValueError("a table that is cut, or none")  # read_dicom says so
    return _Lookup(entries, first, bits)


def _windowed(
    of: Callable[[NDArray[Any]], NDArray[Any]], centre: float, width: float, function: str, pixels: NDArray[Any]
) -> NDArray[np.uint8]:
    """What a window shows of some pixels, which stand for values."""
    x = of(pixels).astype(np.float64)
    if function == "SIGMOID":
        share = 1 / (1 + np.exp(np.clip(-4 * (x - centre) / max(width, 1e-9), -700, 700)))
    elif function == "LINEAR_EXACT":
        share = (x - centre) / max(width, 1e-9) + 0.5
    else:
        share = (x - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    return _scaled(share)


def _scaled(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    bytes_: NDArray[np.uint8] = (np.clip(share, 0, 1) * 255).round().astype(np.uint8)
    return bytes_


def _numbers(header: Dataset, name: str) -> list[float]:
    """One number or several; none where the header has none, or something else."""
    try:
        value: Any = header.get(name)
        return [float(number) for number in (value or [] if isinstance(value, MutableSequence) else [value])]
    except (TypeError, ValueError, OverflowError):
        return []
