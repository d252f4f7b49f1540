"""Losses for rare classes on stored maps: AP of the rare classes, and what smoothing and focusing cost in calibration.

python -m tests.bench.losses --maps data/edd_maps --rare HGD cancer --seeds 0 1 2 3 4
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ibca_lightning import heads
from ibca_lightning.data import FrozenMaps
from ibca_lightning.losses import FocalLoss, LogitAdjustedBCE, Loss, MaskedBCE
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.model.backbone import Backbone
from tests.bench.pairs import BATCH, spread, train

LOSSES: Mapping[str, Callable[[], Loss]] = {
    "bce": MaskedBCE,
    "bce, pos_weight balanced": lambda: MaskedBCE("balanced"),
    "logit adjusted": LogitAdjustedBCE,
    "focal": FocalLoss,
    "focal, smoothing 0.1": lambda: FocalLoss(smoothing=0.1),
    "focal, balance 0.99": lambda: FocalLoss(balance=0.99),
    "focal, smoothing 0.1, balance 0.99": lambda: FocalLoss(smoothing=0.1, balance=0.99),
}


def whole(data: FrozenMaps, split: str) -> tuple[Tensor, Tensor]:
    """The maps of a split as the head reads them, each picture as it is, and the labels."""
    dataset = data.train_set() if split == "train" else next(iter(data.test_sets().values()))
    record = data.record
    backbone = Backbone(record.backbone, pretrained=False, feature_stride=record.feature_stride)
    items = [dataset[row] for row in range(len(dataset))]  # type: ignore[arg-type]
    stages = [torch.stack(stage).float() for stage in zip(*(item["features"] for item in items), strict=True)]
    return backbone.combine(stages), torch.stack([item["label"] for item in items])


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.losses", description=__doc__)
    parser.add_argument("--maps", required=True)
    parser.add_argument("--rare", nargs="+", required=True, help="Names of classes.")
    parser.add_argument("--head", default="CSRAHead")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = FrozenMaps(options.maps, augment="none")
    (maps, labels), (tested, truth) = whole(data, "train"), whole(data, "test")
    print("| loss | mAP | AP of " + ", ".join(options.rare) + " | ECE |\n|---|---:|---:|---:|")
    for name, make in LOSSES.items():
        rows = []
        for seed in options.seeds:
            loss = make()
            if loss.needs_labels:
                loss.see_labels(labels)
            model = train(getattr(heads, options.head), maps, labels, seed, options.epochs, loss)
            with torch.inference_mode():
                said = torch.cat([model(part).logits.sigmoid() for part in tested.split(BATCH)])
            found = figures(said, truth, data.class_names)
            rare = statistics.mean(found["per_class"][each]["AP"] for each in options.rare)
            rows.append((found["metrics"]["mAP"], rare, found["metrics"]["ECE"]))
        print(f"| {name} | " + " | ".join(spread(own) for own in zip(*rows, strict=True)) + " |", flush=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
