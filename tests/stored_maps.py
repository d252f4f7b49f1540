"""Stored maps of a small data set, for the tests of the command that writes them and the module that reads them."""

import json
from pathlib import Path
from typing import Any

from ibca_lightning.datasets.layouts.map_files import MapsRecord, SplitRecord, SplitWriter, start_record
from tests.command_line import Result, ibca, written
from tests.datasets import fake_idrid_tiles

SIZE, LABELS, STRIDE = 64, 4, [8, 32]


def configuration(root: Path, **data: Any) -> dict[str, Any]:
    """The pictures of `fake_idrid_tiles` and a frozen backbone."""
    return {
        "model": {
            "class_path": "MultiLabelModule",
            "init_args": {
                "backbone": "test_resnet", "pretrained": False, "head": {"class_path": "CSRAHead"},
                "feature_stride": STRIDE, "freeze_backbone": True,
            },
        },
        "data": {
            "class_path": "CSVDataModule",
            "init_args": {
                "root": str(root), "val_csv": "val.csv", "test_csv": "test.csv", "group_column": "source",
                "image_dir": "images", "mask_dir": "masks", "image_size": SIZE, "batch_size": 5, "num_workers": 0,
                **data,
            },
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
        "wandb": "disabled",
    }  # fmt: skip


def on_maps(config: dict[str, Any], maps: Path, **data: Any) -> dict[str, Any]:
    """The same experiment on stored maps."""
    return config | {"data": {"class_path": "FrozenMaps", "init_args": {"root": str(maps), "batch_size": 5, **data}}}


def write(folder: Path) -> tuple[Path, Path]:
    """Write pictures, the experiment on them, and their maps; return the experiment and the maps."""
    fake_idrid_tiles.write(folder / "pictures", sources=5)
    config = written(folder / "pictures.yaml", configuration(folder / "pictures"))
    result = store(config, folder / "maps")
    assert result.code == 0, result.err
    return config, folder / "maps"


def store(config: Path, maps: Path, *options: object) -> Result:
    return ibca("maps", "--config", config, "--output", maps, *options)


def small(folder: Path) -> None:
    """Write maps of 6 training, 3 validation and 2 test pictures without a model: zeros, whose labels are 0."""
    sizes = {name: SplitRecord(rows, 2, {"mask": 2}, 1) for name, rows in (("train", 6), ("val", 3), ("test.test", 2))}
    record = MapsRecord(
        "test_resnet", [8, 16], "ab" * 16, [0.5] * 3, [0.25] * 3, 8, {"resize": "stretch"}, ["A", "B"], ["test"],
        [[2, 2, 2], [3, 1, 1]], "32", sizes, {"class_path": "CSVDataModule", "init_args": {"marks.rho": 0.5}},
    )  # fmt: skip
    folder.mkdir()
    start_record(str(folder), record)
    for name, size in sizes.items():
        writer = SplitWriter(str(folder), record, name)
        writer.prepare()
        writer.finish(
            json.dumps({"id": f"{name}/{at}.png", "group": f"g{at // 2}", "subgroup": {"sex": "FM"[at % 2]}})
            for at in range(size.rows)
        )
