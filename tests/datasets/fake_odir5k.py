"""A small ODIR-5K: labels of eyes and of patients side by side, a path that is wrong, one eye's row left out.

python tests/datasets/fake_odir5k.py DIR [xlsx]
"""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np

if __package__:
    from tests.data.drawn_pictures import draw
else:  # run as a script
    from pictures import draw

LABELS = ("N", "D", "G", "C", "A", "H", "M", "O")
PATIENT = (
    *("ID", "Patient Age", "Patient Sex", "Left-Fundus", "Right-Fundus", "Left-Diagnostic Keywords"),
    *("Right-Diagnostic Keywords", *LABELS),
)


def rows(root: Path, patients: int) -> list[tuple[list[Any], int, int]]:
    """Draw the eyes; return for each patient the columns of data.xlsx, and the labels of left and right eye."""
    rng, found = np.random.default_rng(0), []
    for patient in range(patients):
        left, right = patient % 8, (patient + patient // 8) % 8
        for side, label, shape in (("left", left, (64, 80)), ("right", right, (72, 64))):
            shown = [int(at == label) for at in range(8)]
            draw(root / "ODIR-5K/ODIR-5K/Training Images" / f"{patient}_{side}.jpg", shown, rng, shape)
        # A patient is normal only if both eyes are.
        labels = [int(at in (left, right)) if at else int(left == right == 0) for at in range(8)]
        sex = "Female" if patient % 2 else "Male"
        said = ("normal fundus", "moderate non proliferative retinopathy\uff0ccataract")
        found.append(([patient, 69, sex, f"{patient}_left.jpg", f"{patient}_right.jpg", *said, *labels], left, right))
    return found


def write(root: Path, patients: int = 48) -> None:
    """Write full_df.csv and the pictures; patient 5 has a row for the left eye only, as some have in the real one."""
    with (_made(root) / "full_df.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*PATIENT, "filepath", "labels", "target", "filename"])
        for row, left, right in rows(Path(root), patients):
            for name, label in ((row[4], right), (row[3], left)):
                target = [int(at == label) for at in range(8)]
                if name != "5_right.jpg":
                    table.writerow([*row, f"../input/elsewhere/{name}", f"['{LABELS[label]}']", target, name])


def write_workbook(root: Path, patients: int = 24) -> None:
    """Write ODIR-5K/ODIR-5K/data.xlsx and the pictures."""
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(PATIENT)
    for row, _, _ in rows(_made(root), patients):
        book.active.append(row)
    book.save(Path(root) / "ODIR-5K/ODIR-5K/data.xlsx")


def _made(root: Path) -> Path:
    Path(root).mkdir(parents=True, exist_ok=True)
    return Path(root)


if __name__ == "__main__":
    (write_workbook if sys.argv[2:] == ["xlsx"] else write)(Path(sys.argv[1]))
