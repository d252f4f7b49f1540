"""Draws the attention of a few pictures while validating and testing.

Shapes: S picture side, H x W attention grid, L labels.
"""

import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

from ibca_lightning.data.dataset import PictureDataset
from ibca_lightning.data.pictures.channels import as_rgb
from ibca_lightning.data.pictures.drawing import Panel, class_panel
from ibca_lightning.data.pictures.figure import explanation
from ibca_lightning.metrics.calibration import calibrated
from ibca_lightning.model.module import MONITOR, MultiLabelModule
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.whole_files import write_png

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Chosen:
    """What is drawn of a picture, on the CPU."""

    name: str  # the picture's id
    image: np.ndarray  # (h, w, 3) uint8, in the proportions of the file where there is one
    present: list[int]  # classes that it shows
    probabilities: torch.Tensor  # (L,)
    attention: torch.Tensor  # (L, H, W)
    mask: torch.Tensor | None  # (L, S, S) bool


class AttentionPictures(Callback):
    """Writes `attention/<split>_<id>.png`: the picture as the model sees it, then a panel for each present class.

    What is seen in a square is drawn in the proportions that it has in the picture.

    They are drawn as `ibca explain` draws them, with the probabilities and thresholds that the checkpoint will give.

    The pictures are the first of the set in which each class has been shown fewer than `per_class` times, so they are
    the same at every epoch and in every run on the same data. Drawn at the validation that is best so far, so that
    they belong to `best.ckpt`, and at each test. Stored maps come without pictures; then none are drawn.

    `limit` is their number in all. With `log_images` wandb gets them too: patient pictures leave the machine only when
    asked, also where what was written off line is sent later. wandb is never given their names.
    """

    def __init__(self, run_dir: str | Path, per_class: int = 2, limit: int = 12, log_images: bool = False) -> None:
        self.folder = Path(run_dir) / "attention"
        self.per_class, self.limit, self.log_images = per_class, limit, log_images
        self._shown: Counter[int] = Counter()
        self._chosen: dict[str, _Chosen] = {}
        self._best = float("-inf")
        self._said = False

    def state_dict(self) -> dict[str, Any]:
        """The best score, so that a resumed run does not draw a validation that is worse."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the checkpoint left."""
        self._best = float(state_dict["best"])

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start a new choice."""
        self._shown.clear()
        self._chosen.clear()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Draw what this batch adds to the choice."""
        if not trainer.sanity_checking:
            self._choose(trainer, pl_module, outputs, batch, "val")

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Draw what this batch adds to the choice; of several test sets the first is drawn."""
        if dataloader_idx == 0:
            self._choose(trainer, pl_module, outputs, batch, "test")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the pictures, if this validation is the best so far."""
        score = float(trainer.callback_metrics.get(MONITOR, float("-inf")))
        if not trainer.sanity_checking and score > self._best:
            self._best = score
            self._write(trainer, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the pictures."""
        self._write(trainer, pl_module)

    def _choose(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, split: str) -> None:
        if not trainer.is_global_zero or not isinstance(pl_module, MultiLabelModule):
            return
        if "image" not in batch:
            if not self._said:
                log.info("no attention pictures: the data are stored maps, without pictures to draw on")
                self._said = True
            return
        labels: torch.Tensor = batch["label"]
        loaders = trainer.val_dataloaders if split == "val" else trainer.test_dataloaders
        dataset = getattr(loaders[0] if isinstance(loaders, list) else loaders, "dataset", None)
        for i in range(len(labels)):
            present = torch.nonzero(labels[i] == 1).flatten().tolist()
            if len(self._chosen) >= self.limit:
                return
            if not any(self._shown[c] < self.per_class for c in present):
                continue
            self._shown.update(present)
            self._chosen[f"{split}_{_file_name(str(batch['id'][i]))}"] = _Chosen(
                str(batch["id"][i]),
                _in_proportion(
                    as_rgb(batch["image"][i].cpu().permute(1, 2, 0).numpy()), dataset, int(batch["index"][i])
                ),
                present,
                outputs["probabilities"][i].detach().float().cpu(),
                outputs["attention"][i].detach().float().cpu(),
                batch["mask"][i].cpu() if "mask" in batch else None,
            )

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._chosen or not isinstance(pl_module, MultiLabelModule):
            return
        for name, chosen in self._chosen.items():
            write_png(self.folder / f"{name}.png", _draw(chosen, pl_module))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and self.log_images:
                for number, (name, chosen) in enumerate(self._chosen.items()):
                    # By its place in the choice: a name may be that of a patient.
                    title = f"{name.partition('_')[0]}_{number}"
                    logger.log_image(f"attention/{title}", [_draw(replace(chosen, name=title), pl_module)])


def _draw(chosen: _Chosen, module: MultiLabelModule) -> np.ndarray:
    probabilities = chosen.probabilities
    calibration = module.points.calibration
    if calibration is not None and module.trainer.state.fn == TrainerFn.FITTING:  # it is younger than they are
        probabilities = calibrated(torch.logit(probabilities), calibration)
    names, thresholds = module.class_names, module.thresholds
    panels = [
        class_panel(
            names[label], float(probabilities[label]), thresholds[label], chosen.attention[label],
            None if chosen.mask is None else chosen.mask[label],
        )
        for label in chosen.present
    ]  # fmt: skip
    found = [name for name, p, at in zip(names, probabilities.tolist(), thresholds, strict=True) if p > at]
    shown = ", ".join(names[c] for c in chosen.present)
    title = Panel(None, (chosen.name, f"shows: {shown}", f"found: {', '.join(found) or 'none'}"))
    return explanation(chosen.image, [title, *panels])


def _in_proportion(image: np.ndarray, dataset: Any, row: int) -> np.ndarray:
    """The square of a file's picture (S, S, 3), stretched back; any other as it is."""
    with suppress(InputError):  # a file that is gone by now
        if isinstance(dataset, PictureDataset):
            pixels = dataset.transform.read(dataset.picture(row))
            top, left, bottom, right = dataset.transform.placement(pixels)
            height, width = (bottom - top) * pixels.shape[0], (right - left) * pixels.shape[1]
            size = [round(len(image) * side / min(height, width)) for side in (width, height)]
            return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))
    return image


def _file_name(picture: str) -> str:
    """The id as one file name of at most 200 bytes, the end kept."""
    name = Path(picture).with_suffix("").as_posix().replace("/", "_")
    return name.encode()[-200:].decode(errors="ignore")
