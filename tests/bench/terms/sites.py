"""Other sites, and classes with several looks, by training seed.

    python -m tests.bench.terms sites --maps data/shifted_maps --site_column site --left_out B --checkpoint_path W
    python -m tests.bench.terms looks --maps data/idrid_maps --checkpoint_path W

Trained as `ibca fit` trains, to the last epoch and without validation, so that no choice is made; mAP of the test set.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from lightning.pytorch import seed_everything
from torch.utils.data import DataLoader

from ibca_lightning import heads
from ibca_lightning.data import FrozenMaps
from ibca_lightning.data.tables.sites import Sites
from ibca_lightning.metrics import figures
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.terms import DomainAlignment, Term
from tests.training import trainer


class Merged(FrozenMaps):
    """Classes that are each two of the maps': a class with two looks."""

    @property
    def class_names(self) -> list[str]:
        names = super().class_names
        return [f"{one} or {two}" for one, two in zip(names[::2], names[1::2], strict=True)]

    def train_set(self) -> Any:
        return self._merged(super().train_set())

    def test_sets(self) -> Any:
        return {name: self._merged(each) for name, each in super().test_sets().items()}

    def doubts(self) -> list[Any]:
        return []  # they would be of the tables as they are

    def _merged(self, dataset: Any) -> Any:
        labels = dataset.table.labels
        dataset.table = replace(dataset.table, labels=labels.reshape(len(labels), -1, 2).max(2))
        return dataset


def measured(data: FrozenMaps, head: Any, terms: list[Term], seed: int, given: argparse.Namespace) -> dict[str, float]:
    """mAP, and AP of each class, of the first test set after a training."""
    seed_everything(seed, verbose=False)
    record, adamw = data.record, partial(torch.optim.AdamW, lr=3e-3, weight_decay=0.01)
    model = MultiLabelModule(
        len(data.class_names), data.class_names, record.image_size, record.backbone, pretrained=False,
        checkpoint_path=given.checkpoint_path, feature_stride=record.feature_stride, freeze_backbone=True,
        normalise_features=True, head=head, terms=terms, optimizer=adamw,
    )  # fmt: skip
    trainer(max_epochs=given.epochs, limit_val_batches=0).fit(model, datamodule=data)
    model.eval()
    sets = data.test_sets()
    test, said, labels = sets[given.left_out[0]] if given.left_out[0] in sets else next(iter(sets.values())), [], []
    with torch.no_grad():
        for batch in DataLoader(test, batch_size=64, collate_fn=_collated):
            said.append(model.classify(model.stored(batch["features"])).logits.sigmoid())
            labels.append(batch["label"])
    found = figures(torch.cat(said), torch.cat(labels), data.class_names)
    return {"mAP": found["metrics"]["mAP"]} | {name: one["AP"] for name, one in found["per_class"].items()}


def _collated(items: list[dict[str, Any]]) -> dict[str, Any]:
    stages = zip(*(item["features"] for item in items), strict=True)
    return {"features": [torch.stack(stage) for stage in stages], "label": torch.stack([i["label"] for i in items])}


def main(arguments: Sequence[str]) -> None:
    """Train every variant with every seed, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.terms", description=__doc__)
    parser.add_argument("table", choices=["sites", "looks"])
    parser.add_argument("--maps", required=True)
    parser.add_argument("--checkpoint_path", help="Weights of the backbone of the maps.")
    parser.add_argument("--heads", nargs="+", help="Default CSRAHead; for looks IBCAHead.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--site_column", default="site")
    parser.add_argument("--left_out", nargs="+", default=["B"])
    parser.add_argument("--weight", type=float, default=1.0)
    given = parser.parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    variants: dict[str, Any] = {}
    for name in given.heads or ["IBCAHead" if given.table == "looks" else "CSRAHead"]:
        head = getattr(heads, name)
        if given.table == "looks":
            for looks in (1, 2, 4):
                several = partial(head, class_components=looks)
                variants[f"{name} {looks}"] = partial(Merged, given.maps), several, list
        else:
            column, out = given.site_column, tuple(given.left_out)
            maps = partial(FrozenMaps, given.maps)
            without = partial(maps, sites=Sites(column, test=out))
            pictures = partial(maps, sites=Sites(column, test=out, unlabelled=True))
            variants[f"{name} source alone"] = without, head, list
            variants[f"{name} unlabelled, no term"] = pictures, head, list
            for kind in ("mmd", "coral", "prototype"):
                variants[f"{name} {kind}"] = pictures, head, partial(_aligned, column, kind, given.weight)
            sites = sorted({value.decode() for value in maps()._pool().subgroups[column]})
            variants[f"{name} labels of all"] = partial(maps, sites=Sites(column, train=sites)), head, list
    values: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for seed in given.seeds:
        for name, (data, head, terms) in variants.items():
            began = time.process_time()
            values[name].append(measured(data(), head, terms(), seed, given))
            print(
                f"{name}, seed {seed}: {values[name][-1]['mAP']:.4f}, {time.process_time() - began:.0f} s", flush=True
            )
    base: dict[str, list[dict[str, float]]] = {}
    for name, found in values.items():
        base.setdefault(name.split(" ")[0], found)
        columns = [f"{column} {_spread([one[column] for one in found])}" for column in found[0]]
        gain = [100 * (one["mAP"] - two["mAP"]) for one, two in zip(found, base[name.split(" ")[0]], strict=True)]
        print("|".join((name, *columns, f"mAP against the first, points {_spread(gain, 1)}")))


def _aligned(column: str, kind: Any, weight: float) -> list[Term]:
    return [DomainAlignment(column, kind, weight)]


def _spread(values: list[float], digits: int = 3) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"
