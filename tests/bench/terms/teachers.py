"""What teachers and a second look bring on stored maps: wrong labels, few labels, rare classes.

python -m tests.bench.terms teachers --maps data/edd_maps
python -m tests.bench.terms few --maps data/edd_maps
python -m tests.bench.terms rare --maps data/edd_maps --rare HGD cancer
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from ibca_lightning import heads
from ibca_lightning.data.label_noise import LabelNoise
from ibca_lightning.data.tables.splits import split_fold
from ibca_lightning.metrics.resampling.resamples import Resampled
from ibca_lightning.terms import Distillation, MeanTeaching, MetricLearning
from tests.bench.terms.harness import Maps, Taught, Tested, fit, load, measured, prepare, student_of, table

Rows = Iterator[tuple[str, nn.Module]]
_FOLDS = 3


def main(arguments: Sequence[str]) -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.terms", description=__doc__)
    parser.add_argument("table", choices=["teachers", "few", "rare"])
    parser.add_argument("--maps", required=True)
    parser.add_argument("--head", default="CSRAHead")
    parser.add_argument("--teacher", default="IBCAHead")
    parser.add_argument("--rare", nargs="+", default=["HGD", "cancer"], help="Names of classes.")
    parser.add_argument("--learnt", type=int, default=0, help="Channels of a learnt layer in front of the head.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=15)
    given = parser.parse_args(arguments)
    prepare()
    train, test = load(given.maps, "train"), load(given.maps, "test.test")
    tables = {
        "teachers": {"20 % flipped": lambda seed: _taught(train.noisy(LabelNoise(0.2, seed=seed)), seed, given)},
        "few": {"10 % of the labels": lambda seed: _averaged(_sparse(train, seed), seed, given)},
        "rare": {"all labels": lambda seed: _rare(train, seed, given)},
    }  # fmt: skip
    for title, variants in tables[given.table].items():
        found: dict[str, dict[int, Tested]] = {}
        for seed in given.seeds:
            began = time.process_time()
            for name, student in variants(seed):
                own = measured(student, test, masks=given.table == "teachers")
                if given.table == "rare":
                    own["rare"] = _mean([own[each] for each in given.rare])
                found.setdefault(name, {})[seed] = own
                print(f"{title} {name} {seed}: {own['mAP'].value:.3f}, {time.process_time() - began:.0f} s", flush=True)
        more = {"rare": ["rare"], "teachers": ["pixel_AP"]}.get(given.table, [])
        shown, compared = ["mAP", *more], ["mAP", *more]
        print(f"\n{given.head}, {title}\n{table(found, shown, next(iter(found)), compared)}\n", flush=True)


def _fitter(train: Maps, seed: int, given: argparse.Namespace) -> Callable[..., nn.Module]:
    make = getattr(heads, given.head)
    return lambda *terms, **options: fit(
        train, student_of(train, make, seed, given.learnt), terms, seed=seed, **{"epochs": given.epochs} | options
    )


def _taught(train: Maps, seed: int, given: argparse.Namespace) -> Rows:
    """A head alone, and with teachers of three folds, each trained without one part of the pictures."""
    fitted, make = _fitter(train, seed, given), getattr(heads, given.teacher)
    yield "alone", fitted()
    teachers = {}
    for fold in range(_FOLDS):
        rows = torch.from_numpy(split_fold(train.table.groups, train.table.labels, fold, _FOLDS, seed)[0])
        part = train.take(rows)
        own = fit(part, student_of(train, make, seed + 100 * fold), seed=seed + 100 * fold, epochs=given.epochs)
        teachers[f"{fold}"] = Taught(own, train.class_names, part.ids)
    yield f"a teacher ({given.teacher}, of one fold)", teachers["0"].student
    for name, options in {
        "one teacher": {"teachers": ["0"]},
        "mean of three": {"teachers": list(teachers)},
        "unseen of three": {"teachers": list(teachers), "choose": "unseen"},
        "mean of three, attention": {"teachers": list(teachers), "attention": 0.3},
    }.items():
        yield name, fitted(Distillation(**options), load_teacher=teachers.__getitem__)


def _averaged(train: Maps, seed: int, given: argparse.Namespace) -> Rows:
    """A head alone, with a mean teacher, with CRCKD's relations."""
    fitted = _fitter(train, seed, given)
    yield "alone", fitted()
    for name, options in {
        "mean teacher, 1": {"weight": 1.0},
        "mean teacher, 10": {"weight": 10.0},
        "with relations, 0.1": {"weight": 1.0, "relations": 0.1},
        "with relations, 1": {"weight": 1.0, "relations": 1.0},
    }.items():
        yield name, fitted(MeanTeaching(**options))


def _rare(train: Maps, seed: int, given: argparse.Namespace) -> Rows:
    """Plain, balanced, and two stages: metric learning, then the head alone with every class as often."""
    fitted = _fitter(train, seed, given)
    yield "plain", fitted()
    yield "balanced", fitted(balanced=True)
    yield "metric learning, 8 clusters", fitted(MetricLearning(clusters=8))
    first = fitted(MetricLearning())
    yield "stage 1, metric learning", first
    options = {"seed": seed + 100, "balanced": True, "epochs": max(given.epochs // 3, 1), "rate": 1e-3}
    yield "stage 2", fit(train, first, **options)
    yield "stage 2 after plain", fit(train, fitted(), **options)


def _sparse(train: Maps, seed: int) -> Maps:
    """The labels of a tenth of the pictures, drawn so that every class keeps one at least; the rest unknown."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)
    first = {int(order[(train.labels[order, label] == 1).nonzero()[0]]) for label in range(train.labels.shape[1])}
    rest = [row for row in order.tolist() if row not in first]
    kept = torch.tensor([*first, *rest][: max(len(train) // 10, len(first))])
    labels = torch.full_like(train.labels, -1)
    labels[kept] = train.labels[kept]
    return replace(train, labels=labels)


def _mean(parts: Sequence[Resampled]) -> Resampled:
    draws = torch.tensor([own.draws.tolist() for own in parts], dtype=torch.float64).mean(0).numpy()
    return Resampled(statistics.mean(own.value for own in parts), draws, parts[0].groups)
