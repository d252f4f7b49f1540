"""A picture kept as an array in an NPZ file."""

import io
import zipfile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.pictures.header import check_size, damaged
from ibca_lightning.system.errors import PictureError
from ibca_lightning.system.strangers import MAX_PICTURE, require_unpacked


def read_array(data: NDArray[np.uint8], path: str) -> NDArray[Any]:
    """Read the one array of an NPZ file, its bytes given, as (H, W, 3) of whatever number type the file has.

    Raises:
        PictureError: If the file is damaged, holds not exactly one array, or one that is no picture or too large.
    """
    fix = "write one array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) a file with numpy.savez_compressed"
    try:
        with zipfile.ZipFile(io.BytesIO(data.tobytes())) as archive:
            require_unpacked(archive, MAX_PICTURE)
            names = archive.namelist()
            if len(names) != 1 or not names[0].endswith(".npy"):
                raise PictureError(f"one array at {path}", ", ".join(names[:5]) or "none", fix)
            with archive.open(names[0]) as file:
                shape, kind = _header(file)
            if kind.kind not in "buif" or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))):
                raise PictureError(f"an array that is a picture at {path}", f"{kind} of shape {shape}", fix)
            check_size(shape[0], shape[1], path, 3 * kind.itemsize)
            with archive.open(names[0]) as file:
                pixels = np.lib.format.read_array(file, allow_pickle=False)
    except PictureError:
        raise
    except Exception:  # zipfile, zlib and the parsers of numpy's header raise many kinds over damaged bytes
        raise damaged("an NPZ file that can be read", data, path) from None
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def _header(file: "BinaryIO | Any") -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    return shape, kind
