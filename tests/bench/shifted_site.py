"""A second site made of the first: every other training photograph, and a copy of every test tile, changed alike.

    python -m tests.bench.shifted_site DIR data/shifted     # DIR: tiles as `idrid_tiles.yaml` reads them

Gamma 1.5, another colour, and blur; the column `site` is A, or B where a picture was changed. Validation is A.
"""

import csv
import random
import sys
from pathlib import Path

import cv2
import numpy as np


def main(source: Path, target: Path) -> None:
    """Write tables and pictures; those that are not changed are linked."""
    (target / "images").mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        header, *rows = csv.reader((source / f"{split}.csv").open(encoding="utf-8"))
        photographs = sorted({row[1] for row in rows})
        random.Random(0).shuffle(photographs)
        changed = set(photographs[::2])
        made = [[*header[:2], "site", *header[2:]]]
        for name, photograph, *labels in rows:
            sites = {"train": "B" if photograph in changed else "A", "val": "A", "test": "AB"}[split]
            for site in sites:
                picture = name if site == "A" else f"changed_{name}"
                _write(source / "images" / name, target / "images" / picture, site == "B")
                made.append([picture, photograph, site, *labels])
        with (target / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(made)


def _write(source: Path, target: Path, change: bool) -> None:
    if target.exists():
        return
    if not change:
        target.symlink_to(source.resolve())
        return
    light = (cv2.imread(str(source)) / 255.0) ** 1.5 * np.array([0.7, 0.9, 1.2])
    blurred = cv2.GaussianBlur(light, (0, 0), 2.0).clip(0, 1) * 255
    cv2.imwrite(str(target), blurred.round().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
