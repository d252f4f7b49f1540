"""A small MedFMC Endo: the release's folders and tables, or the challenge's list files.

python tests/datasets/fake_endo.py DIR [lists]
"""

import csv
import sys
from pathlib import Path

import numpy as np

if __package__:
    from tests.data.drawn_pictures import draw
else:  # run as a script
    from pictures import draw

LABELS = ("ulcer", "erosion", "polyp", "tumor")


def _rows(folder: Path, patients: range, labels: int, name: str, rng: np.random.Generator) -> list[list[object]]:
    rows: list[list[object]] = []
    for patient in patients:
        for shot in range(labels + 1):
            # The last picture of each patient has no label, as 400 of 929 have none in the real Endo.
            present = [int(shot == at) for at in range(labels)]
            picture = name.format(patient=20210622000 + patient, shot=shot)
            draw(folder / picture, present, rng)
            rows.append([picture, *present])
    return rows


def write(
    root: Path,
    image_dir: str = "images",
    part: str = "endo",
    labels: tuple[str, ...] = LABELS,
    name: str = "{patient}_{shot:03d}.png",
    patients: tuple[int, int] = (10, 16),
) -> None:
    """Write MedFMC_train (patients up to the first number) and MedFMC_val (the others), a picture for each label."""
    rng = np.random.default_rng(0)
    first, last = patients
    for half, numbers in (("train", range(first)), ("val", range(first, last))):
        base = Path(root) / f"MedFMC_{half}" / part
        rows = _rows(base / image_dir, numbers, len(labels), name, rng)
        with open(base / f"{part}_{half}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if "_" in name:
                writer.writerow(["img_id", "study_id", *labels])
                writer.writerows([[row[0], str(row[0]).split("_")[0], *row[1:]] for row in rows])
            else:
                writer.writerows([["img_id", *labels], *rows])


def write_lists(root: Path) -> None:
    """Write images/ and train_20.txt, val_20.txt (which share patients), test_WithLabel.txt (no tumor)."""
    root = Path(root)
    rng = np.random.default_rng(0)
    kind = (len(LABELS), "{patient}_{shot:03d}.png", rng)
    rows = _rows(root / "images", range(10), *kind)
    test = [[*row[:4], 0] for row in _rows(root / "images", range(10, 14), *kind)]
    parts = {"train_20": rows[0::2], "val_20": rows[1::2], "test_WithLabel": test}
    for name, part in parts.items():
        mark = "," if name == "test_WithLabel" else " "
        (root / f"{name}.txt").write_text("".join(mark.join(map(str, row)) + "\n" for row in part))


if __name__ == "__main__":
    (write_lists if sys.argv[2:] == ["lists"] else write)(Path(sys.argv[1]))
