"""A small MedFMC Endo: the release's folders and tables, or the challenge's list files.

python tests/data/fake_endo.py DIR [lists]
"""

import csv
import sys
from pathlib import Path

import numpy as np

if __package__:
    from tests.data.pictures import draw
else:  # run as a script
    from pictures import draw

LABELS = ("ulcer", "erosion", "polyp", "tumor")


def _rows(folder: Path, patients: range, rng: np.random.Generator) -> list[list[object]]:
    rows: list[list[object]] = []
    for patient in patients:
        for shot in range(5):
            # The fifth picture of each patient has no label, as 400 of 929 have none in the real one.
            labels = [int(shot == at) for at in range(4)]
            name = f"{20210622000 + patient}_{shot:03d}.png"
            draw(folder / name, labels, rng)
            rows.append([name, *labels])
    return rows


def write(root: Path, image_dir: str = "images") -> None:
    """Write MedFMC_train (10 patients) and MedFMC_val (6), five pictures a patient."""
    rng = np.random.default_rng(0)
    for part, patients in (("train", range(10)), ("val", range(10, 16))):
        base = Path(root) / f"MedFMC_{part}" / "endo"
        rows = _rows(base / image_dir, patients, rng)
        with open(base / f"endo_{part}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["img_id", "study_id", *LABELS])
            writer.writerows([[name, str(name).split("_")[0], *labels] for name, *labels in rows])


def write_lists(root: Path) -> None:
    """Write images/ and train_20.txt, val_20.txt (which share patients), test_WithLabel.txt (no tumor)."""
    root = Path(root)
    rng = np.random.default_rng(0)
    rows = _rows(root / "images", range(10), rng)
    test = [[*row[:4], 0] for row in _rows(root / "images", range(10, 14), rng)]
    parts = {"train_20": rows[0::2], "val_20": rows[1::2], "test_WithLabel": test}
    for name, part in parts.items():
        mark = "," if name == "test_WithLabel" else " "
        (root / f"{name}.txt").write_text("".join(mark.join(map(str, row)) + "\n" for row in part))


if __name__ == "__main__":
    (write_lists if sys.argv[2:] == ["lists"] else write)(Path(sys.argv[1]))
