"""A small ChestMNIST: one compressed npz with gray pictures and uint8 labels of three splits.

python tests/datasets/fake_chest_mnist.py DIR
"""

import sys
from pathlib import Path

import numpy as np

LABELS = (
    *("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax"),
    *("consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"),
)
SPLITS = {"train": 42, "val": 28, "test": 28}


def arrays(size: int = 28, seed: int = 0) -> dict[str, np.ndarray]:
    """Make the six arrays; a picture has a bright spot for each label."""
    rng = np.random.default_rng(seed)
    made = {}
    for split, count in SPLITS.items():
        images = rng.integers(40, 90, (count, size, size), dtype=np.uint8)
        labels = np.zeros((count, 14), dtype=np.uint8)
        for row in range(count):
            for at in {row % 14, (row + 5) % 14}:
                labels[row, at] = 1
                images[row, at : at + 4, 2 * (at % 7) : 2 * (at % 7) + 4] = 220
        made |= {f"{split}_images": images, f"{split}_labels": labels}
    return made


def write(root: Path, size: int = 28, seed: int = 0) -> None:
    """Write chestmnist.npz, or chestmnist_SIZE.npz for another size than 28."""
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    name = "chestmnist.npz" if size == 28 else f"chestmnist_{size}.npz"
    np.savez_compressed(root / name, **arrays(size, seed))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
