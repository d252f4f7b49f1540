"""`ibca predict --images` on 20,000 small pictures: pictures a second, and whether memory stays flat.

One process is measured while it works: its memory when a tenth of the pictures is done, and when the last are. Then
the same is done by it and by a bare script (bare_predict.py) of one backbone: CPU seconds a picture, start-up apart.

    python -m tests.bench.predict [--pictures N] [--beside N]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import timm
import torch

from ibca_lightning.heads import GAPHead, IBCAHead
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.run.callbacks.run_checkpoint import RunCheckpoint
from tests.training import Pictures, loader, trainer

SIDE, SOURCES = 64, 50


def prepare(
    folder: Path,
    pictures: int,
    side: int = SIDE,
    backbone: str = "test_resnet",
    head: type = IBCAHead,
    seen: int = SIDE,
) -> Path:
    """Write the pictures, JPEG, and a checkpoint; returns the checkpoint."""
    rng = np.random.default_rng(0)
    data = [cv2.imencode(".jpg", rng.integers(0, 255, (side, side, 3), np.uint8))[1] for _ in range(SOURCES)]
    (folder / "pictures").mkdir()
    for i in range(pictures):
        (folder / f"pictures/{i:06d}.jpg").write_bytes(data[i % SOURCES].tobytes())
    torch.manual_seed(0)
    model = MultiLabelModule(
        3, ["a", "b", "c"], image_size=seen, backbone=backbone, pretrained=False, head=head,
        preprocessing={"resize": "stretch"},
    )  # fmt: skip
    checkpoint = RunCheckpoint(str(folder), "last")
    trainer(callbacks=[checkpoint]).fit(model, loader(Pictures(8)), loader(Pictures(8)))
    return folder / "last.ckpt"


def beside(pictures: int, backbone: str = "mobilenetv2_100", seen: int = 256, batch: int = 16) -> None:
    """Print the CPU seconds of `ibca predict` and of the bare script, of all pictures less those of one batch."""
    with tempfile.TemporaryDirectory() as name:
        folder, few = Path(name), Path(name, "few")
        checkpoint = prepare(folder, pictures, 512, backbone, GAPHead, seen)
        few.mkdir()
        for picture in sorted((folder / "pictures").iterdir())[:batch]:
            (few / picture.name).symlink_to(picture)
        torch.save(timm.create_model(backbone, num_classes=3).state_dict(), folder / "bare.pt")
        bare = [sys.executable, "-m", "tests.bench.bare_predict", backbone, str(seen), str(batch)]
        ours = [sys.executable, "-m", "ibca_lightning.cli", "predict", "--ckpt_path", str(checkpoint)]
        start, whole = {}, {}
        for found, at in ((start, few), (whole, folder / "pictures")):
            found["bare"] = _seconds([*bare, str(at), str(folder / f"{at.name}.csv"), str(folder / "bare.pt")])
            told = ["--images", str(at), "--output", str(folder / f"out_{at.name}"), "--batch_size", str(batch)]
            found["ours"] = _seconds([*ours, *told])
    each = {of: (whole[of] - start[of]) / (pictures - batch) for of in whole}
    print(
        f"{backbone} at {seen} px, JPEG of 512 px: CPU ms a picture, bare {1000 * each['bare']:.1f}, ibca predict "
        f"{1000 * each['ours']:.1f}, ratio of pictures a second {each['bare'] / each['ours']:.2f} (goal 0.95); start "
        f"and {batch} pictures {start['bare']:.1f} and {start['ours']:.1f} s"
    )


def _seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: Sequence[str] = ()) -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.predict", description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000, help="0 leaves this part out.")
    parser.add_argument("--beside", type=int, default=512, help="Pictures for both; 0 leaves the comparison out.")
    options = parser.parse_args(arguments)
    if options.pictures:
        _alone(options.pictures)
    if options.beside:
        beside(options.beside)


def _alone(pictures: int) -> None:
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
