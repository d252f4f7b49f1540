"""Attention guided by lesion masks: without, with few, with all of them, by head; and where marks accompany classes.

python -m tests.bench.terms masks --maps data/edd_maps --heads CSRAHead IBCAHead MILAttentionHead MLDecoderHead
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

from ibca_lightning import heads
from ibca_lightning.terms import CellContrast, MaskGuidance, Term
from ibca_lightning.terms.mask_guidance import drawn
from tests.bench.terms.harness import Tested, fit, load, measured, prepare, student_of, table

SHOWN = ("mAP", "attention_gain", "attention_energy", "pointing_game", "pixel_AP")


def main(arguments: Sequence[str]) -> None:
    """Print a table a head and test set."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.terms", description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--maps", required=True)
    parser.add_argument("--heads", nargs="+", default=["CSRAHead", "IBCAHead"])
    parser.add_argument("--levels", nargs="+", default=["none", "5", "10%", "all"], help="Masks: 5 a class; all+cells.")
    parser.add_argument("--weight", type=float, default=0.3)
    parser.add_argument("--learnt", type=int, default=0, help="Channels of a learnt layer in front of the head.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=15)
    given = parser.parse_args(arguments)
    prepare()
    names = ["test"]
    try:
        sets = {"test": load(given.maps, "test.test")}
    except KeyError:  # three sets, which differ in their marks
        names = ["same", "independent", "reversed"]
        sets = {name: load(given.maps, f"test.{name}") for name in names}
    train = load(given.maps, "train")
    for name in given.heads:
        found: dict[str, dict[str, dict[int, Tested]]] = {test: {} for test in sets}
        for level in given.levels:
            for seed in given.seeds:
                began = time.process_time()
                student = student_of(train, getattr(heads, name), seed, given.learnt)
                fit(train, student, _terms(train, level, given.weight, seed), seed=seed, epochs=given.epochs)
                for test, maps in sets.items():
                    found[test].setdefault(_named(train, level), {})[seed] = measured(student, maps)
                maps_of = found[names[-1]][_named(train, level)][seed]
                print(
                    f"{name} {level} {seed}: {maps_of['mAP'].value:.3f}, {time.process_time() - began:.0f} s",
                    flush=True,
                )
        shown = [*SHOWN, *(["spurious_energy"] if train.spurious is not None else [])]
        for test, runs in found.items():
            print(f"\n{name}, {test}\n{table(runs, shown, _named(train, 'none'), ('mAP', 'pixel_AP'))}\n", flush=True)


def _per_class(train: Any, level: str) -> int | None:
    """Masks a class; of a share, as many as give masks to that share of the pictures."""
    if not level.endswith("%"):
        return int(level)
    wanted = float(level[:-1]) / 100 * len(train)
    return next(k for k in range(1, len(train)) if int(drawn(train.labels, None, k, 0).sum()) >= wanted)


def _terms(train: Any, level: str, weight: float, seed: int) -> list[Term]:
    if level == "none":
        return []
    if level == "all+cells":
        return [MaskGuidance(weight), CellContrast()]
    return [MaskGuidance(weight, per_class=None if level == "all" else _per_class(train, level), seed=seed)]


def _named(train: Any, level: str) -> str:
    named = {"none": "masks of none", "all": f"masks of all {len(train)}", "all+cells": "all, and cell contrast"}
    if level in named:
        return named[level]
    number = _per_class(train, level)
    return f"{number} a class ({int(drawn(train.labels, None, number, 0).sum())} pictures)"
