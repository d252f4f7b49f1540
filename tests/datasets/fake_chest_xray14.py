"""A small ChestX-ray14: pictures over twelve folders, several of a patient, labels joined by bars, the official lists.

python tests/datasets/fake_chest_xray14.py DIR
"""

import sys
from pathlib import Path

import cv2
import numpy as np

LABELS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
)
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


def write(root: Path, flat: bool = False, file: str = "Data_Entry_2017.csv") -> None:
    """Write 60 patients with two pictures each, a third of them test; patient p shows finding p and another one."""
    root, rng = Path(root), np.random.default_rng(0)
    rows, lists = [HEADER], {"train_val_list.txt": [], "test_list.txt": []}
    for patient in range(60):
        findings = [LABELS[patient % 15]] if patient % 15 < 14 else []
        for follow_up in range(2):
            name = f"{patient + 1:08d}_{follow_up:03d}.png"
            shown = [*findings, *([LABELS[patient % 7]] if follow_up and findings else [])]
            folder = root / "images" if flat else root / f"images_{patient % 12 + 1:03d}" / "images"
            folder.mkdir(parents=True, exist_ok=True)
            shade = np.full((64, 64), 60 + 10 * (patient % 15), np.uint8)
            cv2.imwrite(str(folder / name), shade + rng.integers(0, 20, shade.shape, dtype=np.uint8))
            text = "|".join(dict.fromkeys(shown)) or "No Finding"
            rows.append(f"{name},{text},{follow_up},{patient + 1},058Y,{'MF'[patient % 2]},PA,2682,2749,0.143,0.143,")
            lists["test_list.txt" if patient >= 40 else "train_val_list.txt"].append(name)
    (root / file).write_text("\n".join(rows) + "\n")
    for name, listed in lists.items():
        (root / name).write_text("\n".join(listed))  # the real lists end without a line end
    boxes = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]  # as the real one begins, and with its other spelling
    for patient in (45, 46, 47, 48, 3):
        label = LABELS[patient % 15].replace("Infiltration", "Infiltrate")
        boxes.append(f"{patient + 1:08d}_001.png,{label},{256 + patient},128.5,512,256.25,,,")
    (root / "BBox_List_2017.csv").write_text("\n".join(boxes) + "\n")
    (root / "README_CHESTXRAY.txt").write_text("not a table")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
