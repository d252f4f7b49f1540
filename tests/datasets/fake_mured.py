"""A small MuReD: its file names, odd ids, mixed kinds, nested folder, pictures that no table names.

python tests/datasets/fake_mured.py DIR
"""

import csv
import sys
from pathlib import Path

import numpy as np

if __package__:
    from tests.data.drawn_pictures import draw
else:  # run as a script
    from pictures import draw

HEADER = (
    *("ID", "DR", "NORMAL", "MH", "ODC", "TSLN", "ARMD", "DN", "MYA", "BRVO", "ODP"),
    *("CRVO", "CNV", "RS", "ODE", "LS", "CSR", "HTR", "ASR", "CRS", "OTHER"),
)


def write(root: Path, train: int = 80, val: int = 40, nested: bool = True, val_name: str = "val_data.csv") -> None:
    """Write train_data.csv, val_data.csv and images/images/ (images/ unless nested); classes take turns."""
    rng = np.random.default_rng(0)
    root = Path(root)
    folder = root / "images" / "images" if nested else root / "images"
    for name, count, start in (("train_data.csv", train, 0), (val_name, val, train)):
        table = []
        for row in range(start, start + count):
            ident = (f"{row:04d}", f"im{row:04d}", f"({row:04d})aria_d_{row % 30}")[row % 3]
            labels = [int(row % 20 == at or (row + 7) % 20 == at) for at in range(20)]
            draw(folder / f"{ident}{('.png', '.png', '.tif', '.jpg')[row % 4]}", labels, rng, (50 + row % 20, 70))
            table.append([ident, *labels])
        with open(root / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *table])
    draw(folder / "unlisted.png", [], rng)
    (folder / "._im0001.png").write_bytes(b"left by another file system")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
