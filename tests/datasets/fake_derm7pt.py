"""A small Derm7pt: table with levels as words, official row numbers, two photographs a case in mixed folders.

python tests/datasets/fake_derm7pt.py DIR
"""

import csv
import sys
from pathlib import Path

import numpy as np

if __package__:
    from tests.data.drawn_pictures import draw
else:  # run as a script
    from pictures import draw

LEVELS = {
    "pigment_network": ("absent", "typical", "atypical"),
    "streaks": ("absent", "regular", "irregular"),
    "pigmentation": ("absent", "diffuse regular", "localized irregular", "localized regular", "diffuse irregular"),
    "regression_structures": ("absent", "blue areas", "white areas", "combinations"),
    "dots_and_globules": ("absent", "regular", "irregular"),
    "blue_whitish_veil": ("absent", "present"),
    "vascular_structures": (
        *("absent", "arborizing", "dotted", "comma", "linear irregular", "hairpin", "within regression", "wreath"),
    ),
}
DIAGNOSES = ("clark nevus", "melanoma (in situ)", "seborrheic keratosis", "melanoma (less than 0.76 mm)", "melanosis")
SIZES = {"train": 40, "valid": 20, "test": 30}


def write(root: Path, below: str = "") -> None:
    """Write meta/ and images/, the rows of the splits mixed; the last row is in none of them."""
    rng = np.random.default_rng(0)
    root = Path(root) / below
    (root / "meta").mkdir(parents=True)
    count = sum(SIZES.values()) + 1
    table = []
    for row in range(count):
        words = [levels[(row * (at + 1) + row // 7) % len(levels)] for at, levels in enumerate(LEVELS.values())]
        labels = [int(word != "absent") for word in words]
        case = f"{'AN'[row % 2]}{row:02d}"
        derm, clinic = f"{case[:1]}AL/{case}l{row:03d}.jpg", f"NEL/{case}{row:03d}.JPG"
        draw(root / "images" / derm, labels, rng, (48, 64))
        draw(root / "images" / clinic, labels, rng, (48, 64))
        table.append([row + 1, DIAGNOSES[row % 5], row % 8, *words, "female", "", clinic, derm, f"{case}", ""])
    header = ["case_num", "diagnosis", "seven_point_score", *LEVELS, "sex", "management", "clinic", "derm", "case_id"]
    with open(root / "meta/meta.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*header, "notes"], *table])
    order = rng.permutation(count - 1)
    for name, size in SIZES.items():
        rows, order = order[:size], order[size:]
        (root / "meta" / f"{name}_indexes.csv").write_text("indexes\n" + "".join(f"{row}\n" for row in rows))
    (root / "images" / "Thumbs.db").write_bytes(b"left by a file browser")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
