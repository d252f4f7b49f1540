"""Probes of stored maps: each is fitted on one vector a picture, chosen on validation, measured on every test set.

Shapes: N pictures of a set, C channels of a map, D features, L labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ibca_lightning.data.loader import make_loader
from ibca_lightning.datasets.frozen_maps import FrozenMaps, MapDataset
from ibca_lightning.maps.classifiers import PROBES, Settings
from ibca_lightning.metrics.evaluation import Evaluation, evaluate
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.store import SampleFacts, Stored
from ibca_lightning.metrics.thresholds import choose_points


class Probed(NamedTuple):
    """One probe: its name, what was chosen and the mAP that this had on validation, its test sets in order."""

    name: str
    setting: str
    score: float | None
    evaluations: list[Evaluation]


@dataclass(frozen=True)
class _Pooled:
    """One set: vectors (N, D) of each kind, labels (N, L), and what names its pictures."""

    vectors: dict[str, Tensor]
    labels: Tensor
    index: Tensor
    facts: SampleFacts


def probed(data: FrozenMaps) -> Iterator[Probed]:
    """Fit every probe.

    Training pictures are seen as they are, in none of their other views. Channels are brought to mean 0 and deviation 1
    over the training pictures, as `model.normalise_features` has it for heads.

    Args:
        data: Stored maps; what it says of folds, sites and label noise holds here too.

    Yields:
        Each when it is measured; thresholds for the best F1 are chosen on validation, as `ibca fit` has it, and the
        values of ridge regression become probabilities by Platt's calibration there.
    """
    data.augment, data.drawn_noise = "none", 0.0
    train, val = _pooled(data, data.train_set()), _pooled(data, data.val_set())
    tests = {name: _pooled(data, dataset) for name, dataset in data.test_sets().items()}
    names, seen = data.class_names, train.labels.numpy()
    for kind, classifier in product(train.vectors, PROBES):
        deviation, mean = torch.std_mean(train.vectors[kind], dim=0, correction=0)
        deviation = deviation.where(deviation > 1e-6, 1)
        x, *others = ((own.vectors[kind] - mean) / deviation for own in (train, val, *tests.values()))
        found = PROBES[classifier](x, train.labels, torch.cat(others))
        setting, score, logits = _best(found, [len(own) for own in others], val.labels, names)
        points = choose_points(logits[0], val.labels, "platt" if classifier == "ridge" else "none", "f1")
        evaluations = [
            evaluate(
                name, Stored(own.index, of_set, own.labels, {}), own.facts, names, points, intervals=True, seen=seen,
                exclusive=data.exclusive_classes,
            )
            for (name, own), of_set in zip(tests.items(), logits[1:], strict=True)
        ]  # fmt: skip
        yield Probed(classifier + kind, setting, score, evaluations)


def _pooled(data: FrozenMaps, dataset: MapDataset) -> _Pooled:
    """The mean of every stage over its positions, side by side; class tokens, where there are such, by themselves."""
    dataset.masks = False  # they are the largest part of what is read
    facts, parts = SampleFacts(), []
    for batch in make_loader(dataset, data.batch_size, data.num_workers, rename=data.rename):
        facts.update(batch)
        means = [stage.float().mean((2, 3)) for stage in batch["features"]]
        of_token = [means.pop()] if data.record.feature_blocks and len(means) > 1 else []
        parts.append((batch["label"], batch["index"], torch.cat(means, dim=1), *of_token))
    labels, index, *vectors = (torch.cat(column) for column in zip(*parts, strict=True))
    return _Pooled(dict(zip(("", "_token"), vectors, strict=False)), labels, index, facts)


def _best(
    found: Settings, sizes: Sequence[int], labels: Tensor, names: Sequence[str]
) -> tuple[str, float | None, list[Tensor]]:
    """The setting of the best validation mAP, the first of equals, and its logits set by set."""
    scored = []
    for setting, logits in found:
        parts = list(torch.split(logits, list(sizes)))
        scored.append((setting, figures(parts[0].sigmoid(), labels, names)["metrics"]["mAP"], parts))
    return max(scored, key=lambda own: -1.0 if own[1] is None else own[1])
