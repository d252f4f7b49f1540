"""What `test_distributed_data.py` runs in two processes: python -m tests.run.ddp_data_run TREE OUT."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import albumentations as A
import lightning.pytorch as pl
import torch

from ibca_lightning.data import CSVDataModule

RUNS = {
    "plain": (1, {}),
    "plain again": (1, {}),
    "plain of another seed": (2, {}),
    "balanced": (1, {"balanced_sampling": True}),
    "balanced again": (1, {"balanced_sampling": True}),
}
EPOCHS = 2


class Watch(pl.LightningModule):
    """Keeps which pictures this process was given, and a hash of their augmented pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.train_rows: list[list[tuple[str, str]]] = [[] for _ in range(EPOCHS)]
        self.val_rows: list[tuple[int, str, str]] = []

    def training_step(self, batch: Any, at: int) -> Any:
        rows = zip(batch["id"], map(_hash, batch["image"]), strict=True)
        self.train_rows[self.current_epoch] += rows
        return self.weight * 0

    def validation_step(self, batch: Any, at: int) -> None:
        if self.current_epoch == 0:
            self.val_rows += zip(batch["index"].tolist(), batch["id"], map(_hash, batch["image"]), strict=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _hash(image: torch.Tensor) -> str:
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()


def main(tree: Path, out: Path) -> None:
    """Train on the same table in several ways, and write what each process saw as `rank<r>.json`."""
    found = {}
    for name, (seed, options) in RUNS.items():
        pl.seed_everything(seed, workers=True, verbose=False)
        data = CSVDataModule(
            str(tree), image_dir="images", group_column="patient", exclude_columns=["sex", "age"], val_csv="val.csv",
            image_size=16, batch_size=1, num_workers=2, augment=[A.GaussNoise(p=1.0)], on_bad_image="skip", **options,
        )  # fmt: skip
        trainer = pl.Trainer(
            accelerator="cpu", devices=2, strategy="ddp", max_epochs=EPOCHS, logger=False, num_sanity_val_steps=0,
            limit_val_batches=1.0 if name == "plain" else 0, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        watch = Watch()
        trainer.fit(watch, datamodule=data)
        found[name] = {"train": watch.train_rows, "val": watch.val_rows}
    (out / f"rank{trainer.global_rank}.json").write_text(json.dumps(found))
    torch.distributed.barrier()  # so that the parent finds both files


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
