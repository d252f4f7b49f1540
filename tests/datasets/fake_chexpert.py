"""A small CheXpert: paths that begin with the name of the release, two views, blank, certain and uncertain labels.

python tests/datasets/fake_chexpert.py DIR
"""

import csv
import sys
from pathlib import Path

import numpy as np

if __package__:
    from tests.data.drawn_pictures import draw
else:  # run as a script
    from pictures import draw

LABELS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)


def write(root: Path, inside: str = "") -> None:
    """Write train.csv (60 patients, a frontal and a lateral picture each) and valid.csv (28, labelled throughout)."""
    rng = np.random.default_rng(0)
    base = Path(root) / inside
    for split, first, count in (("train", 1, 60), ("valid", 64541, 28)):
        table = []
        for patient in range(first, first + count):
            # Label by label the patient's own, then the next uncertain, then one negated; the rest is not mentioned.
            cells = ["" if split == "train" else "0.0"] * len(LABELS)
            cells[patient % 14] = "1.0"
            if split == "train":
                cells[(patient + 1) % 14], cells[(patient + 2) % 14] = "-1.0", "0.0"
            for view in ("frontal", "lateral"):
                name = f"{split}/patient{patient:05d}/study1/view{1 + (view == 'lateral')}_{view}.jpg"
                draw(base / name, [int(cell == "1.0") for cell in cells], rng)
                side = "AP" if view == "frontal" else ""
                sex = "Female" if patient % 2 else "Male"
                table.append([f"CheXpert-v1.0-small/{name}", sex, 68, view.capitalize(), side, *cells])
        with (base / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS], *table])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
