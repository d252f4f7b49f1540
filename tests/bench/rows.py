"""A table of Galar's size, 3.5 million rows x 29 labels: set-up, first batch, check, evaluation, files, report.

Each part runs in a process of its own, at an eighth of the rows and at all of them: CPU seconds, the memory it takes
at most and what it keeps a row, and the exponent with which its time grows (1 is linear). Pictures are links to one.

    python -m tests.bench.rows [--rows N] [--parts setup check evaluate]
"""

import argparse
import gc
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ibca_lightning.check import command, content, summary
from ibca_lightning.data import CSVDataModule
from ibca_lightning.data.tables.splits import split_groups
from ibca_lightning.data.tables.table import Table
from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.evaluation import evaluate
from ibca_lightning.metrics.store import EvaluationStore, SampleFacts
from ibca_lightning.report.command import report
from ibca_lightning.run.result_files import write_tests
from ibca_lightning.system.allocator import keep_freed_memory

ROWS, LABELS, VIDEOS, OF_PATIENT, BATCH = 3_500_000, 29, 80, 100, 16
SHARES = np.geomspace(0.6, 0.0005, LABELS)  # of positives, by label
PARTS = ("setup", "check", "evaluate")


def labels_of(rows: int, seed: int) -> NDArray[np.int8]:
    """Labels (N, L): of the last five most are unknown, as in Galar."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((rows, LABELS), np.float32) < SHARES.astype(np.float32)).astype(np.int8)
    labels[rows // 13 :, -5:] = -1
    return labels


def write_table(root: Path, rows: int) -> None:
    """Write train.csv, and a folder for each video, all of them links to one of links to one picture."""
    frames = rows // VIDEOS
    (root / "frames").mkdir()
    (root / "real").mkdir()
    cv2.imwrite(str(root / "frame.png"), np.zeros((64, 64, 3), np.uint8))
    for frame in range(frames):
        os.link(root / "frame.png", root / f"real/frame_{frame:06d}.PNG")
    labels = labels_of(frames * VIDEOS, 0).reshape(VIDEOS, frames, LABELS)
    cells = np.full((frames, LABELS, 2), ord(","), np.uint8)
    cells[:, -1, 1] = ord("\n")
    with (root / "train.csv").open("wb") as file:
        file.write(",".join(["image", "patient", *(f"l{at}" for at in range(LABELS))]).encode() + b"\n")
        for video in range(VIDEOS):
            (root / f"frames/{video}").symlink_to("../real")
            rows = range(video * frames, (video + 1) * frames)
            names = [f"{video}/frame_{row - rows[0]:06d}.PNG,p{row // OF_PATIENT:06d}," for row in rows]
            cells[:, :, 0] = np.frombuffer(b"01\0", np.uint8)[labels[video]]  # of -1 the last: a blank
            text = np.array(names, "S").view(np.uint8).reshape(frames, -1)
            lines = np.hstack([text, cells.reshape(frames, -1)])
            file.write(lines[lines > 0].tobytes())


def module(root: Path) -> CSVDataModule:
    """Return the data module of such a table, two splits split off."""
    return CSVDataModule(
        str(root), group_column="patient", image_dir="frames", val_fraction=0.1, test_fraction=0.2, image_size=64,
        num_workers=0, batch_size=BATCH, bit_depth=8, label_columns=[f"l{at}" for at in range(LABELS)],
    )  # fmt: skip


def kept() -> int:
    """Bytes that the process holds which are no file's, after what is freed is given back."""
    gc.collect()
    torch.zeros(1)
    import ctypes

    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print CPU seconds, and the most memory of the process so far, in MB."""
    start, before = time.process_time(), kept()
    start = time.process_time()
    yield
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}\t{seconds:.3f}\t{peak:.0f}\t{kept() - before}", flush=True)


def setup(root: Path, rows: int) -> None:
    """Tables, split, doubts; the first batch; a split in which every row is a group."""
    data = module(root)
    with measured("set-up: table, split, doubts"):
        data.setup("fit")
    with measured("first batch"):
        next(iter(data.train_dataloader()))
    table = data.table("train")
    with measured("split of 0.7 of the rows, each a group of its own"):
        split_groups(table.names, table.labels, [0.9, 0.1], 0)


def check(root: Path, rows: int) -> None:
    """`ibca check` without the reading of pictures."""
    data = module(root)

    def of_file(table: Table, masks: object, channels: int, depth: object, row: int) -> content.Facts:
        return content.Facts(int(table.lines[row]).to_bytes(16, "little"))  # no two alike, in whatever splits

    with measured("check, pictures not read"), mock.patch.object(content, "_of_file", of_file):
        contents, *_ = command._judged(data, 0)
        for split in contents.values():
            summary.summarise_split(split, data.class_names)
        summary.cooccurrence(contents)
        summary.found_associations(contents, data.class_names)


def evaluation(root: Path, rows: int) -> None:
    """What `ibca test` does behind the model, and `ibca report`."""
    rng = np.random.default_rng(1)
    labels = labels_of(rows, 1)
    logits = rng.standard_normal((rows, LABELS), np.float32) + 3 * (labels == 1) - 2
    store, facts = EvaluationStore(), SampleFacts()
    names = [f"l{at}" for at in range(LABELS)]
    with measured("gathering batches of 16"):
        for start in range(0, rows, BATCH):
            at = range(start, min(rows, start + BATCH))
            index = torch.arange(at.start, at.stop)
            store.update(index, torch.from_numpy(logits[at.start : at.stop].copy()),
                         torch.from_numpy(labels[at.start : at.stop].copy()))  # fmt: skip
            ids = [f"{row % VIDEOS}/frame_{row // VIDEOS:06d}.PNG" for row in at]
            facts.update({"index": index, "id": ids, "group": [f"p{row // OF_PATIENT:06d}" for row in at]})
    del logits, labels
    points = OperatingPoints([0.4] * LABELS, None, [])
    with measured("figures with intervals"):
        found = evaluate("test", store.compute(), facts, names, points, intervals=True)
    store._batches.clear()
    with measured("files of a test"):
        write_tests(root / "run", [found])
    del found, store, facts
    with measured("report"):
        report([str(root / "run"), "--no_images"])


STAGES: dict[str, Callable[[Path, int], None]] = {"setup": setup, "check": check, "evaluate": evaluation}


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rows", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # the folder, in the process of one part
    options = parser.parse_args(arguments)
    if options.inside:
        torch.set_num_threads(1)
        keep_freed_memory()  # as every command does on a CPU
        STAGES[options.parts[0]](Path(options.inside), options.rows)
        return
    found: dict[str, list[list[float]]] = {}
    sizes = [each // VIDEOS * VIDEOS for each in (options.rows // 8, options.rows)]
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            if {"setup", "check"} & {*options.parts}:
                write_table(Path(name), rows)
            for part in options.parts:
                command = [sys.executable, "-m", "tests.bench.rows", "--rows", str(rows), "--parts", part]
                told = subprocess.run([*command, "--inside", name], check=True, stdout=subprocess.PIPE, text=True)
                for line in told.stdout.splitlines():
                    if line.count("\t") == 3:
                        what, *values = line.split("\t")
                        found.setdefault(what, []).append([float(value) for value in values])
    print(f"{sizes[1]} rows x {LABELS} labels, one thread; exponent against {sizes[0]} rows")
    print(f"{'':<52}{'s of CPU':>10}{'exponent':>10}{'MB at most':>12}{'bytes kept a row':>18}")
    for what, (small, large) in found.items():
        exponent = math.log(large[0] / small[0]) / math.log(sizes[1] / sizes[0])
        print(f"{what:<52}{large[0]:>10.1f}{exponent:>10.2f}{large[1]:>12.0f}{large[2] / sizes[1]:>18.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
