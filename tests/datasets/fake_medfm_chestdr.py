"""A small MedFMC ChestDR: the release's folders and tables, or the challenge's list files, which mix both separators.

python tests/datasets/fake_medfm_chestdr.py DIR [lists]
"""

import sys
from pathlib import Path

import numpy as np

if __package__:
    from tests.data.drawn_pictures import draw
    from tests.datasets import fake_endo
else:  # run as a script
    import fake_endo
    from pictures import draw

LABELS = (
    *("pleural_effusion", "nodule", "pneumonia", "cardiomegaly", "hilar_enlargement", "fracture_old", "fibrosis"),
    *("aortic_calcification", "tortuous_aorta", "thickened_pleura", "TB", "pneumothorax", "emphysema"),
    *("atelectasis", "calcification", "pulmonary_edema", "increased_lung_markings", "elevated_diaphragm"),
    "consolidation",
)


def write(root: Path) -> None:
    """Write MedFMC_train (60 pictures) and MedFMC_val (40), each label in turn; names tell no patient."""
    fake_endo.write(root, part="chest", labels=LABELS, name="{patient:X}CR{shot:X}.png", patients=(3, 5))


def write_lists(root: Path) -> None:
    """Write chest/images/ and chest/{train_20,val_20,test_WithLabel}.txt of 19 lines each."""
    rng = np.random.default_rng(0)
    folder = Path(root) / "chest"
    for number, name in enumerate(("train_20", "val_20", "test_WithLabel")):
        lines = []
        for at in range(len(LABELS)):
            labels = [int(at == label) for label in range(len(LABELS))]
            draw(folder / "images" / f"5B{number}F7{at:02d}.png", labels, rng)
            lines.append(f"5B{number}F7{at:02d}.png {','.join(map(str, labels))}\n")
        (folder / f"{name}.txt").write_text("".join(lines))


if __name__ == "__main__":
    (write_lists if sys.argv[2:] == ["lists"] else write)(Path(sys.argv[1]))
