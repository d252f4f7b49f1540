"""Training as users run it against a bare PyTorch loop: pictures a second, and memory.

`ibca fit` with its loader (pictures cached in memory, not augmented), module, loggers, callbacks; and a loop of the
same backbone, head, loss, optimiser, batch and precision on the same pictures, which lie ready as tensors. Each runs in
a process of its own; the first epoch counts for none. On a CPU the seconds are those of the processor.

    python -m tests.bench.step --quick
    python -m tests.bench.step --device cuda --backbone mobilenetv2_100 --batch 32 --labels 4
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import yaml
from lightning.pytorch.callbacks import Callback

QUICK = {"backbone": "test_resnet", "size": 64, "batch": 8, "steps": 6, "epochs": 3, "labels": 4}
GOAL = 0.97


class Result(NamedTuple):
    """Pictures a second after the first epoch, and the most memory."""

    rate: float
    megabytes: float


def clock(device: str) -> float:
    """Seconds, of the processor on a CPU; else when the device has done all it was given."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def result(options: argparse.Namespace, seconds: list[float]) -> Result:
    """The rate of the epochs but the first, and the peak of the device, or of this process."""
    pictures = options.batch * options.steps * (len(seconds) - 1)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return Result(
        pictures / sum(seconds[1:]), used if options.device == "cpu" else torch.cuda.max_memory_allocated() / 2**20
    )


class Clock(Callback):
    """Seconds of the steps of each epoch, its validation not among them."""

    seconds: list[float] = []  # noqa: RUF012 - read where the callback cannot be reached

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin."""
        self._start = clock(pl_module.device.type)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Stop behind the last step."""
        if trainer.is_last_batch:
            self.seconds.append(clock(pl_module.device.type) - self._start)


def fitted(options: argparse.Namespace, root: str, head: str) -> Result:
    """What `ibca fit` does."""
    from ibca_lightning.cli import main as ibca
    from tests.bench import step  # as the command line imports it, which this file run by itself is not

    config = Path(root) / f"{head}.yaml"
    data = {"root": root, "image_dir": "images", "image_size": options.size, "batch_size": options.batch,
            "num_workers": options.workers, "cache": "memory", "augment": "none", "val_csv": "val.csv"}  # fmt: skip
    accelerator = "cpu" if options.device == "cpu" else "gpu"
    config.write_text(yaml.safe_dump({
        "data": {"class_path": "CSVDataModule", "init_args": data},
        "model": {"backbone": options.backbone, "pretrained": False, "head": {"class_path": head}},
        "trainer": {"max_epochs": options.epochs, "precision": options.precision, "accelerator": accelerator},
    }))  # fmt: skip
    run = ["--run_dir", f"{root}/run_{head}", "--wandb", "disabled", "--trainer.callbacks+=tests.bench.step.Clock"]
    code = ibca(["fit", "--config", str(config), *run])
    if code:
        raise SystemExit(code)
    return result(options, step.Clock.seconds)


def bare(options: argparse.Namespace, root: str, head: str) -> Result:
    """What a loop of a dozen lines does."""
    from ibca_lightning import heads
    from ibca_lightning.data import CSVDataModule
    from ibca_lightning.losses import masked_bce
    from ibca_lightning.model.module import MultiLabelModule
    from ibca_lightning.model.optimisation import parameter_groups

    data = CSVDataModule(root, image_dir="images", image_size=options.size, batch_size=options.batch, num_workers=0,
                         augment="none", val_csv="val.csv")  # fmt: skip
    batches = [(batch["image"], batch["label"]) for batch in data.train_dataloader()]
    if options.device != "cpu":
        batches = [(images.pin_memory(), labels.pin_memory()) for images, labels in batches]
    names = data.class_names
    model = MultiLabelModule(len(names), names, options.size, options.backbone, False, head=getattr(heads, head))
    model.to(options.device).train()
    optimizer = torch.optim.AdamW(parameter_groups(model.backbone, model.head), lr=3e-4, weight_decay=0.05, fused=True)
    mixed, seconds = options.precision == "bf16-mixed", []
    for epoch in range(options.epochs):
        start = clock(options.device)
        model.head.set_progress(epoch / options.epochs)
        for images, labels in batches:
            x, y = (values.to(options.device, non_blocking=True) for values in (images, labels))
            with torch.autocast(options.device, torch.bfloat16, enabled=mixed):
                output = model(x, y)
                loss = masked_bce(output.logits, y) + sum(output.losses.values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(clock(options.device) - start)
    return result(options, seconds)


def pictures(options: argparse.Namespace, root: Path) -> None:
    """Write the data: noise, and a label in five."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    classes = [f"class {i}" for i in range(options.labels)]
    for name, rows in (("train", options.batch * options.steps), ("val", options.batch)):
        lines = [",".join(["image", *classes])]
        for row in range(rows):
            file = f"{name}{row}.jpg"
            cv2.imwrite(str(root / "images" / file), rng.integers(0, 256, (options.size, options.size, 3), np.uint8))
            lines.append(",".join([file, *map(str, (rng.random(options.labels) < 0.2).astype(int))]))
        (root / f"{name}.csv").write_text("\n".join(lines) + "\n")


def alone(measure: Callable[..., Result], *arguments: Any) -> Result:
    """Measure in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.step", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], help="Default: bf16-mixed on a GPU.")
    parser.add_argument("--quick", action="store_true", help=f"Sizes that show that it works: {QUICK}.")
    for name, default in (("size", 384), ("batch", 64), ("labels", 20), ("steps", 12), ("epochs", 4), ("workers", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(QUICK)
    options.precision = options.precision or ("32-true" if options.device == "cpu" else "bf16-mixed")
    print(f"{options.backbone} {options.size} px, batch {options.batch}, {options.labels} labels, {options.precision}, "
          f"{torch.cuda.get_device_name() if options.device == 'cuda' else 'CPU'}")  # fmt: skip
    print("| training | pictures/s | MB | of the bare loop with GAP | of the bare loop |\n|---|---:|---:|---:|---:|")
    rates: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        pictures(options, Path(folder))
        for name, measure, head in (
            ("bare loop, GAP", bare, "GAPHead"), ("bare loop, IBCA", bare, "IBCAHead"),
            ("ibca fit, IBCA", fitted, "IBCAHead"),
        ):  # fmt: skip
            own = alone(measure, options, folder, head)
            rates.append(own.rate)
            ratios = [f"{own.rate / other:.3f}" for other in rates[:2]] + ["-"] * (2 - len(rates))
            print(f"| {name} | {own.rate:.1f} | {own.megabytes:.0f} | {' | '.join(ratios)} |", flush=True)
    print(f"goal of both for ibca fit: {GOAL}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
