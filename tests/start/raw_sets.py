"""Tables and pictures as they come from a clinic: no column is called as `ibca` would call it.

To try one by hand: `python -m tests.start.raw_sets words FOLDER`, then `ibca init` as it says.
"""

import argparse
import csv
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import openpyxl


def pictures(folder: Path, names: Sequence[str], side: int = 40) -> None:
    """Write small pictures, each another one, of which no two are alike."""
    for at, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        spots = np.random.default_rng(at).integers(0, 256, (10, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(spots, (side + 8, side), interpolation=cv2.INTER_NEAREST))


def table(file: Path, header: Sequence[str], rows: Sequence[Sequence[object]], separator: str = ",") -> Path:
    """Write a table as text."""
    with open(file, "w", newline="", encoding="utf-8") as text:
        csv.writer(text, delimiter=separator).writerows([header, *rows])
    return file


def date(rng: random.Random) -> str:
    """A day, written as one clinic does."""
    return f"20{rng.randint(18, 24)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def words(root: Path) -> tuple[Path, Path]:
    """One row a lesion, each finding in a word of its own, now and then spelt otherwise: skin."""
    rng = random.Random(0)
    rows = []
    for case in range(150):
        network, streaks = rng.choice(["absent", "typical", "atypical"]), rng.choice(["absent", "regular", "irregular"])
        veil = rng.choice(["present", "absent", "absent", "Absent ", "unsure"])
        if case % 25 == 0:
            network, streaks = network.upper(), f" {streaks.capitalize()}"
        doctor = rng.choice(["", "", "", "ok", "see again"])
        thickness = f"{rng.uniform(0.2, 4):.1f}" if case % 10 == 0 else ""
        site = rng.choice(["back", "back", "arm", "lower limbs"])
        rows.append([
            case + 1, f"derm/{case:03d}.png", network, streaks, veil, rng.choice("MF"), rng.randint(20, 90), site,
            date(rng), thickness, doctor,
        ])  # fmt: skip
    pictures(root / "photos", [str(row[1]) for row in rows])
    header = [
        "case_num", "derm", "pigment_network", "streaks", "blue_whitish_veil", "sex", "age", "location", "exam date",
        "breslow", "notes",
    ]  # fmt: skip
    return table(root / "meta.csv", header, rows), root / "photos"


def lists(root: Path) -> tuple[Path, Path]:
    """A workbook with several frames of a patient, their findings in one cell; frames lie in folders, unnamed."""
    rng = random.Random(1)
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["No.", "Patient ID", "Frame", "Findings", "Hospital", "Sex", "Exam date", "Biopsy", "Comment"])
    files = []
    for frame in range(160):
        found = [name for name, share in (("polyp", 0.3), ("Ulcer", 0.25), ("erosion", 0.2)) if rng.random() < share]
        cell = (";" if frame % 11 == 0 else "; ").join(found) or rng.choice(["Normal", ""])
        if frame == 7:
            cell = "bleeding; polyp"  # once only: no class
        patient = 1000 + frame // 4
        files.append(f"{'AB'[frame // 4 % 2]}/frame{frame:04d}.jpg")
        sheet.append([
            frame, patient, f"frame{frame:04d}", cell.upper() if frame % 40 == 0 else cell, "AB"[frame // 4 % 2],
            "male" if patient % 3 else "female", "2024-03-01", "done" if frame % 20 == 0 else None,
            "taken again" if frame % 9 == 0 else None,
        ])  # fmt: skip
    book.save(root / "befunde.xlsx")
    pictures(root / "frames", files)
    return root / "befunde.xlsx", root / "frames"


def eyes(root: Path) -> tuple[Path, Path]:
    """One row an eye: a grade, a number of lesions, a cross where there is glaucoma, and 0 and 1 for cataract."""
    rng = random.Random(2)
    rows = []
    for patient in range(80):
        age, sex, seen = rng.randint(30, 85), rng.choice(["F", "M"]), date(rng)
        for side in ("left", "right"):
            grade = rng.choice([0, 0, 1, 2, 3])
            exudates = rng.choice([0, 0, 0, 1, 4, 12])
            cross = "x" if rng.random() < 0.2 else ""
            rows.append([
                f"{patient}_{side}", f"P{patient:03d}", side, grade, exudates, cross, int(rng.random() < 0.3), age, sex,
                seen, "blurred" if rng.random() < 0.1 else "",
            ])  # fmt: skip
    pictures(root / "fundus", [f"{row[0]}.png" for row in rows])
    header = [
        "name", "subject", "eye", "DR grade", "n_exudates", "glaucoma", "cataract", "age", "sex", "visit date",
        "remarks",
    ]  # fmt: skip
    return table(root / "eyes.tsv", header, rows, "\t"), root / "fundus"


def shuffled(root: Path) -> tuple[Path, Path]:
    """As EDD2020 is, its columns renamed and mixed, its three tables in one, groups that only their values tell."""
    rng = random.Random(3)
    rows = []
    for frame in range(120):
        split = ("training", "dev", "holdout")[frame // 2 % 5 % 3]
        flags = [int(rng.random() < share) for share in (0.4, 0.25, 0.2)]
        rows.append(
            [flags[0], f"ACB_g{frame // 2:03d}", flags[1], split, f"EDD_ACB{frame:04d}", flags[2], rng.random()]
        )
    rng.shuffle(rows)
    pictures(root / "images", [f"{row[4]}.jpg" for row in rows])
    header = ["Barrett", "cluster_no", "Krebs", "use", "bild", "Polyp", "sharpness"]
    return table(root / "edd.csv", header, rows, ";"), root / "images"


def pairs(root: Path) -> tuple[Path, Path]:
    """A row a patient, with a picture of either eye, and the findings as JSON."""
    rng = random.Random(4)
    rows = []
    for patient in range(60):
        found = [name for name in ("drusen", "myopia") if rng.random() < 0.4]
        rows.append([patient, f"{patient}_l.png", f"{patient}_r.png", json.dumps(found)])
    pictures(root / "both", [str(name) for row in rows for name in row[1:3]])
    return table(root / "pairs.csv", ["ID", "Left-Fundus", "Right-Fundus", "keywords"], rows), root / "both"


SETS: dict[str, Callable[[Path], tuple[Path, Path]]] = {
    "words": words, "lists": lists, "eyes": eyes, "shuffled": shuffled, "pairs": pairs,
}  # fmt: skip


def main() -> None:
    """Write one of the sets into a folder, and say how to begin with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SETS)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    given, images = SETS[options.name](options.folder)
    print(f"ibca init --table {given} --images {images}")


if __name__ == "__main__":
    main()
