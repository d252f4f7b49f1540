"""A small data set of the layout of the IDRiD tiles: flat images/ and masks/, three tables, tiles grouped by source.

python tests/datasets/fake_idrid_tiles.py DIR
"""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np

if __package__:
    from tests.data.drawn_pictures import draw
else:  # run as a script
    from pictures import draw

LABELS = ("MA", "HE", "EX", "SE")


def write(root: Path, sources: int = 3) -> None:
    """Write train.csv, val.csv and test.csv of `sources` pictures each, eight square tiles a picture."""
    rng = np.random.default_rng(0)
    root = Path(root)
    (root / "masks").mkdir(parents=True)
    for part, split in enumerate(("train", "val", "test")):
        table = []
        for source in range(part * sources, (part + 1) * sources):
            for tile in range(8):
                labels = [int(tile % 4 == at or rng.random() < 0.2) for at in range(4)] if tile < 6 else [0] * 4
                name = f"IDRiD_{source + 1:02d}_r{tile // 4}c{tile % 4}"
                mask = draw(root / "images" / f"{name}.jpg", labels, rng, (64, 64))
                cv2.imwrite(str(root / "masks" / f"{name}.png"), mask)
                table.append([f"{name}.jpg", f"IDRiD_{source + 1:02d}", *labels])
        with (root / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["image", "source", *LABELS], *table])
    (root / "README.md").write_text("not in any table")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
