"""Damaged files of folders that we wrote: packs, stored maps, model cards, figures and predictions; as `test_readers`.

Each file is damaged in its bytes, or holds other plain data in the right form; what was wrong is named in one line.
"""

import csv
import io
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ibca_lightning.data import FrozenMaps, PackedPictures
from ibca_lightning.datasets.packed.writing import write_pack
from ibca_lightning.run.callbacks.metrics_csv import RunCSVLogger
from ibca_lightning.run.model_card import read_facts, render
from ibca_lightning.run.tested_samples import read_samples
from ibca_lightning.run.training_figures import read_training
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.whole_files import csv_lines
from ibca_lightning.use.app.card import card_beside
from ibca_lightning.use.predictions.files import RowFiles
from tests import stored_maps
from tests.datasets import fake_csv
from tests.datasets.test_packed import SMALL, loose
from tests.fuzz.mutation import fuzz, mutated, seconds, spoilt
from tests.run.callbacks.test_model_card import facts

Read = Callable[[bytes, random.Random], object]


def one_spoilt(files: dict[Path, bytes], rng: random.Random) -> None:
    """Put every file back as it was, but for one."""
    for path, data in files.items():
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)
    path = rng.choice(sorted(files))
    data = files[path]
    if path.suffix == ".json" and rng.random() < 0.7:
        path.write_text(json.dumps(spoilt(json.loads(data), rng), default=str), errors="surrogatepass")
    elif path.suffix == ".jsonl" and rng.random() < 0.7:
        lines = [json.loads(line) for line in data.splitlines()]
        path.write_text("".join(f"{json.dumps(row, default=str)}\n" for row in spoilt(lines, rng)))
    elif path.suffix == ".csv" and rng.random() < 0.5:
        changed = spoilt([*csv.reader(io.StringIO(data.decode()))], rng)
        rows = [row if isinstance(row, list) else [row] for row in changed]
        path.write_text("".join(csv_lines(rows)), errors="surrogatepass")
    elif path.suffix == ".npy" and rng.random() < 0.5:
        array = np.load(io.BytesIO(data))
        at = tuple(rng.randrange(side) for side in array.shape)
        array[at] = np.array(rng.choice((-128, -3, -1, 0, 1, 2, 127))).astype(array.dtype)
        np.save(path, array if rng.random() < 0.8 else array.astype(rng.choice((np.int16, np.float64, bool))))
    elif path.suffix == ".npz" and rng.random() < 0.5:
        with np.load(io.BytesIO(data)) as packed:
            arrays: dict[str, Any] = dict(packed)
        name = rng.choice(sorted(arrays))
        of, kind = arrays[name], rng.randrange(5)
        arrays[name] = (of[:-1], of[None], of[::-1], of.astype("U9"), np.full(of.shape, 1e300))[kind]
        np.savez_compressed(path, **arrays)
    elif rng.random() < 0.05:
        path.unlink()
    else:
        path.write_bytes(mutated(data, list(files.values()), rng))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_packs(tmp_path: Path) -> None:
    """Tables and pictures come, of the size and the labels that were said; or the file is named."""
    fake_csv.write(tmp_path / "loose")
    write_pack(loose(tmp_path / "loose"), str(tmp_path / "pack"), 60_000)
    files = contents(tmp_path / "pack")

    def read(_: bytes, rng: random.Random) -> None:
        one_spoilt(files, rng)
        data = PackedPictures(str(tmp_path / "pack"), **SMALL)
        shards = data.shards()
        for table in data.tables().values():
            assert table.labels.shape == (len(table), len(set(data.class_names)))
            assert np.isin(table.labels, (-3, -2, -1, 0, 1)).all()
            for row in range(0, len(table), 5):
                assert table.name(row)
                assert len(shards.read(int(table.lines[row]))[0])
        _ = data.exclusive_classes, data.origin, data.masks, data.preprocessing

    good, refused = fuzz([bytes(1)], read, InputError, seconds(1 / 4))
    assert good > 0
    assert refused > 10


def test_stored_maps(tmp_path: Path) -> None:
    """Likewise; a batch has the maps, labels and masks that were said."""
    stored_maps.small(tmp_path / "maps")
    files = contents(tmp_path / "maps")

    def read(_: bytes, rng: random.Random) -> None:
        one_spoilt(files, rng)
        if rng.random() < 0.3:
            path = rng.choice([path for path in files if ".stage" in path.name])
            end = -2 * rng.randrange(1, 8)
            number = np.float16(rng.choice((np.nan, np.inf, -np.inf))).tobytes()
            path.write_bytes(files[path][:end] + number + files[path][end:][2:])
        data = FrozenMaps(str(tmp_path / "maps"), train_masks=True, fold=rng.choice((None, None, 0)), folds=2)
        data.setup()
        _ = data.origin, data.preprocessing, data.split_files(), data.instruments()
        for dataset in (data.train_set(), data.val_set(), *data.test_sets().values()):
            assert dataset.labels.shape == (len(dataset), len(set(data.class_names)))
            assert np.isin(dataset.labels, (-1, 0, 1)).all()
            item = dataset[len(dataset) - 1]
            assert [list(stage.shape) for stage in item["features"]] == data.record.stages
            assert all(bool(torch.isfinite(stage).all()) for stage in item["features"])
            assert item["label"].shape == (data.num_labels,)
            assert isinstance(item["id"], str)

    good, refused = fuzz([bytes(1)], read, InputError, seconds(1 / 4))
    assert good > 0
    assert refused > 10


def test_model_cards(tmp_path: Path) -> None:
    """A card that somebody edited is passed over, at once, or written again as it was."""
    path = tmp_path / "model_card.md"
    mark, sound = b"<!-- ibca-facts ", facts()
    seeds = [b"# Card\n\n[a](b) `c` | d |\n|---|---|\n" + mark + json.dumps(sound).encode() + b" -->\n"]

    def read(data: bytes, rng: random.Random) -> None:
        if rng.random() < 0.5:
            data = b"# Card\n" + mark + json.dumps(spoilt(sound, rng), default=str).encode() + b" -->\n"
        if rng.random() < 0.1:
            data = rng.choice((mark, b" -->", b" -->\n", b"[", b"](", b"|-", b"`", b"**", b"> ", b"- ")) * 4000 + data
        path.write_bytes(data)
        found = read_facts(path)
        assert isinstance(found, dict)
        assert "<script" not in card_beside(tmp_path / "best.ckpt")
        if not found:
            raise InputError("facts")
        render(found)

    good, refused = fuzz(seeds, read, InputError, seconds(1 / 8))
    assert good > 0
    assert refused > 10


def test_training_figures(tmp_path: Path) -> None:
    """What is read are numbers, and a run goes on in such a file; or it is named."""
    path = tmp_path / "metrics.csv"
    seeds = [
        b"epoch,step,train/loss_epoch,train/loss_step,val/loss,val/mAP\n0,1,,0.9,,\n0,3,,,0.8,0.25\n0,3,0.7,,,\n",
        b'epoch,step,"val/AP/a ""b"", c"\n0,1,1e-05\n',
    ]

    def read(data: bytes, rng: random.Random) -> None:
        path.write_bytes(data)
        for row in read_training(tmp_path):
            for name, value in row.items():
                assert isinstance(name, str)
                assert math.isfinite(value) or name.startswith("train/")
        logger = RunCSVLogger(str(tmp_path))
        logger.log_metrics({"val/mAP": 0.5, "new": 1.0}, step=9)
        logger.finalize("success")
        assert {"val/mAP": 0.5, "new": 1.0, "step": 9.0}.items() <= read_training(tmp_path)[-1].items()

    good, refused = fuzz(seeds, read, InputError, seconds(1 / 8))
    assert good > 0
    assert refused > 10


def test_prediction_tables(tmp_path: Path) -> None:
    """What `test` wrote comes back whole and possible, and `predict` goes on with its rows; or the file is named."""
    run, output = tmp_path / "run", tmp_path / "output"
    run.mkdir()
    ids = [f"p{at // 2}/{at}.png" for at in range(8)]
    made: dict[str, list[list[Any]]] = {
        "test_predictions.csv": [["id", "A", "B", "label:A", "label:B"],
                                 *([each, 0.1 * at, 0.9, at % 2, -1] for at, each in enumerate(ids))],
        "test_groups.csv": [["id", "group"], *([each, each[:2]] for each in ids)],
        "test_localisation.csv": [["id", "class", "pointing_game"], [ids[1], "A", 1.0], [ids[3], "A", ""]],
    }  # fmt: skip
    for name, rows in made.items():
        (run / name).write_text("".join(csv_lines(rows)))
    record, header = {"ckpt_path": "x"}, ["id", "A", "B"]
    files = RowFiles(output, record, header)
    files.add([[each, "0.5", "0.25"] for each in ids[:4]])
    files.fail([(ids[5], "a picture, got none")])
    files.close()
    tested, predicted = contents(run), contents(output)

    def read(_: bytes, rng: random.Random) -> None:
        if rng.random() < 0.7:
            one_spoilt(tested, rng)
            found = read_samples(run, "test")
            assert found.probabilities.shape == found.labels.shape == (len(found.ids), len(set(found.class_names)))
            assert bool(((found.probabilities >= 0) & (found.probabilities <= 1)).all())
            assert bool(((found.labels >= -1) & (found.labels <= 1)).all())
            assert len(found.groups) == len(found.ids) == len(set(found.ids)) > 0
            return
        one_spoilt(predicted, rng)
        with_rows = RowFiles(output, record, header)
        try:
            done = with_rows.done
            with_rows.add([["new.png", "0.5", "0.25"]])
            assert [*with_rows.rows()][-1] == ["new.png", "0.5", "0.25"]
            assert all(isinstance(name, str) for name in done)
        finally:
            with_rows.close()

    good, refused = fuzz([bytes(1)], read, InputError, seconds(1 / 4))
    assert good > 0
    assert refused > 10
