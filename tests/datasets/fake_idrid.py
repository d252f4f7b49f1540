"""A small IDRiD, part A: 81 photographs, masks of five kinds as TIFF with 0 and 76, some of them absent.

python tests/datasets/fake_idrid.py DIR
"""

import sys
from pathlib import Path

import cv2
import numpy as np

SIZE = (89, 134)  # a 32nd of 2848 x 4288
MASKS = {
    "MA": "1. Microaneurysms",
    "HE": "2. Haemorrhages",
    "EX": "3. Hard Exudates",
    "SE": "4. Soft Exudates",
    "OD": "5. Optic Disc",
}


def write(root: Path, below: str = "A. Segmentation") -> None:
    """Write the photographs: a lit disc cut off at the top and bottom, with a square of 5 pixels for each lesion."""
    rng = np.random.default_rng(0)
    base = Path(root) / below
    rows, columns = np.indices(SIZE)
    disc = (rows - 44) ** 2 + (columns - 62) ** 2 < 53**2
    for part, numbers in (("a. Training Set", range(1, 55)), ("b. Testing Set", range(55, 82))):
        images = base / "1. Original Images" / part
        images.mkdir(parents=True)
        folders = {short: base / "2. All Segmentation Groundtruths" / part / name for short, name in MASKS.items()}
        for folder in folders.values():
            folder.mkdir(parents=True)
        for number in numbers:
            image = rng.integers(60, 100, (*SIZE, 3), dtype=np.uint8) * disc[..., None].astype(np.uint8)
            for at, short in enumerate(MASKS):
                if (number + at) % 3 == 0 and short != "MA":  # no such lesion: no such file
                    continue
                mask = np.zeros(SIZE, np.uint8)
                top, left = rng.integers(5, 80), rng.integers(30, 90)
                mask[top : top + 5, left : left + 5] = 76
                image[mask > 0] = (40, 80 + 30 * at, 220)
                cv2.imwrite(str(folders[short] / f"IDRiD_{number:02d}_{short}.tif"), mask)
            cv2.imwrite(str(images / f"IDRiD_{number:02d}.jpg"), image)
        (images / "Thumbs.db").write_bytes(b"left by a file browser")
    (base / "LICENSE.txt").write_text("CC BY 4.0")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
