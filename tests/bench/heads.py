"""Pictures a second and the head's share of a step, for every head, on one thread.

CPU time of this process, median over repeats: wall time on a shared machine says more about the neighbours. The
backbone and the head are timed alone and added, because differences under 4 % drown in the noise of whole steps.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ibca_lightning.backbone import Backbone
from ibca_lightning.heads import GAPHead, Head, IBCAHead
from ibca_lightning.losses import masked_bce

BATCH, LABELS, REPEATS = 16, 20, 5
HEADS: tuple[type[Head], ...] = (GAPHead, IBCAHead)


def seconds(function: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median CPU seconds of one call, after one that warms up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times)


def time_backbone(backbone: Backbone, images: Tensor) -> tuple[float, float]:
    """Seconds of (prediction, training) for one batch."""

    def train() -> None:
        backbone.zero_grad()
        backbone(images).sum().backward()

    backbone.eval()
    with torch.inference_mode():
        predict = seconds(lambda: backbone(images))
    backbone.train()
    return predict, seconds(train)


def time_head(head: Head, features: Tensor, labels: Tensor) -> tuple[float, float]:
    """Seconds of (prediction, training) for one batch of feature maps; training includes the features' gradient."""
    features = features.requires_grad_()

    def train() -> None:
        head.zero_grad()
        output = head(features, labels)
        (masked_bce(output.logits, labels) + sum(output.losses.values())).backward()

    head.eval()
    with torch.inference_mode():
        predict = seconds(lambda: head(features), 3 * REPEATS)
    head.train()
    head.set_progress(0.5)
    return predict, seconds(train, 3 * REPEATS)


def main(name: str = "resnet18", size: int = 224) -> None:
    """Print one table."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    backbone = Backbone(name, pretrained=False, image_size=size)
    images = torch.randn(BATCH, 3, size, size)
    base = time_backbone(backbone, images)
    features = backbone(images).detach()
    labels = (torch.rand(BATCH, LABELS) < 0.2).to(torch.int8)
    print(f"{name}, {size} px, {LABELS} labels, batch {BATCH}, one thread, CPU time, median of {REPEATS}")
    print(f"{'head':<12}{'predict img/s':>15}{'head share':>12}{'train img/s':>14}{'head share':>12}")
    for cls in HEADS:
        cost = time_head(cls(backbone.channels, LABELS), features.clone(), labels)
        whole = [b + h for b, h in zip(base, cost, strict=True)]
        rates = [BATCH / seconds_ for seconds_ in whole]
        shares = [h / w for h, w in zip(cost, whole, strict=True)]
        print(f"{cls.__name__:<12}{rates[0]:>15.1f}{shares[0]:>12.2%}{rates[1]:>14.1f}{shares[1]:>12.2%}")


if __name__ == "__main__":
    main()
