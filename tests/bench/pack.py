"""Pictures a second from a pack beside those from loose files, and beside LitData's own loader over the same shards.

An epoch of training batches, augmented, in this process (CPU seconds, medians over rounds in turns), and the bytes
alone. With `--store s3://bucket/folder` (credentials and endpoint as the environment has them) also from there, in wall
time: an object for each picture against shards that are fetched while others are read.

    python -m tests.bench.pack [--pictures N] [--store ADDRESS]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from fsspec.core import url_to_fs
from litdata import StreamingDataLoader, StreamingDataset

from ibca_lightning.data import PackedPictures
from ibca_lightning.data.loader import collate
from ibca_lightning.data.pictures.reading import PictureFile, read_bytes
from ibca_lightning.datasets.packed.writing import write_pack
from tests.bench.data import line, medians, module, photograph, table

OPTIONS: dict[str, Any] = {"image_size": 224, "batch_size": 32, "num_workers": 0}
SHARD = 2**22  # bytes: small, so that a small set has many


def epoch(data: Any) -> int:
    """Go through the training batches; return the number of pictures."""
    data.setup("fit")
    return sum(len(batch["id"]) for batch in data.train_dataloader())


def litdata(root: Path, transform: Any) -> int:
    """Do so by LitData's own loader, with the same transform."""

    def item(sample: Sequence[Any]) -> dict[str, Any]:
        pixels = transform.read(PictureFile("picture", np.frombuffer(sample[0], np.uint8)))
        return {"image": transform.finish(*transform.prepare(pixels))[0]}

    dataset = StreamingDataset(str(root / "train"), shuffle=True, transform=item)
    loader = StreamingDataLoader(dataset, batch_size=OPTIONS["batch_size"], num_workers=0, collate_fn=collate)
    return sum(len(batch["image"]) for batch in loader)


def store(address: str, loose: Any, pack: Path, folder: Path) -> None:
    """Print wall seconds from a store."""
    fs, path = url_to_fs(address)
    rows = loose.table("train")
    names = [rows.name(row) for row in range(len(rows))]
    for name in names:
        fs.put_file(os.path.join(rows.folder, name), f"{path}/loose/{name}")
    write_pack(loose, f"{address}/pack", SHARD)
    start = time.perf_counter()
    for name in names:
        fs.cat_file(f"{path}/loose/{name}")
    single = time.perf_counter() - start
    data = PackedPictures(f"{address}/pack", cache_dir=str(folder), **OPTIONS)
    dataset = data.train_set()
    start = time.perf_counter()
    for row in dataset.arranged(np.arange(len(rows)), np.random.default_rng(0)):  # type: ignore[attr-defined]
        dataset.shards.read(int(dataset.table.lines[row]))  # type: ignore[attr-defined]
    shards = time.perf_counter() - start
    count = len(names)
    print(f"{address}, wall: an object each {count / single:.0f}/s, shards {count / shards:.0f}/s")


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pack", description=__doc__)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--store")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        for side in (256, 1000):
            folder = Path(name, str(side))
            folder.mkdir()
            sources = [folder / f"{at}.jpg" for at in range(4)]
            for at, path in enumerate(sources):
                cv2.imwrite(str(path), photograph(side, at))
            table(folder / "loose", sources, options.pictures)
            loose = module(folder / "loose", **OPTIONS)
            start = time.process_time()
            write_pack(loose, str(folder / "pack"), SHARD)
            wrote = time.process_time() - start
            pack = PackedPictures(str(folder / "pack"), **OPTIONS)
            rows, packed, shards = loose.table("train"), pack.table("train"), pack.shards()
            count = len(rows)
            files = [os.path.join(rows.folder, rows.name(row)) for row in range(count)]
            routes: dict[str, Callable[[], object]] = {
                "loose": partial(epoch, loose),
                "pack": partial(epoch, pack),
                "LitData": partial(litdata, folder / "pack", pack.training_transform()),
                "loose, bytes": lambda files=files: [read_bytes(file) for file in files],  # type: ignore[misc]
                "pack, bytes": lambda packed=packed, shards=shards: [shards.read(int(at)) for at in packed.lines],  # type: ignore[misc]
            }
            t = medians(routes, 5)
            said = ", ".join(f"{route} {count / seconds:.0f}/s" for route, seconds in t.items())
            print(f"JPEG {side} x {side} to 224 px, {count} pictures in {len(shards)} shards: {said}")
            print(f"  packed at {(count + len(loose.table('val'))) / wrote:.0f}/s")
            ratio = t["loose"] / t["pack"]
            line("  an epoch of a pack over one of loose files", f"{ratio:.2f}", ">= 1", ratio >= 1)
            if options.store:
                store(f"{options.store}/{side}", loose, folder / "pack", folder / "kept")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
