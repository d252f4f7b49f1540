"""Labels made wrong on purpose: what helps a head against them, and whether doubts find them.

python -m tests.bench.terms noise --maps data/edd_maps
python -m tests.bench.terms suspects --maps data/edd_maps
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from ibca_lightning import heads
from ibca_lightning.check.suspects import doubts
from ibca_lightning.data.label_noise import LabelNoise
from ibca_lightning.data.tables.splits import split_fold
from ibca_lightning.losses import GeneralisedCE, Loss, MaskedBCE
from ibca_lightning.terms import NVUM, EarlyLearning, LabelCorrection, Term
from tests.bench.terms.harness import Maps, Tested, fit, load, measured, prepare, said, spread, student_of, table

WAYS: Mapping[str, tuple[Callable[[], Loss], Callable[[], list[Term]]]] = {
    "bce": (MaskedBCE, list),
    "gce": (GeneralisedCE, list),
    "early_learning": (MaskedBCE, lambda: [EarlyLearning()]),
    "label_correction": (MaskedBCE, lambda: [LabelCorrection()]),
    "nvum": (MaskedBCE, lambda: [NVUM()]),
}
_FOLDS, _DEPTHS = 5, (10, 20, 50, 100)


def main(arguments: Sequence[str]) -> None:
    """Print a table a head and kind of noise."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.terms", description=__doc__)
    parser.add_argument("table", choices=["noise", "suspects"])
    parser.add_argument("--maps", required=True)
    parser.add_argument("--head", default="CSRAHead")
    parser.add_argument("--flips", nargs="*", type=float, default=[0.1, 0.2, 0.35])
    parser.add_argument("--missed", nargs="*", type=float, default=[0.5])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=15)
    given = parser.parse_args(arguments)
    prepare()
    kinds = {f"{100 * flip:g} % flipped": (flip, None) for flip in given.flips}
    kinds |= {f"{100 * missed:g} % of positives missed": (0.0, missed) for missed in given.missed}
    train = load(given.maps, "train")
    if given.table == "suspects":
        pool = train.beside(load(given.maps, "val"))
        for kind, (flip, missed) in kinds.items():
            _suspects(pool, kind, [LabelNoise(flip, missed, seed) for seed in given.seeds], given)
        return
    test = load(given.maps, "test.test")
    for kind, (flip, missed) in kinds.items():
        found: dict[str, dict[int, Tested]] = {}
        for seed in given.seeds:
            wrong = train.noisy(LabelNoise(flip, missed, seed))
            for name in given.ways:
                (loss, terms), began = WAYS[name], time.process_time()
                student = student_of(train, getattr(heads, given.head), seed)
                fit(wrong, student, terms(), seed=seed, epochs=given.epochs, loss=loss())
                found.setdefault(name, {})[seed] = measured(student, test, masks=False)
                print(f"{given.head} {kind} {name} {seed}: {found[name][seed]['mAP'].value:.3f}, "
                      f"{time.process_time() - began:.0f} s", flush=True)  # fmt: skip
        print(f"\n{given.head}, {kind}\n{table(found, ['mAP', 'AUROC', 'ECE'], given.ways[0])}\n", flush=True)


def _suspects(pool: Maps, kind: str, noises: Sequence[LabelNoise], given: argparse.Namespace) -> None:
    """Precision of the labels most in doubt, by models of five folds that did not learn from them."""
    rows: list[list[float]] = []
    for noise in noises:
        wrong = pool.noisy(noise)
        probability = torch.zeros(pool.labels.shape)
        for fold in range(_FOLDS):
            training, held = split_fold(pool.table.groups, pool.table.labels, fold, _FOLDS, noise.seed)
            student = student_of(pool, getattr(heads, given.head), noise.seed)
            fit(wrong.take(torch.from_numpy(training)), student, seed=noise.seed, epochs=given.epochs)
            probability[held] = said(student, pool.take(torch.from_numpy(held)))[0]
        made = (wrong.labels != pool.labels).flatten()
        hits = made[doubts(wrong.labels, probability).flatten().argsort(descending=True, stable=True)]
        number = int(made.sum())
        rows.append([*(float(hits[:depth].float().mean()) for depth in (*_DEPTHS, number)), float(made.float().mean())])
        print(f"{given.head} {kind} {noise.seed}: {', '.join(f'{value:.2f}' for value in rows[-1])}", flush=True)
    cells = " | ".join(spread(column, 2) for column in zip(*rows, strict=True))
    made_wrong = statistics.mean(row[-1] for row in rows) * pool.labels.numel()
    print(f"| {given.head}, {kind} ({made_wrong:.0f} of {pool.labels.numel()}) | {cells} |\n", flush=True)
