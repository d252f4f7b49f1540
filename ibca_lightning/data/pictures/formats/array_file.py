"""A picture kept as an array in an NPZ or NPY file."""

import io
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.pictures.header import check_size, damaged
from ibca_lightning.system.errors import PictureError
from ibca_lightning.system.strangers import MAX_PICTURE, require_unpacked


def is_array(data: NDArray[np.uint8]) -> bool:
    """Tell such a file by its first bytes."""
    return data[:4].tobytes() == b"PK\3\4" or _is_npy(data)


def read_array(data: NDArray[np.uint8], path: str, channels: int = 3) -> NDArray[Any]:
    """Read the one array of an NPZ or NPY file, its bytes given, as (H, W, C) of whatever number type the file has.

    Of 3 channels also what has one, which is repeated, or four, of which the first three are taken.

    Raises:
        PictureError: If the file is damaged, holds not exactly one array, or one that is no picture or too large.
    """
    fix = "write one array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) a file, or set data.in_channels"
    own = (1, 3, 4) if channels == 3 else (channels,)
    what = "an array that is a picture"
    if channels != 3:
        what = f"an array of {channels} channel{'s' * (channels > 1)}"
        fix = f"write one array (H, W, {channels}) a file, or set data.in_channels"
    try:
        file: IO[bytes] = io.BytesIO(data.tobytes())
        if not _is_npy(data):
            archive = zipfile.ZipFile(file)
            require_unpacked(archive, MAX_PICTURE)
            names = archive.namelist()
            if len(names) != 1 or not names[0].endswith(".npy"):
                raise PictureError(f"one array at {path}", ", ".join(names[:5]) or "none", fix)
            file = archive.open(names[0])
        shape, kind = array_header(file)
        if kind.kind not in "buif" or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in own)):
            raise PictureError(f"{what} at {path}", f"{kind} of shape {shape}", fix)
        check_size(shape[0], shape[1], path, channels * kind.itemsize)
        file.seek(0)
        pixels = np.lib.format.read_array(file, allow_pickle=False)
    except PictureError:
        raise
    except Exception:  # zipfile, zlib and the parsers of numpy's header raise many kinds over damaged bytes
        raise damaged("an NPZ file that can be read", data, path) from None
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return pixels if channels != 3 else np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def _is_npy(data: NDArray[np.uint8]) -> bool:
    return data[:6].tobytes() == b"\x93NUMPY"


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and number type of the array in an NPY file; what is wrong with it ends in any kind of error."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    return shape, kind
