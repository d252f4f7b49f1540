"""What every head costs: a step with it as a multiple of one with pooling and a linear layer, and the head alone.

CPU time of this process on one thread, median over repeats: wall time on a shared machine says more about the
neighbours. The backbone and the head are timed alone and added, because differences under 4 % drown in the noise of
whole steps. The backbone is timed once for each setting, the heads on random maps of its shape.

    python -m tests.bench.heads --heads IBCAHead MLDecoderHead --labels 20 500
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ibca_lightning import heads
from ibca_lightning.heads import Head, HeadOutput
from ibca_lightning.losses import masked_bce
from ibca_lightning.model.backbone import Backbone

BATCH, REPEATS, ENOUGH, TOO_LONG = 8, 15, 0.6, 3.0
LABELS = (5, 20, 80, 500)
BACKBONES = (("resnet50", 384), ("resnet18", 224))  # with the side of the pictures
PROGRESS = 0.5  # of training: every part of a head is at work
PUBLISHED: Mapping[str, Callable[[int, int], Head]] = {
    "MLDecoderHead": partial(heads.MLDecoderHead, width=768, ffn=2048),
}
"""Heads that are smaller here by default than in their papers, with the sizes of the papers."""


class Setting(NamedTuple):
    """A backbone, the side of its pictures, and the numbers of labels that are tried on it."""

    backbone: str
    size: int
    labels: tuple[int, ...]


class Cost(NamedTuple):
    """CPU seconds of one batch; `train` is None where a prediction alone already takes too long."""

    predict: float
    train: float | None


class PooledLinear(Head):
    """What a backbone comes with, and all else is measured against: GAP without maps."""

    def __init__(self, channels: int, num_labels: int) -> None:
        super().__init__(channels, num_labels)
        self.linear = nn.Linear(channels, num_labels)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """Logits, and an empty map."""
        return HeadOutput(self.linear(features.mean((2, 3))), features.new_empty(0), {})


def every_head() -> list[type[Head]]:
    """The heads of the package, in its own order."""
    found = [getattr(heads, name) for name in heads.__all__]
    return [cls for cls in found if isinstance(cls, type) and issubclass(cls, Head) and cls is not Head]


def seconds(function: Callable[[], object], repeats: int = REPEATS, too_long: float = TOO_LONG) -> float:
    """Median CPU seconds of one call, after one that warms up.

    Args:
        function: What is timed.
        repeats: Calls at most; at least three, but no more once they have taken `ENOUGH` seconds.
        too_long: A first call that takes longer is all there is.
    """
    first = _timed(function)
    if first > too_long:
        return first
    times: list[float] = []
    while len(times) < repeats and (len(times) < 3 or sum(times) < ENOUGH):
        times.append(_timed(function))
    return statistics.median(times)


def _timed(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def time_backbone(backbone: Backbone, images: Tensor) -> tuple[float, float]:
    """Seconds of (prediction, training) for one batch."""

    def train() -> None:
        backbone.zero_grad()
        backbone(images).sum().backward()

    backbone.eval()
    with torch.inference_mode():
        predict = seconds(lambda: backbone(images), too_long=60)
    backbone.train()
    return predict, seconds(train, too_long=60)


def time_head(head: Head, features: Tensor, labels: Tensor, too_long: float = TOO_LONG) -> Cost:
    """Time one batch of feature maps; training includes the features' gradient and the head's own losses."""
    features = features.clone().requires_grad_()

    def train() -> None:
        head.zero_grad()
        output = head(features, labels)
        (masked_bce(output.logits, labels) + sum(output.losses.values())).backward()

    head.eval()
    with torch.inference_mode():
        predict = seconds(lambda: head(features), too_long=too_long)
    if predict > too_long:
        return Cost(predict, None)
    head.train()
    head.set_progress(PROGRESS)
    return Cost(predict, seconds(train, too_long=too_long))


def multiple(backbone: tuple[float, float], head: Cost, linear: Cost) -> str:
    """A step with this head over one with pooling and a linear layer, `predict/train`."""
    predict = (backbone[0] + head.predict) / (backbone[0] + linear.predict)
    if head.train is None or linear.train is None:
        return f"{predict:.3f}/-"
    return f"{predict:.3f}/{(backbone[1] + head.train) / (backbone[1] + linear.train):.3f}"


def milliseconds(head: Cost) -> str:
    """The head alone, for one picture, `predict/train`."""
    train = "-" if head.train is None else f"{1e3 * head.train / BATCH:.2f}"
    return f"{1e3 * head.predict / BATCH:.2f}/{train}"


def measure(setting: Setting, chosen: Sequence[type[Head]]) -> tuple[tuple[float, float], dict[int, dict[str, Cost]]]:
    """Time the backbone, and for every number of labels `PooledLinear` and every head."""
    backbone = Backbone(setting.backbone, pretrained=False, image_size=setting.size)
    images = torch.randn(BATCH, 3, setting.size, setting.size)
    base = time_backbone(backbone, images)
    with torch.inference_mode():
        shape = backbone.eval()(images[:1]).shape[1:]
    features = torch.randn(BATCH, *shape).relu()
    costs: dict[int, dict[str, Cost]] = {}
    for count in setting.labels:
        labels = (torch.rand(BATCH, count) < 0.2).to(torch.int8)
        built: dict[str, Callable[[int, int], Head]] = {cls.__name__: cls for cls in (PooledLinear, *chosen)}
        built |= {_published(name): head for name, head in PUBLISHED.items() if name in built}
        costs[count] = {name: time_head(head(shape[0], count), features, labels) for name, head in built.items()}
    return base, costs


def report(chosen: Sequence[type[Head]], settings: Sequence[Setting]) -> list[str]:
    """The lines of the tables."""
    columns: list[str] = []
    multiples: dict[str, list[str]] = {}
    alone: dict[str, list[str]] = {}
    lines, ratios, cut = [], [], False
    for setting in settings:
        base, by_labels = measure(setting, chosen)
        for count, costs in by_labels.items():
            columns.append(f"{setting.backbone} {setting.size} px, {count} labels")
            linear = costs.pop(PooledLinear.__name__)
            for name, cost in costs.items():
                multiples.setdefault(name, []).append(multiple(base, cost, linear))
                alone.setdefault(name, []).append(milliseconds(cost))
                cut |= cost.train is None
            ours = costs.get("IBCAHead")
            for name in ("MLDecoderHead", _published("MLDecoderHead")):
                decoder = costs.get(name)
                if decoder and ours and decoder.train and ours.train and count in (20, 500):
                    ratios.append(
                        f"{name} over IBCAHead, {columns[-1]}: {decoder.predict / ours.predict:.2f} to predict, "
                        f"{decoder.train / ours.train:.2f} to train"
                    )
        lines.append(
            f"{setting.backbone} {setting.size} px alone: {BATCH / base[0]:.1f} pictures/s to predict, "
            f"{BATCH / base[1]:.1f} to train"
        )
    lines += [
        "",
        "a step of backbone + head over one of backbone + pooling + linear, predict/train "
        f"(batch {BATCH}, one thread, CPU time, median)",
    ]
    lines += _table(columns, multiples)
    lines += ["", "head alone, CPU ms a picture, predict/train", *_table(columns, alone)]
    if cut:
        lines += ["", f"-: not tried, a prediction of {BATCH} pictures takes the head more than {TOO_LONG:g} s"]
    return [*lines, "", *ratios] if ratios else lines


def _published(name: str) -> str:
    return f"{name}, published size"


def _table(columns: Sequence[str], rows: dict[str, list[str]]) -> list[str]:
    head = ["head", *columns]
    body = [[name, *cells] for name, cells in rows.items()]
    return ["| " + " | ".join(row) + " |" for row in (head, ["---", *["---:"] * len(columns)], *body)]


def main(arguments: Sequence[str]) -> None:
    """Print the tables."""
    names = {cls.__name__: cls for cls in every_head()}
    parser = argparse.ArgumentParser(prog="python -m tests.bench.heads", description=__doc__)
    parser.add_argument("--heads", nargs="+", choices=list(names), default=list(names), metavar="HEAD")
    parser.add_argument("--labels", nargs="+", type=int, default=list(LABELS), help="Their numbers, on each backbone.")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    settings = [Setting(backbone, size, tuple(options.labels)) for backbone, size in BACKBONES]
    print("\n".join(report([names[name] for name in options.heads], settings)))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
