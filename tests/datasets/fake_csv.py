"""A small data set for CSVDataModule: nested pictures of several kinds, masks, patients, sex, unknown labels.

python tests/datasets/fake_csv.py DIR
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

LABELS = ("A", "B", "C")


def write(root: Path, rows: int = 60, seed: int = 0) -> None:
    """Write images/, masks/, {train,val,test}.csv (3:1:1, by patient) and all.csv; five pictures a patient."""
    rng = np.random.default_rng(seed)
    root = Path(root)
    table = []
    for row in range(rows):
        patient = f"{row // 5:04d}"
        # Every patient shows every class once, so that every split does.
        labels = [int(row % 5 == at or rng.random() < 0.2) for at in range(len(LABELS))]
        name = f"{'a' if row % 2 else 'b c'}/{patient}_{row:03d}{('.png', '.jpg', '.tif')[row % 3]}"
        mask = draw(root / "images" / name, labels, rng)
        path = (root / "masks" / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), mask | 16)  # a further bit, which is no label
        written = [str(label) for label in labels]
        if row % 5 == 4:
            at = row // 5 % len(LABELS)
            written[at] = ("", "-1", "NaN", f"{labels[at]}.0")[row // 5 % 4]
        table.append([name, patient, "FM"[row // 5 % 2], str(20 + row // 5), *written])
    (root / "images" / "notes.txt").write_text("not in any table")
    cut = [rows // 5 * 3 // 5 * 5, rows // 5 * 4 // 5 * 5]
    parts = {"all": table, "train": table[: cut[0]], "val": table[cut[0] : cut[1]], "test": table[cut[1] :]}
    for name, part in parts.items():
        with open(root / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["image", "patient", "sex", "age", *LABELS], *part])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
