"""A DICOM picture as a radiologist's screen shows it; the only file that knows pydicom, the extra `dicom`."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.pictures.bit_depth import eight_bit
from ibca_lightning.data.pictures.header import check_size, damaged
from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.system.strangers import MAX_PICTURE, inflates_beyond

if TYPE_CHECKING:
    from pydicom import Dataset


def is_dicom(data: memoryview, path: str) -> bool:
    """Tell a DICOM file by its mark, or, where an old file has none, by its name."""
    return bytes(data[128:132]) == b"DICM" or path.lower().endswith((".dcm", ".dicom"))


def read_dicom(data: NDArray[np.uint8], path: str) -> NDArray[np.uint8]:
    """Read a DICOM file of one frame, its bytes given, as (H, W, 3).

    Gray values go through the rescale slope and intercept (or the modality table), then through the first window of the
    header (linear, exact or sigmoid, PS3.3 C.11.2.1.2), or its VOI table where there is no window. Without either,
    unsigned values follow `bit_depth.eight_bit`, and signed or rescaled ones that go below 0 run from the least to the
    largest value that is no padding. MONOCHROME1 is inverted. Colour becomes RGB.

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
        return _pixels(pydicom.dcmread(_Bounded(data.tobytes()), force=True), path)
    except InputError:
        raise
    except Exception:  # pydicom raises many kinds over damaged bytes
        raise damaged("a DICOM picture that can be decoded", data, path) from None


class _Bounded(io.BytesIO):
    """A file of which pydicom reads the whole rest only where that is deflated, and unpacks it without a bound."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        data = super().read(size)
        if (size is None or size < 0) and inflates_beyond(data, MAX_PICTURE):
            raise PictureError(f"a DICOM picture of at most {MAX_PICTURE} bytes", "a larger one, packed", "shrink it")
        return data


def _pixels(header: Dataset, path: str) -> NDArray[np.uint8]:
    height, width, photometric = int(header.Rows), int(header.Columns), str(header.PhotometricInterpretation)
    frames = int(header.get("NumberOfFrames") or 1)
    check_size(height, width, path)
    if frames != 1:
        raise PictureError(f"one frame at {path}", frames, "write each frame as a picture of its own")
    try:
        pixels = header.pixel_array
    except (ImportError, RuntimeError, NotImplementedError) as error:
        syntax = header.file_meta.get("TransferSyntaxUID")
        lacking = "plugin" in str(error) or "missing" in str(error) or isinstance(error, NotImplementedError)
        # The same is said of pixels that are not compressed, but cut or mislabelled.
        if lacking and syntax is not None and syntax.is_transfer_syntax and syntax.is_compressed:
            fix = "pip install 'pylibjpeg[all]' or uncompress the files"
            raise InputError(f"a decoder for the compression of {path}", syntax.name, fix) from None
        raise
    if photometric.startswith("MONOCHROME"):
        gray = _shown(header, pixels, path)
        gray = 255 - gray if photometric == "MONOCHROME1" else gray
        return np.repeat(gray[..., None], 3, axis=2)
    if photometric.startswith("PALETTE"):
        from pydicom.pixels.processing import apply_color_lut

        pixels = apply_color_lut(pixels, header)
    return eight_bit(pixels[..., :3], path)


def _shown(header: Dataset, pixels: NDArray[Any], path: str) -> NDArray[np.uint8]:
    """Gray values as 0-255, before any inversion."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    values = np.asarray(apply_modality_lut(pixels, header))
    centres, widths = _numbers(header.get("WindowCenter")), _numbers(header.get("WindowWidth"))
    if centres and widths:
        return _windowed(values, centres[0], widths[0], str(header.get("VOILUTFunction") or "LINEAR"))
    if "VOILUTSequence" in header:
        bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
        looked_up = np.asarray(apply_voi(values.astype(np.int64), header), dtype=np.float64)
        return _scaled(looked_up / (2**bits - 1))
    if values.min() >= 0 and np.array_equal(values, values.astype(np.uint16)):
        return eight_bit(values.astype(np.uint16), path)
    padding = header.get("PixelPaddingValue")
    used = values[pixels != int(padding)] if padding is not None else values
    used = used if used.size else values
    least, largest = float(used.min()), float(used.max())
    return _scaled((values.astype(np.float64) - least) / max(largest - least, 1e-9))


def _windowed(values: NDArray[Any], centre: float, width: float, function: str) -> NDArray[np.uint8]:
    x = values.astype(np.float64)
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


def _numbers(value: Any) -> list[float]:
    """One number or several, as floats; none where the header has none."""
    if value is None or value == "":
        return []
    return [float(number) for number in (value if hasattr(value, "__iter__") else [value])]
