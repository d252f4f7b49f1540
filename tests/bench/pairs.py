"""Two pictures of a case against one: lesions that are new since the last visit, which no single picture can know.

Each lesion of an SCM picture is, by chance, in the prior picture alone (healed), in both (old) or in the current one
alone (new); the label says which classes are new. Bubbles, glare, debris and grain are others at each visit; marks are
left out. Both are joined as `layouts.pairs` does, a frozen backbone makes the map, and heads are trained on it.

    python -m tests.bench.pairs --checkpoint_path W --seeds 0 1 2 3 4
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ibca_lightning.data.pictures.transforms import evaluation_transform
from ibca_lightning.datasets.layouts.pairs import join
from ibca_lightning.datasets.scm.pictures import CLASS_NAMES, draw_picture, plan_picture
from ibca_lightning.heads import CSRAHead, Head, HeadOutput, IBCAHead, PairHead
from ibca_lightning.heads.layers import MapBatchNorm
from ibca_lightning.losses import Loss, MaskedBCE
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.model.backbone import Backbone

SIDE, BATCH, RATE, DECAY = 96, 32, 3e-3, 0.01
HEADS: Mapping[str, tuple[Callable[[int, int], Head], Callable[[int, int], Head]]] = {
    "csra": (CSRAHead, partial(CSRAHead, width=256)),  # behind the projection of `PairHead`, and with its own
    "ibca": (IBCAHead, IBCAHead),
}


class Current(Head):
    """A head that sees the right half alone."""

    def __init__(self, channels: int, num_labels: int, head: Callable[[int, int], Head]) -> None:
        super().__init__(channels, num_labels)
        self.head = head(channels, num_labels)

    def set_progress(self, progress: float) -> None:
        """Of the head."""
        self.head.set_progress(progress)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """Of the current picture."""
        output: HeadOutput = self.head(features[..., features.shape[-1] // 2 :].contiguous(), labels)
        return output


def ways(name: str) -> dict[str, Callable[[int, int], Head]]:
    """What is compared, under one head."""
    inner, alone = HEADS[name]
    fused = {fusion: partial(PairHead, head=inner, fusion=fusion) for fusion in ("sum", "concat", "gate", "three")}
    return {"current picture alone": partial(Current, head=alone), "both as one picture": alone, **fused}


def draw_pair(stream: int, at: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The prior and the current picture (S, S, 3) uint8 of a case, and which classes are new."""
    rng = np.random.default_rng((stream, at))
    plan, other = (plan_picture((stream, number), 0.5, SIDE) for number in (at, at + 10**6))
    lesions = [(item, rng.integers(3)) for item in plan.items if item.kind == "cause"]  # 0 healed, 1 old, 2 new
    pictures = []
    for visit, own in enumerate((other, plan)):
        noise = [item for item in own.items if item.kind == "noise"]
        shown = [item for item, kind in lesions if kind == 1 or kind == 2 * visit]
        items = (*shown, *noise)
        pictures.append(draw_picture(replace(plan, items=items, grain_seed=own.grain_seed), SIDE).image)
    new = {item.index for item, kind in lesions if kind == 2}
    return pictures[0], pictures[1], [int(label in new) for label in range(len(CLASS_NAMES))]


@torch.inference_mode()
def stored(backbone: Backbone, stream: int, count: int) -> tuple[Tensor, Tensor]:
    """The maps of some cases, and their labels."""
    transform = evaluation_transform(2 * SIDE, {"resize": "pad", "pair": "yes"})
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) * 255 for values in (backbone.mean, backbone.std))
    maps, labels = [], []
    for at in range(count):
        prior, current, label = draw_pair(stream, at)
        image, _ = transform(join(prior, current, SIDE))
        rows = slice(SIDE // 2, SIDE // 2 + SIDE)  # without what `pad` puts above and below
        maps.append(backbone((image[None, :, rows] - mean) / std)[0])
        labels.append(label)
    return torch.stack(maps), torch.tensor(labels)


def train(
    make: Callable[[int, int], Head], maps: Tensor, labels: Tensor, seed: int, epochs: int, loss: Loss | None = None
) -> nn.Module:
    """Fit a head to maps, behind a normalisation of their channels."""
    torch.manual_seed(seed)
    head = make(maps.shape[1], labels.shape[1])
    model = nn.Sequential(MapBatchNorm(maps.shape[1], affine=False), head).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    steps = epochs * (len(maps) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        if step % (len(maps) // BATCH) == 0:
            order = torch.randperm(len(maps)).split(BATCH)
        rows = order[step % (len(maps) // BATCH)]
        head.set_progress(step / (steps - 1))
        output = head(model[0](maps[rows]), labels[rows])
        optimizer.zero_grad()
        sum(output.losses.values(), start=(loss or MaskedBCE())(output.logits, labels[rows])).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.inference_mode()
def mean_precision(model: nn.Module, maps: Tensor, labels: Tensor) -> float:
    """The mAP of a trained head."""
    found = torch.cat([model(part).logits.sigmoid() for part in maps.split(BATCH)])
    return float(figures(found, labels, list(CLASS_NAMES))["metrics"]["mAP"])


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if values[1:] else "")


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pairs", description=__doc__)
    parser.add_argument("--checkpoint_path", help="Weights of mobilenetv2_100; without it they are random.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=list(HEADS))
    parser.add_argument("--cases", nargs=2, type=int, default=[800, 300], help="Of training and test.")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    path = options.checkpoint_path
    backbone = Backbone("mobilenetv2_100", pretrained=False, checkpoint_path=path, feature_stride=16).eval()
    (maps, labels), test = (stored(backbone, stream, count) for stream, count in enumerate(options.cases))
    print(f"new lesions, by class: {labels.sum(0).tolist()} of {len(labels)}, in test {test[1].sum(0).tolist()}")
    print("| the head reads | " + " | ".join(options.heads) + " |\n|---|" + "---:|" * len(options.heads))
    for way in ways("csra"):
        cells = []
        for name in options.heads:
            make = ways(name)[way]
            found = [mean_precision(train(make, maps, labels, s, options.epochs), *test) for s in options.seeds]
            cells.append(spread(found))
        print(f"| {way} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
