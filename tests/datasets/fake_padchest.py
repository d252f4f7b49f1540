"""A small PadChest: packed table, folders of the zip files, 16-bit pictures, lists as text, blanks, odd names.

python tests/datasets/fake_padchest.py DIR
"""

import csv
import gzip
import io
import sys
from pathlib import Path

import cv2
import numpy as np

if __package__:
    from tests.data.drawn_pictures import draw
else:  # run as a script
    from pictures import draw

FILE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
LABELS = ("aortic elongation", "cardiomegaly", "nodule", "normal", "pleural effusion", "pneumonia")
HEADER = (
    *("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "Projection", "Pediatric"),
    *("Report", "Labels"),
)


def write(root: Path, patients: int = 30, nested: bool = True, packed: bool = True) -> None:
    """Write three pictures a patient; row 1 has no list, row 2 is excluded, `nodule` stands on the third alone."""
    rng = np.random.default_rng(0)
    root = Path(root)
    table: list[list[object]] = []
    for row in range(3 * patients):
        patient = row // 3
        labels = [int(row % 6 == at or (row + 4) % 6 == at) for at in range(6)]
        part = str((0, 1, 50, 54)[row % 4])
        name = f"2168401113669640138295431665{row:05d}_02-094-{row:03d}.png"
        path = root / "images" / part / name if nested else root / name
        draw(path, labels, rng, (70, 60))
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.uint16)
        cv2.imwrite(str(path), gray * 257)
        # A blank before a name, a name twice, an empty one, and one that is too rare for a class.
        names = [name for name, label in zip(LABELS, labels, strict=True) if label]
        names = [f" {names[0]}", *names, ""] if row % 5 == 0 else names
        names += ["unchanged"] if row % 2 else []
        names += ["Dextrocardia"] if row == 4 else []
        text = "" if row == 1 else str(["exclude"] if row == 2 else names)
        ident = f"{patient:04d}" if patient % 2 else f"02168401113{patient:04d}"
        projection = "L" if row % 2 else ("PA", "PA", "AP", "AP_horizontal")[row // 2 % 4]
        table.append([row, name, part, 20140915, f"s{patient}", ident, projection, "No", 'a "x", b', text])
    text_file = io.StringIO()
    csv.writer(text_file).writerows([HEADER, *table])
    data = text_file.getvalue().encode()
    (root / (f"{FILE}.gz" if packed else FILE)).write_bytes(gzip.compress(data) if packed else data)
    (root / "Verify_Zips_ImageCounts.csv.xlsx").write_bytes(b"PK\3\4 no table of ours")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
