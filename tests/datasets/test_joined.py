"""Several data sets as one."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ibca_lightning.data import CSVDataModule, JoinedDataModule
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, ibca, rows, written
from tests.datasets import fake_csv

CSV = {"image_dir": "images", "group_column": "patient", "exclude_columns": ["sex", "age"], "val_csv": "val.csv"}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two trees: classes A, B, C and Effusion (C), pleural effusion's other name, and D (A)."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    fake_csv.write(one, rows=30)
    fake_csv.write(two, rows=45, seed=1)
    for root, names in ((one, ["A", "B", "Effusion"]), (two, ["pleural effusion", "B", "D"])):
        for split in ("train", "val", "test"):
            data = rows(root / f"{split}.csv")
            with (root / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["image", "patient", "sex", "age", *names])
                writer.writerows(row.values() for row in data)
    return one, two


def part(root: Path, **options: Any) -> CSVDataModule:
    return CSVDataModule(str(root), test_csv="test.csv", **(CSV | options))  # type: ignore[arg-type]


def joined(trees: tuple[Path, Path], first: Any = None, second: Any = None, **options: Any) -> JoinedDataModule:
    sets = [part(root, **(more or {})) for root, more in zip(trees, (first, second), strict=True)]
    return JoinedDataModule(
        sets, **({"image_size": 32, "batch_size": 8, "num_workers": 0, "augment": "none"} | options)
    )  # type: ignore[arg-type]


def test_the_union_trains_on_all_rows_and_what_a_set_does_not_have_is_unknown(trees: tuple[Path, Path]) -> None:
    data = joined(trees)
    assert data.class_names == ["A", "B", "Effusion", "D"]
    one, two = (part(root).table("train").labels for root in trees)
    labels = data.training_labels()
    assert labels.shape == (len(one) + len(two), 4)
    assert np.array_equal(labels[: len(one)], np.column_stack([one, np.full(len(one), -1)]))
    assert np.array_equal(labels[len(one) :], np.column_stack([np.full(len(two), -1), two[:, [1, 0, 2]]]))
    items = data.train_set()
    assert len(items) == len(labels)
    for row in (0, len(one) - 1, len(one), len(labels) - 1):
        item = items[row]
        assert int(item["index"]) == row
        assert item["label"].tolist() == labels[row].tolist()
        assert item["id"].startswith("CSVDataModule/" if row < len(one) else "CSVDataModule_2/")
    plain = part(trees[1], image_size=32, augment="none").train_set()
    assert torch.equal(items[len(one) + 3]["image"], plain[3]["image"])


def test_to_ask_for_the_classes_changes_no_set(trees: tuple[Path, Path]) -> None:
    data = joined(trees)
    assert data.class_names == ["A", "B", "Effusion", "D"]
    assert all(each.label_space is None for each in data.sets.values())
    assert data.sets["CSVDataModule"].class_names == ["A", "B", "Effusion"]


def test_each_test_set_stays_by_itself(trees: tuple[Path, Path]) -> None:
    data = joined(trees, label_space="intersection")
    data.setup("test")
    assert data.class_names == ["B", "Effusion"]
    assert data.test_names == ["CSVDataModule", "CSVDataModule_2"]
    loaders = data.test_dataloader()
    assert isinstance(loaders, list)
    for loader, root in zip(loaders, trees, strict=True):
        ids = [name.partition("/")[2] for batch in loader for name in batch["id"]]
        assert ids == [row["image"] for row in rows(root / "test.csv")]


def test_masks_are_there_if_all_have_them(trees: tuple[Path, Path]) -> None:
    with_masks = {"mask_dir": "masks"}
    assert "mask" not in joined(trees, first=with_masks).train_set()[0]
    items = joined(trees, first=with_masks, second=with_masks).train_set()
    assert items[0]["mask"].shape == (4, 32, 32)
    assert not items[0]["mask"][3].any()
    columns = {"subgroup_columns": ["sex"], "exclude_columns": ["age"]}
    assert "subgroup" not in joined(trees, second=columns).val_set()[0]
    assert set(joined(trees, columns, columns).val_set()[0]["subgroup"]) == {"sex"}


def test_aliases_of_a_set_and_a_list_of_classes_are_obeyed(trees: tuple[Path, Path]) -> None:
    assert joined(trees, second={"label_aliases": {"D": "A"}}).class_names == ["A", "B", "Effusion"]
    data = joined(trees, label_space=["D", "B"])
    assert data.class_names == ["D", "B"]
    assert (data.training_labels()[: len(part(trees[0]).table("train")), 0] == -1).all()


def test_what_cannot_be_joined_is_refused(trees: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="two data modules or more"):
        JoinedDataModule([part(trees[0])])
    with pytest.raises(InputError, match="set it once, for all"):
        joined(trees, first={"label_space": ["A"]})

    class Cropped(CSVDataModule):
        preprocessing = {"resize": "stretch", "crop": "disc"}  # type: ignore[assignment]  # noqa: RUF012

    other = JoinedDataModule([part(trees[0]), Cropped(str(trees[1]))])
    with pytest.raises(InputError, match=r"read pictures alike .* of Cropped"):
        _ = other.preprocessing


def test_one_bit_depth_is_found_for_all_sets(trees: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(trees[1], tmp_path / "deep")
    for path in (tmp_path / "deep/images").rglob("*.png"):
        cv2.imwrite(str(path), np.full((8, 8), 3000, np.uint16))
    data = joined((trees[0], tmp_path / "deep"))
    assert "bit_depth" not in data.preprocessing
    data.setup("fit")
    assert [each.bit_depth for each in (data, *data.sets.values())] == [12, 12, 12]
    assert data.preprocessing["bit_depth"] == "12"
    assert joined(trees, bit_depth=14).preprocessing["bit_depth"] == "14"  # as a checkpoint gives it


def test_it_trains_tests_and_is_checked_from_a_yaml(trees: tuple[Path, Path], here: Path) -> None:
    config = experiment(Path())
    sets = [
        {"class_path": "CSVDataModule", "init_args": {"root": str(r), "test_csv": "test.csv", **CSV}} for r in trees
    ]
    sizes = {"image_size": 32, "batch_size": 4, "num_workers": 0, "balanced_sampling": True}
    config["data"] = {"class_path": "JoinedDataModule", "init_args": {"sets": sets, **sizes}}
    written(here / "e.yaml", config)
    done("fit", "--config", "e.yaml", "--run_dir", "run", "--trainer.limit_train_batches", 2)
    done("test", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt")
    assert {p.name for p in Path("run").glob("splits*")} == {"splits.CSVDataModule.csv", "splits.CSVDataModule_2.csv"}
    figures = json.loads(Path("run/test_metrics.CSVDataModule_2.json").read_text())
    assert figures["per_class"]["A"]["AP"] is None
    assert figures["per_class"]["Effusion"]["AP"] is not None
    done("check", "--config", "e.yaml", "--output", "out", "--num_workers", 0)
    splits = json.loads(Path("out/check.json").read_text())["splits"]
    assert list(splits) == ["train", "val", "CSVDataModule", "CSVDataModule_2"]
    assert splits["train"]["rows"] == sum(len(rows(root / "train.csv")) for root in trees)


def test_check_names_every_patient_in_two_splits_of_a_set_as_the_set_means_it(
    trees: tuple[Path, Path], here: Path
) -> None:
    sets, starts = [], {"error": "CSVDataModule/", "warn": "CSVDataModule_2/"}
    for source, meant in zip(trees, starts, strict=True):
        shutil.copytree(source, here / meant)
        table = here / meant / "val.csv"
        train, val = rows(here / meant / "train.csv"), rows(table)
        for row, patient in zip(val, sorted({row["patient"] for row in train})[:2], strict=False):
            row["patient"] = patient
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(val[0]))
            writer.writeheader()
            writer.writerows(val)
        options = {"root": meant, "test_csv": "test.csv", "group_overlap": meant, **CSV}
        sets.append({"class_path": "CSVDataModule", "init_args": options})
    config = experiment(Path())
    config["data"] = {"class_path": "JoinedDataModule", "init_args": {"sets": sets, "image_size": 32}}
    written(here / "e.yaml", config)
    assert ibca("check", "--config", "e.yaml", "--output", "out", "--num_workers", 0).code == 2
    report = json.loads(Path("out/check.json").read_text())
    found = [each for each in report["findings"] if each["kind"] == "group leak"]
    expected = [(level, f"group '{starts[m]}{at:04d}'") for level, m in (("error", "error"), ("warning", "warn"))
                for at in range(2)]  # fmt: skip
    assert [(each["level"], each["what"].split(" in train")[0]) for each in found] == expected


def test_augmentation_can_be_switched_off_afterwards(trees: tuple[Path, Path]) -> None:
    """As `ibca check` does, whose hashes of training pictures must be those of the files."""
    data = joined(trees, augment="default")
    data.augment = "none"
    items = data.train_set()
    assert all(torch.equal(items[0]["image"], items[0]["image"]) for _ in range(5))
