"""What needs a GPU to be measured: `make bench-gpu`.

Every head forward and backward in bf16, pictures a second and peak memory of a backbone with each in training, those
of GAP and IBCA with the head compiled too (whole models take minutes to compile), and one real training. Ends with 2
where there is no GPU; `--device cpu` with small sizes is for trying it out.

    python -m tests.bench.gpu --tiles ../shared/data/idrid_tiles
    python -m tests.bench.gpu --backbone mobilenetv2_100 --batch 32 --labels 4 --heads IBCAHead --no-alone
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ibca_lightning.cli import main as ibca
from ibca_lightning.heads import GAPHead, Head, HeadOutput, IBCAHead
from ibca_lightning.losses import masked_bce
from ibca_lightning.model.module import MultiLabelModule
from tests.bench.heads import PROGRESS, every_head

GOAL = 0.95
WARM_UP = 3


class Steps(NamedTuple):
    """Training steps of a whole model: pictures a second, and the most memory they took (0 where nobody counts)."""

    rate: float
    megabytes: float


def loss_of(output: HeadOutput, labels: Tensor) -> Tensor:
    """What a training step goes down."""
    return masked_bce(output.logits, labels) + sum(output.losses.values())


def peak(device: torch.device) -> float:
    """Most megabytes since the last `forget`."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0


def forget(device: torch.device) -> None:
    """Count memory anew; models refer to themselves in circles, so that only the collector frees the last one."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def seconds(step: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median wall seconds of a step, the device's queue included."""
    times = []
    for number in range(WARM_UP + repeats):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= WARM_UP:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def kernels(step: Callable[[], object], device: torch.device) -> int:
    """What the device is asked to run in a step, copies among it; 0 where it runs none."""
    if device.type != "cuda":
        return 0
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        step()
        torch.cuda.synchronize(device)
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiler.events())


def head_line(cls: type[Head], features: Tensor, labels: Tensor, repeats: int) -> str:
    """One head: bf16 forward and backward, and whether all is finite."""
    device = features.device
    torch.manual_seed(0)
    head = cls(features.shape[1], labels.shape[1]).to(device).train()
    head.set_progress(PROGRESS)
    maps = features.bfloat16().requires_grad_()

    def step() -> None:
        head.zero_grad()
        maps.grad = None
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(head(maps, labels), labels)
        loss.backward()

    forget(device)
    time_of_step = seconds(step, repeats, device)
    memory = peak(device)
    gradients = [maps.grad, *(p.grad for p in head.parameters())]
    finite = all(g is not None and bool(g.isfinite().all()) for g in gradients)
    count = kernels(step, device)
    return f"| {cls.__name__} | {1e3 * time_of_step:.2f} | {count} | {memory:.0f} | {'yes' if finite else 'NO'} |"


def compiled_away(head: Head, features: Tensor, backend: str) -> float:
    """The largest difference of logits between the compiled head and the eager one."""
    head.eval()
    with torch.no_grad():
        eager = head(features).logits
        return float((torch.compile(head, backend=backend)(features).logits - eager).abs().max())


def model_steps(options: argparse.Namespace, head: type[Head], backend: str = "") -> Steps:
    """Train the whole model on pictures that lie on the device: no loader, no disc; `backend` compiles the head."""
    device = torch.device(options.device)
    torch.manual_seed(0)
    names = [f"class {i}" for i in range(options.labels)]
    model = MultiLabelModule(
        len(names), names, options.size, options.backbone, pretrained=False, head=head,
        compile="head" if backend else "none", compile_backend=backend or "inductor",
    ).to(device).train()  # fmt: skip
    model.head.set_progress(PROGRESS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda")
    shape = (options.batch, 3, options.size, options.size)
    images = torch.randint(256, shape, dtype=torch.uint8, device=device)
    labels = (torch.rand(options.batch, options.labels, device=device) < 0.2).to(torch.int8)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(model(images, labels), labels)
        loss.backward()
        optimizer.step()

    forget(device)
    rate = options.batch / seconds(step, options.repeats, device)
    torch.compiler.reset()
    return Steps(rate, peak(device))


def rate_line(name: str, steps: Steps, gap: Steps) -> str:
    """One whole model in training, beside that of GAP."""
    return f"| {name} | {steps.rate:.0f} | {steps.rate / gap.rate:.3f} | {steps.megabytes:.0f} |"


def ratio_line(gap: Steps, ours: Steps) -> str:
    """IBCA against GAP, and the goal."""
    ratio = ours.rate / gap.rate
    return f"IBCA over GAP {ratio:.3f}, goal {GOAL}: {'reached' if ratio >= GOAL else 'NOT reached'}"


def real_training(options: argparse.Namespace) -> str:
    """Fit and test on IDRiD tiles, the backbone from scratch: that it learns is shown, no figure is claimed by it."""
    tiles = Path(options.tiles)
    if not (tiles / "train.csv").is_file():
        return f"real training: not run, no IDRiD tiles at {tiles}; give --tiles DIR"
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        code = ibca([
            "fit", "--config", "experiments/idrid_tiles.yaml", "--data.root", str(tiles), "--run_dir", str(run),
            "--model.backbone", options.backbone, "--model.pretrained", "false", "--model.freeze_backbone", "false",
            "--data.image_size", str(options.size), "--data.num_workers", str(options.workers),
            "--trainer.precision", "bf16-mixed", "--trainer.max_epochs", str(options.epochs),
            "--trainer.accelerator", "gpu" if options.device == "cuda" else "cpu", "--wandb", "disabled",
            *(["--model.compile", "head", "--model.compile_backend", options.backends[0]] if options.backends else []),
        ])  # fmt: skip
        best = run / "checkpoints" / "best.ckpt"
        code = code or ibca(["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(best)])
        if code:
            return f"real training: FAILED with exit code {code}"
        score = json.loads((run / "test_metrics.json").read_text())["metrics"]["mAP"]
    took = f"{options.epochs} epochs of IDRiD tiles, {time.perf_counter() - start:.0f} s"
    return f"real training: {options.backbone} from scratch, {took}, mAP {score}"


def report(options: argparse.Namespace) -> bool:
    """Print everything; whether all of it worked."""
    device = torch.device(options.device)
    print(torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU: a trial of this program, no figures")
    setting = f"{options.backbone} {options.size} px, batch {options.batch}, bf16"
    heads = [cls for cls in every_head() if not options.heads or cls.__name__ in options.heads]
    lines = []
    if options.alone:
        print(f"\nheads on maps of {setting}, {options.labels} labels")
        print("| head | ms forward + backward | kernels | peak MB | all finite |\n|---|---:|---:|---:|---|")
        cells = max(options.size // 32, 1)
        features = torch.randn(options.batch, options.channels, cells, cells, device=device).relu()
        labels = (torch.rand(options.batch, options.labels, device=device) < 0.2).to(torch.int8)
        for cls in heads:
            lines.append(head_line(cls, features, labels, options.repeats))
            print(lines[-1], flush=True)
        del features
    print(f"\ntraining steps of the whole model, {setting}, channels-last, {options.labels} labels")
    print("| head | pictures/s | of GAP's | peak MB |\n|---|---:|---:|---:|")
    ratios = []
    for backend in ("", *options.backends):
        way = backend or "eager"
        gap = model_steps(options, GAPHead, backend)
        ours = model_steps(options, IBCAHead, backend)
        print(rate_line(f"GAPHead, {way}", gap, gap), rate_line(f"IBCAHead, {way}", ours, gap), sep="\n", flush=True)
        ratios.append(f"{way}: {ratio_line(gap, ours)}")
        if not backend:
            for cls in heads:
                if cls not in (GAPHead, IBCAHead):
                    print(rate_line(f"{cls.__name__}, {way}", model_steps(options, cls), gap), flush=True)
    print("", *ratios, sep="\n")
    lines.append(real_training(options))
    print(f"\n{lines[-1]}")
    return not any("| NO |" in line or "FAILED" in line for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Measure on a GPU.

    Returns:
        0; 1 where a head or the training failed; 2 where there is no GPU.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--channels", type=int, default=2048, help="Of the maps that the heads alone are given.")
    parser.add_argument(
        "--heads", nargs="*", default=[], help="Default: every one; the whole models always include GAP and IBCA."
    )
    parser.add_argument("--alone", action=argparse.BooleanOptionalAction, default=True, help="Heads on maps, too.")
    parser.add_argument(
        "--backends", nargs="*", default=["inductor", "cudagraphs"], help="Of torch.compile; none: eager."
    )
    parser.add_argument("--tiles", default="../shared/data/idrid_tiles")
    for name, default in (("size", 384), ("batch", 64), ("labels", 20), ("repeats", 20), ("epochs", 5), ("workers", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("error: a GPU for make bench-gpu, got none; run it where torch.cuda.is_available() is true\n")
        return 2
    return 0 if report(options) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
