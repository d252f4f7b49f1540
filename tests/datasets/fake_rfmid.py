"""A small RFMiD: ids from 1 in every split, each of the layouts it is handed round in, files no table names.

python tests/datasets/fake_rfmid.py DIR [sets|doubled|numbered]
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
    *("DR", "ARMD", "MH", "DN", "MYA", "BRVO", "TSLN", "ERM", "LS", "MS", "CSR", "ODC", "CRVO", "TV", "AH", "ODP"),
    *("ODE", "ST", "AION", "PT", "RT", "RS", "CRS", "EDN", "RPEC", "MHL", "RP", "CWS", "CB", "ODPM", "PRH", "MNF"),
    *("HR", "CRAO", "TD", "CME", "PTCR", "CF", "VH", "MCA", "VS", "BRAO", "PLQ", "HPED", "CL"),
)
# For each layout and split the folder of the pictures and the table.
LAYOUTS = {
    "sets": (
        ("Training_Set/Training", "Training_Set/RFMiD_Training_Labels.csv"),
        ("Evaluation_Set/Validation", "Evaluation_Set/RFMiD_Validation_Labels.csv"),
        ("Test_Set/Test", "Test_Set/RFMiD_Testing_Labels.csv"),
    ),
    "doubled": (
        ("Training_Set/Training_Set/Training", "Training_Set/Training_Set/RFMiD_Training_Labels.csv"),
        ("Evaluation_Set/Evaluation_Set/Validation", "Evaluation_Set/Evaluation_Set/RFMiD_Validation_Labels.csv"),
        ("Test_Set/Test_Set/Test", "Test_Set/Test_Set/RFMiD_Testing_Labels.csv"),
    ),
    "numbered": (
        ("1. Original Images/a. Training Set", "2. Groundtruths/a. RFMiD_Training_Labels.csv"),
        ("1. Original Images/b. Validation Set", "2. Groundtruths/b. RFMiD_Validation_Labels.csv"),
        ("1. Original Images/c. Testing Set", "2. Groundtruths/c. RFMiD_Testing_Labels.csv"),
    ),
}


def write(root: Path, layout: str = "sets", labels: tuple[str, ...] = LABELS) -> None:
    """Write 50, 48 and 48 pictures; classes take turns, every 24th picture shows two, the last ones are healthy."""
    rng = np.random.default_rng(0)
    for (pictures, file), count in zip(LAYOUTS[layout], (50, 48, 48), strict=True):
        table = []
        for ident in range(1, count + 1):
            present = [int(at in (ident - 1, ident - 25)) for at in range(len(labels))]
            draw(Path(root) / pictures / f"{ident}.png", present, rng)
            table.append([ident, int(any(present)), *present])
        path = Path(root) / file
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["ID", "Disease_Risk", *labels], *table])
        (Path(root) / pictures / "Thumbs.db").write_bytes(b"left by another system")


if __name__ == "__main__":
    write(Path(sys.argv[1]), *sys.argv[2:])
