"""Memory of a long run: 50 epochs on a small set, and 20 epochs on a table of 100,000 rows.

python -m tests.bench.memory
"""

import csv
import resource
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from ibca_lightning.data import CSVDataModule
from ibca_lightning.heads import IBCAHead
from tests.datasets import fake_csv
from tests.training import module, trainer

SHOWN = (2, 5, 10, 20, 30, 40, 50)


class Resident(Callback):
    """Megabytes that this process holds at the end of each epoch."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note them."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.megabytes.append(pages * resource.getpagesize() / 2**20)


def measured(root: Path, epochs: int, workers: int, **limits: Any) -> list[float]:
    """Train on a table with validation after every epoch."""
    data = CSVDataModule(
        str(root), image_dir="images", val_csv="val.csv", test_csv="test.csv", image_size=32, batch_size=4,
        exclude_columns=["patient", "sex", "age"], num_workers=workers,
    )  # fmt: skip
    resident = Resident()
    model = module(class_names=data.class_names, head=IBCAHead, image_size=32, ema_decay=0.9)
    trainer(max_epochs=epochs, callbacks=[resident], **limits).fit(model, datamodule=data)
    return resident.megabytes


def line(what: str, megabytes: list[float]) -> str:
    """Memory at some epochs, and what was added since the second."""
    shown = ", ".join(f"{n}: {megabytes[n - 1]:.0f}" for n in SHOWN if n <= len(megabytes))
    return f"{what}: MB after epoch {shown}; {megabytes[-1] - megabytes[1]:+.1f} MB since the second"


def lengthen(root: Path, rows: int) -> None:
    """Write a training table of so many rows, each a link to one of its pictures."""
    with (root / "train.csv").open(newline="", encoding="utf-8") as file:
        given = list(csv.DictReader(file))
    (root / "images" / "links").mkdir()
    with (root / "train.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, given[0])
        table.writeheader()
        for number in range(rows):
            row = given[number % len(given)]
            name = f"links/{number}{Path(row['image']).suffix}"
            (root / "images" / name).symlink_to(root / "images" / row["image"])
            table.writerow(row | {"image": name})


def main(epochs: int = 50, rows: int = 100_000) -> None:
    """Print the lines."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        fake_csv.write(root, rows=30)
        print(line(f"{epochs} epochs of 30 pictures", measured(root, epochs, 0)), flush=True)
        lengthen(root, rows)
        few = {"limit_train_batches": 20}
        print(line(f"20 steps an epoch of a table of {rows} rows", measured(root, min(epochs, 20), 0, **few)))


if __name__ == "__main__":
    main()
