"""Parameters of a run's head, and the CPU time it takes for one picture."""

import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import torch

from ibca_lightning.heads import Head
from ibca_lightning.model.backbone import Backbone
from ibca_lightning.model.checkpoint import ModelSpec, fitting_head, read_checkpoint, require_known_head
from ibca_lightning.model.network import recorded_backbone
from ibca_lightning.run.tested_figures import first_training
from ibca_lightning.system.output import write_err

_BATCH, _REPEATS = 16, 25


def head_costs(runs: Iterable[Path]) -> dict[Path, tuple[int, float]]:
    """Measure the heads of runs alone, in evaluation, on random maps of the run's shape and one thread.

    Returns:
        For each run the parameters, and CPU milliseconds a picture (median of some batches of 16).

    Raises:
        InputError: A run has no `checkpoints/best.ckpt`, or its classes cannot be built.
    """
    runs = [*dict.fromkeys(runs)]
    paths = {run: first_training(run) / "checkpoints" / "best.ckpt" for run in runs}
    for path in paths.values():  # one that is not trusted is said before the others are measured
        require_known_head(ModelSpec.from_checkpoint(read_checkpoint(path), path).head)
    shapes: dict[str, tuple[int, int, int]] = {}  # of the maps of each backbone
    costs = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for run in runs:
            write_err(f"measuring the head of {run.name}\n")
            path = paths[run]
            checkpoint = read_checkpoint(path)
            spec = ModelSpec.from_checkpoint(checkpoint, path)
            key = f"{spec.backbone} {spec.feature_stride} {spec.feature_blocks} {spec.in_channels} {spec.image_size}"
            if key not in shapes:
                shapes[key] = _shape(recorded_backbone(spec, checkpoint, path).eval(), spec)
            shape = shapes[key]
            head = fitting_head(spec, checkpoint, path, shape[0], len(spec.class_names)).eval()
            head.set_progress(1.0)
            costs[run] = sum(p.numel() for p in head.parameters()), _milliseconds(head, shape)
    finally:
        torch.set_num_threads(threads)
    return costs


@torch.inference_mode()
def _shape(backbone: Backbone, spec: ModelSpec) -> tuple[int, int, int]:
    _, channels, height, width = backbone(torch.zeros(1, spec.in_channels, spec.image_size, spec.image_size)).shape
    return channels, height, width


@torch.inference_mode()
def _milliseconds(head: Head, shape: tuple[int, int, int]) -> float:
    maps = torch.rand(_BATCH, *shape, generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(_REPEATS + 2):
        start = time.process_time()
        head(maps)
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times[2:]) / len(maps)  # the first two warm up
