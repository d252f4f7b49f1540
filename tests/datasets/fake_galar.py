"""A small Galar: a table and a folder of frames for each video, two kinds of header, folders of two archives.

python tests/datasets/fake_galar.py DIR
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
    *("z-line", "pylorus", "ampulla of vater", "ileocecal valve"),
    *("mouth", "esophagus", "stomach", "small intestine", "colon"),
    *("ulcer", "polyp", "active bleeding", "blood", "erythema", "erosion", "angiectasia", "IBD", "foreign body"),
    *("esophagitis", "varices", "hematin", "celiac", "cancer", "lymphangioectasis"),
)
VIEW = ("bubbles", "dirt", "no view", "reduced view", "good view")


def write(root: Path, videos: int = 10, frames: int = 24, archives: bool = False) -> None:
    """Write videos 1, 2, ...; the last two have the columns of the view. A frame's number is not its row."""
    rng = np.random.default_rng(0)
    root = Path(root)
    (root / "Labels").mkdir(parents=True)
    for video in range(1, videos + 1):
        view = VIEW if video > videos - 2 else ()
        header = ["index", *LABELS[:4], "section", *LABELS[4:], "frame"]
        table = []
        for row in range(frames):
            labels = [int(row % 24 == at or (row + video) % 24 == at) for at in range(24)]
            number = 100 + 2 * row
            place = f"Galar_Frames_{'1_to_5' if video < 6 else '6_to_10'}/recording_" if archives else "Frames/"
            draw(root / f"{place}{video}" / f"frame_{number:06d}.PNG", labels, rng, (40, 40))
            table.append([*(row % 2 for _ in view), row, *labels[:4], "stomach", *labels[4:], number])
        with open(root / "Labels" / f"{video}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([[*view, *header], *table])
    (root / "metadata.csv").write_text("File Name,Capsule System,Gender,Age\n1,Olympus,f,70\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
