"""`ibca predict --images` on 20,000 small pictures: pictures a second, and whether memory stays flat.

One process is measured while it works: its memory when a tenth of the pictures is done, and when the last are.

    python -m tests.bench.predict [--pictures N]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from ibca_lightning.heads import IBCAHead
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.run.callbacks.run_checkpoint import RunCheckpoint
from tests.training import Pictures, loader, trainer

SIDE, SOURCES = 64, 50


def prepare(folder: Path, pictures: int) -> Path:
    """Write the pictures, JPEG, and a checkpoint; returns the checkpoint."""
    rng = np.random.default_rng(0)
    data = [cv2.imencode(".jpg", rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8))[1] for _ in range(SOURCES)]
    (folder / "pictures").mkdir()
    for i in range(pictures):
        (folder / f"pictures/{i:06d}.jpg").write_bytes(data[i % SOURCES].tobytes())
    torch.manual_seed(0)
    model = MultiLabelModule(
        3, ["a", "b", "c"], image_size=SIDE, backbone="test_resnet", pretrained=False, head=IBCAHead,
        preprocessing={"resize": "stretch"},
    )  # fmt: skip
    checkpoint = RunCheckpoint(str(folder), "last")
    trainer(callbacks=[checkpoint]).fit(model, loader(Pictures(8)), loader(Pictures(8)))
    return folder / "last.ckpt"


def main(arguments: Sequence[str] = ()) -> None:
    """Print both."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.predict", description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000)
    pictures = parser.parse_args(arguments).pictures
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = prepare(folder, pictures)
        table = folder / "out/predictions.csv"
        command = [
            sys.executable, "-m", "ibca_lightning.cli", "predict", "--ckpt_path", str(checkpoint),
            "--images", str(folder / "pictures"), "--output", str(folder / "out"), "--batch_size", "64",
        ]  # fmt: skip
        start, first, early, memory = time.perf_counter(), 0.0, 0, 0
        process = subprocess.Popen(command)
        while process.poll() is None:
            done = _rows(table) if table.exists() else 0
            first = first or (time.perf_counter() if done > 0 else 0.0)
            if done < pictures:  # what the interpreter loads when it ends says nothing
                memory = _resident(process.pid) or memory
                early = early or (memory if done >= pictures / 10 else 0)
            time.sleep(0.05)
        end = time.perf_counter()
        if process.returncode or _rows(table) != pictures:
            raise SystemExit("predict failed")
    print(
        f"ibca predict, {pictures} JPEG of {SIDE} px, test_resnet: {pictures / (end - first):.0f} pictures/s behind "
        f"{first - start:.1f} s of start-up; memory {early / 1024:.0f} MB at a tenth, {memory / 1024:.0f} MB at the end"
    )


def _rows(path: Path) -> int:
    return path.read_bytes().count(b"\n") - 1


def _resident(process: int) -> int:
    """Memory of a process in kB; 0 when it is gone, or where there is no /proc."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)


if __name__ == "__main__":
    main(sys.argv[1:])
