"""Builds model and data as `ibca fit` does, and stores the maps of every picture.

Shapes: B pictures, V views, D views with noise drawn on them, S picture side, C x H x W a stage's map, L labels, P bit
planes.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Collection, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.loader import make_loader
from ibca_lightning.data.pictures.masks import pack
from ibca_lightning.data.pictures.views import turned
from ibca_lightning.datasets.frozen_maps import FrozenMaps
from ibca_lightning.datasets.layouts.map_files import MapsRecord, SplitRecord, SplitWriter, start_record
from ibca_lightning.marks.noise import draw_noise
from ibca_lightning.marks.painter import random_numbers
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.run.lightning_cli import IBCACLI, require_data
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.launched import place
from ibca_lightning.system.output import write_err
from ibca_lightning.use.model_options import own_device
from ibca_lightning.use.predictions.files import Kind
from ibca_lightning.use.predictions.parts import RowParts

_NOTES = Kind("rows.csv", "rows.json", "maps")  # what is done so far
_PASSING = ("batch_size", "num_workers", "augment", "drawn_noise")  # options of the data that no map depends on


class MapsCLI(IBCACLI):
    """Builds model and data from the options of `fit`, and runs nothing."""

    def before_instantiate_classes(self) -> None:
        """Check that there are data; there is no run folder."""
        require_data(self.config[self.subcommand])

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Return a bare trainer: it chooses the device."""
        accelerator = self.config_init[self.subcommand].trainer.accelerator
        alone = [LightningEnvironment()]  # also where torchrun or srun has started several: each has its share
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        return pl.Trainer(accelerator=accelerator, devices=1, plugins=alone, **quiet)  # type: ignore[arg-type]

    def _run_subcommand(self, subcommand: str) -> None:
        """Leave everything to `write_maps`."""


def write_maps(built: MapsCLI, folder: str, views: int, drawn: int, precision: str) -> None:
    """Store the maps of train, val and every test set; rows that are there already are left as they are.

    Args:
        built: Model, data and device.
        folder: Where to.
        views: V of training and validation pictures; tests have one.
        drawn: D of them, which a fold may train on alike; tests have none.
        precision: `32` or `bf16`, of the backbone.

    Raises:
        InputError: If model or data are of another kind, the folder holds other maps, another process
            writes into it, or the disk is too small.
    """
    model, data = built.model, built.datamodule
    if not isinstance(model, MultiLabelModule):
        raise InputError("a MultiLabelModule for ibca maps", type(model).__name__, "give one in --model")
    if not isinstance(data, MultiLabelDataModule) or isinstance(data, FrozenMaps):
        fix = "give that which the maps are to be made of"
        raise InputError("a data module of pictures for ibca maps", type(data).__name__, fix)
    if data.pair and views > 4:
        raise InputError("--views 4 or 1 of two pictures side by side", views, "quarter turns would mix them")
    data.find_bit_depth()
    data.augment, data.drawn_noise = "none", 0.0  # what a picture may turn into at random is stored as its views
    sets: dict[str, Dataset[Any]] = {"train": data.train_set(), "val": data.val_set()}
    tests = data.test_sets()
    sets |= {f"test.{name}": tests[name] for name in data.test_names}
    device = torch.device(own_device(built.trainer.strategy.root_device.type) or "cpu")
    model.eval().to(device)
    mapper = _Mapper(model, device, precision, data.pair)
    config = built.config[built.subcommand].data
    options = {key: _plain(value) for key, value in (config.get("init_args") or {}).items() if key not in _PASSING}
    source = {"class_path": config.class_path, "init_args": options}
    if data.rename is not str:  # a path may name a clinic
        source["init_args"] = {k: data.rename(v) if os.path.isabs(str(v)) else v for k, v in options.items()}
        source["names"] = "hashed"
    record = MapsRecord(
        backbone=model.backbone_name,
        feature_stride=model.feature_stride,
        feature_blocks=model.feature_blocks,
        fingerprint=model.backbone.fingerprint(),
        mean=list(model.backbone.mean),
        std=list(model.backbone.std),
        image_size=data.image_size,
        preprocessing=data.preprocessing,
        class_names=data.class_names,
        test_names=data.test_names,
        stages=mapper.shapes(data.image_size),
        precision=precision,
        splits={
            name: _size(dataset, *((1, 0) if name.startswith("test.") else (views, drawn)))
            for name, dataset in sets.items()
        },
        data=source,
    )
    start_record(folder, record)
    _write_rows(Path(folder), record, sets, data, mapper)


def _write_rows(
    folder: Path, record: MapsRecord, sets: Mapping[str, Dataset[Any]], data: MultiLabelDataModule, mapper: "_Mapper"
) -> None:
    """Write what is missing of this process's share; the last to end finishes the splits."""
    own, started = place(), time.monotonic()
    writers = {name: SplitWriter(str(folder), record, name) for name in sets}
    writers = {name: writer for name, writer in writers.items() if not writer.done}  # a sound split stays as it is
    keys = {f"{name} {row}": (name, row) for name in writers for row in range(record.splits[name].rows)}
    parts = RowParts(folder, {"fingerprint": record.fingerprint}, ["row", "about"], list(keys), own, _NOTES)
    with parts.alone():
        _prepare(folder, writers.values(), parts)
    share = list(keys)[own.share(len(keys))]
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with parts.own() as notes, Progress(*columns, disable=own.rank > 0 or not sys.stderr.isatty()) as bar:
        left = [key for key in share if key not in notes.done]
        for name, mine in groupby(left, lambda key: keys[key][0]):
            rows = [keys[key][1] for key in mine]
            task = bar.add_task(name, total=len(rows))
            todo = iter(rows)
            for batch in make_loader(Subset(sets[name], rows), data.batch_size, data.num_workers, rename=data.rename):
                here = list(islice(todo, len(batch["id"])))
                writers[name].write(here, mapper.arrays(batch, record.splits[name]))
                notes.add([f"{name} {row}", json.dumps(about)] for row, about in zip(here, _rows(batch), strict=True))
                bar.advance(task, len(here))
            if bar.disable:
                write_err(f"{name}: {len(rows)} of {record.splits[name].rows}\n")
    if (ended := parts.ended(notes, len(left), len(share))) is None:
        return
    with parts.alone():
        if not all(writer.done for writer in writers.values()):
            about = dict(ended[0].rows())
            for name, writer in writers.items():
                writer.finish(about[f"{name} {row}"] for row in range(record.splits[name].rows))
        parts.forget()
    said = f"{len(left)} new pictures in {time.monotonic() - started:.0f} s" if own.of == 1 else ended[1]
    write_err(f"{said}; wrote {folder}\n")


def _prepare(folder: Path, writers: Collection[SplitWriter], parts: RowParts) -> None:
    """Make the arrays, if they are not there as they were left, and the disk has room for them."""
    wanted, free = sum(writer.missing for writer in writers), shutil.disk_usage(folder).free
    if wanted > free:
        expected = f"{wanted / 1e9:.1f} GB free at --output {folder}"
        raise InputError(expected, f"{free / 1e9:.1f} GB", "give another --output, or fewer --views or --drawn")
    if not all(writer.sound for writer in writers):
        parts.forget()
        for writer in writers:
            writer.prepare()


class _Mapper:
    """Runs the backbone of a model, in evaluation mode and on its device, over the views of batches."""

    def __init__(self, model: MultiLabelModule, device: torch.device, precision: str, pair: bool) -> None:
        self._model, self._device, self._bf16, self._pair = model, device, precision == "bf16", pair

    def shapes(self, image_size: int) -> list[list[int]]:
        """Return (C, H, W) of each stage."""
        channels = len(self._model.backbone.mean)
        black = torch.zeros(1, channels, image_size, image_size, dtype=torch.uint8)
        return [list(x.shape[1:]) for x in self._stages(black)]

    def arrays(self, batch: Mapping[str, Any], size: SplitRecord) -> dict[str, NDArray[Any]]:
        """Return what is stored of a batch: stages (B, V + D, C, H, W), labels (B, L), masks (B, P, S, S)."""
        seen = [(batch["image"], view) for view in range(size.views)]
        noise = [_with_noise(batch, number) for number in range(size.drawn)]
        seen += [(images, number % size.views) for number, (images, _) in enumerate(noise)]
        of_views = [self._stages(turned(images, view, self._pair)) for images, view in seen]
        arrays: dict[str, NDArray[Any]] = {}
        for at, stage in enumerate(zip(*of_views, strict=True)):
            maps = torch.stack(stage, dim=1).half()
            if not maps.isfinite().all():
                got = f"|x| of {max(float(x.abs().max()) for x in stage):g}"
                fix = "choose another --model.backbone or --model.feature_stride"
                raise InputError("maps in the range of float16", got, fix)
            arrays[f"stage{at}"] = maps.numpy()
        arrays["label"] = batch["label"].numpy()
        for name in size.masks:
            arrays[name] = np.stack([np.stack(pack(mask)) for mask in batch[name].numpy()])
        if noise:
            masks = [turned(mask, number % size.views, self._pair) for number, (_, mask) in enumerate(noise)]
            arrays["drawn"] = np.stack([np.stack(pack(each)) for each in torch.stack(masks, dim=1).numpy()])
        return arrays

    @torch.inference_mode()
    def _stages(self, images: Tensor) -> list[Tensor]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            return [x.float().cpu() for x in self._model.stages(images.to(self._device))]


def _with_noise(batch: Mapping[str, Any], number: int) -> tuple[Tensor, Tensor]:
    """Draw on pictures what belongs to their names and a number; return them and where that is, bool (B, S, S)."""
    pictures = zip(batch["image"].permute(0, 2, 3, 1).numpy(), batch["id"], strict=True)
    drawn = [draw_noise(pixels, random_numbers(number, "noise", name)) for pixels, name in pictures]
    images, masks = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
    return images.permute(0, 3, 1, 2).contiguous(), masks


def _rows(batch: Mapping[str, Any]) -> list[dict[str, Any]]:
    subgroups, groups = batch.get("subgroup", {}), batch.get("group", batch["id"])
    return [
        {"id": name, "group": group, "subgroup": {column: values[at] for column, values in subgroups.items()}}
        for at, (name, group) in enumerate(zip(batch["id"], groups, strict=True))
    ]


def _size(dataset: Any, views: int, drawn: int) -> SplitRecord:
    masks = {name: len(value) for name, value in dataset[0].items() if name == "mask" or name.endswith("_mask")}
    return SplitRecord(rows=len(dataset), views=views, masks=masks, drawn=drawn)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | None) else str(value)
