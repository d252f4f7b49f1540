"""A picture that cannot be read: an error with file and row, or passed over, counted and named."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
from torch.utils.data.distributed import DistributedSampler

from ibca_lightning.data import CSVDataModule
from ibca_lightning.data.loader import Guard, Loader, collate
from ibca_lightning.metrics.store import EvaluationStore
from ibca_lightning.system.errors import InputError
from tests.command_line import done

ROWS = 12
pytestmark = pytest.mark.filterwarnings("ignore:every picture in one split only")  # one table thrice is simplest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Gray pictures, row i of gray 10 * i."""
    for at in range(ROWS):
        cv2.imwrite(str(tmp_path / f"{at}.png"), np.full((9, 9, 3), 10 * at, np.uint8))
    table = "image,a\n" + "".join(f"{at}.png,{at % 2}\n" for at in range(ROWS))
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.csv").write_text(table)
    return tmp_path


def module(root: Path, **changes: Any) -> CSVDataModule:
    options: Any = {"val_csv": "val.csv", "test_csv": "test.csv", "group_overlap": "warn", "image_size": 8}
    options |= {"batch_size": 4, "num_workers": 0, "augment": "none", "on_bad_image": "skip", **changes}
    return CSVDataModule(str(root), **options)


def grays(loader: Loader) -> dict[int, list[int]]:
    """For each index that came, the gray of its pictures."""
    seen: dict[int, list[int]] = {}
    for batch in loader:
        for index, image in zip(batch["index"].tolist(), batch["image"], strict=True):
            seen.setdefault(index, []).append(int(image.unique()))
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
def test_a_picture_that_breaks_in_a_later_epoch(
    root: Path, caplog: pytest.LogCaptureFixture, workers: int, cache: str
) -> None:
    options: Any = {"num_workers": workers, "cache": cache, "cache_dir": str(root / "cache")}
    skip, stop = module(root, **options), module(root, on_bad_image="error", **options | {"num_workers": 0})
    loaders = [data.train_dataloader() for data in (skip, stop)]
    for loader in loaders:
        assert grays(loader) == {at: [10 * at] for at in range(ROWS)}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    (root / "5.png").write_bytes(b"junk")
    (root / "6.png").unlink()
    with caplog.at_level(logging.WARNING):
        expected = {at: [10 * at] for at in range(ROWS) if at not in (5, 6)}
        assert grays(loaders[0]) == expected | {7: [70] * 3}
    (text,) = (record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert text.startswith("2 of 12 pictures could not be used in this epoch")
    for wrong in (r"5.png (", "train.csv, line 7), got 4 bytes", "6.png (", "train.csv, line 8), got nothing there"):
        assert wrong in text
    with pytest.raises(InputError, match=r"[56]\.png \(.*train\.csv, line [78]\)"):
        grays(loaders[1])


def test_evaluation_does_without_it_and_counts_no_other_twice(root: Path) -> None:
    (root / "0.png").write_bytes(b"junk")
    (root / "11.png").write_bytes(b"junk")
    store = EvaluationStore()
    for batch in module(root).test_dataloader():
        store.update(batch["index"], batch["image"].float().mean((1, 2, 3))[:, None] / 255, batch["label"])
    stored = store.compute()
    assert stored.index.tolist() == list(range(1, 11))
    assert (stored.logits[:, 0] * 255).round().tolist() == [10.0 * at for at in range(1, 11)]


def test_processes_have_as_many_batches_whatever_is_bad(root: Path) -> None:
    for at in range(0, ROWS, 2):  # all of one process, and the others' batches are whole
        (root / f"{at}.png").write_bytes(b"junk")
    dataset = Guard(module(root).val_set(), "skip")
    for rank in range(2):
        sampler: Any = DistributedSampler(dataset, num_replicas=2, rank=rank, shuffle=False)
        loader = Loader(dataset, batch_size=2, sampler=sampler, collate_fn=collate)
        assert [batch["index"].tolist() for batch in loader] == [[1, 3], [5, 7], [9, 11]]


def test_a_data_set_of_bad_pictures_stops_the_run(root: Path) -> None:
    for at in range(ROWS):
        (root / f"{at}.png").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"fewer than 12 bad pictures one after the other.*got 4 bytes"):
        grays(module(root).train_dataloader())


def test_a_bad_mask_is_passed_over_and_other_errors_are_not(root: Path) -> None:
    (root / "masks").mkdir()
    for at in range(ROWS):
        cv2.imwrite(str(root / f"masks/{at}.png"), np.full((9, 9), 1, np.uint8))
    cv2.imwrite(str(root / "masks/3.png"), np.zeros((9, 9, 3), np.uint8))
    assert 3 not in grays(module(root, mask_dir="masks").val_dataloader())
    with pytest.raises(InputError, match="shape"):  # a list of transforms that is wrong for all
        grays(module(root, augment=[A.Normalize()]).train_dataloader())
    with pytest.raises(InputError, match=r"data\.on_bad_image: error or skip, got 'drop'"):
        module(root, on_bad_image="drop")


def test_a_run_is_tested_without_it_and_says_so(
    run: Path, tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(tree, tmp_path / "data")
    rows = (tree / "test.csv").read_text().splitlines()[1:]
    first = rows[0].split(",")[0]
    (tmp_path / "data/images" / first).write_bytes(b"junk")
    options = ["--data.root", tmp_path / "data", "--data.on_bad_image", "skip", "--run_dir", tmp_path / "out"]
    with caplog.at_level(logging.WARNING):
        done("test", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/best.ckpt", *options)
    assert any(first in record.getMessage() for record in caplog.records)
    assert json.loads((tmp_path / "out/test_metrics.json").read_text())["samples"] == len(rows) - 1
    predicted = [line.split(",")[0] for line in (tmp_path / "out/test_predictions.csv").read_text().splitlines()[1:]]
    assert predicted == [row.split(",")[0] for row in rows[1:]]
