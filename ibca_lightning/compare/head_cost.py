"""Parameters of a run's head, and the CPU time it takes for one picture."""

import statistics
import time
from pathlib import Path

import torch

from ibca_lightning.heads import Head
from ibca_lightning.model.backbone import Backbone
from ibca_lightning.model.checkpoint import ModelSpec, build_head, read_checkpoint

_BATCH, _REPEATS = 16, 25


def head_cost(run: Path, shapes: dict[str, tuple[int, int, int]]) -> tuple[int, float]:
    """Measure the head of a run alone, in evaluation, on random maps of the run's shape and one thread.

    Args:
        run: A run folder with `checkpoints/best.ckpt`.
        shapes: (C, H, W) of the maps of each backbone seen so far; added to.

    Returns:
        Its parameters, and CPU milliseconds a picture (median of some batches of 16).

    Raises:
        InputError: There is no such checkpoint, or its classes cannot be built.
    """
    path = run / "checkpoints" / "best.ckpt"
    spec = ModelSpec.from_checkpoint(read_checkpoint(path), path)
    key = f"{spec.backbone} {spec.feature_stride} {spec.image_size}"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if key not in shapes:
            shapes[key] = _shape(spec)
        channels, height, width = shapes[key]
        head = build_head(spec.head, channels, len(spec.class_names))
        head.set_progress(1.0)
        maps = torch.rand(_BATCH, channels, height, width, generator=torch.Generator().manual_seed(0))
        return sum(p.numel() for p in head.parameters()), _milliseconds(head.eval(), maps)
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def _shape(spec: ModelSpec) -> tuple[int, int, int]:
    backbone = Backbone(
        spec.backbone, pretrained=False, feature_stride=spec.feature_stride, image_size=spec.image_size
    ).eval()
    _, channels, height, width = backbone(torch.zeros(1, 3, spec.image_size, spec.image_size)).shape
    return channels, height, width


@torch.inference_mode()
def _milliseconds(head: Head, maps: torch.Tensor) -> float:
    times = []
    for _ in range(_REPEATS + 2):
        start = time.process_time()
        head(maps)
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times[2:]) / len(maps)  # the first two warm up
