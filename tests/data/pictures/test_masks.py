"""What a mask may be: bits, of which none is lost or found."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from ibca_lightning.data.pictures.masks import read_mask
from ibca_lightning.system.errors import PictureError

LESION = np.zeros((8, 16), np.uint8)
LESION[2:5, 3:9] = 1


def png(pixels: np.ndarray, depth: int) -> bytes:
    """A gray PNG of some bits, which neither OpenCV nor Pillow writes of 2 and 4."""
    bits = (pixels[..., None] >> np.arange(depth - 1, -1, -1) & 1).astype(np.uint8)
    rows = np.packbits(bits.reshape(len(pixels), -1), axis=1)
    parts = [
        (b"IHDR", b"".join(side.to_bytes(4) for side in pixels.shape[::-1]) + bytes([depth, 0, 0, 0, 0])),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))), (b"IEND", b""),
    ]  # fmt: skip
    chunks = [len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("depth", [1, 8])
def test_a_mask_of_1_or_8_bits_is_its_values(tmp_path: Path, depth: int) -> None:
    (tmp_path / "m.png").write_bytes(png(LESION, depth))
    assert np.array_equal(read_mask(str(tmp_path / "m.png")), LESION)


@pytest.mark.parametrize("depth", [2, 4])
def test_masks_of_2_and_4_bits_are_refused(tmp_path: Path, depth: int) -> None:
    (tmp_path / "m.png").write_bytes(png(LESION, depth))
    with pytest.raises(PictureError, match=rf"a PNG of 8 bits at .*m\.png, got one of {depth}; write it with 8 bits"):
        read_mask(str(tmp_path / "m.png"))


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".webp", "WebP"), (".tif", "TIFF"), (".bmp", "BMP")])
def test_a_mask_of_another_kind_called_png_is_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    (tmp_path / "m.png").write_bytes(cv2.imencode(suffix, LESION)[1].tobytes())
    with pytest.raises(PictureError, match=rf"m\.png, got a {kind} file; write it again as PNG"):
        read_mask(str(tmp_path / "m.png"))
