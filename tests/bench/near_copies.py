"""What `ibca check` takes to compare every picture with those of the other splits, once their looks are there.

Looks are drawn with the variances that those of made pictures have, and split 70 : 10 : 20. CPU seconds, up to
`--whole` looks also of comparing them whole, as those of few pictures are.

    python -m tests.bench.near_copies [--looks 10000 100000] [--whole 10000]
"""

import argparse
import time
from unittest import mock

import cv2
import numpy as np

from ibca_lightning.check import near_copies
from ibca_lightning.check.content import Contents
from ibca_lightning.check.look import look

SHARES, MADE = {"train": 0.7, "val": 0.1, "test": 0.2}, 1500


def scene(rng: np.random.Generator) -> np.ndarray:
    """Draw a picture with detail of all sizes."""
    sizes = (4, 8, 16, 32, 64, 128)
    parts = [cv2.resize(rng.normal(size=(n, n)), (128, 128), interpolation=cv2.INTER_CUBIC) / n**0.5 for n in sizes]
    gray = np.clip(128 + 60 * np.sum(parts, axis=0), 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def contents(number: int) -> list[Contents]:
    """Splits of so many looks in all, of which one of a thousand is nearly one of another split."""
    rng = np.random.default_rng(0)
    made = np.stack([np.frombuffer(look(scene(rng)), np.int8) for _ in range(MADE)]).astype(np.float32)
    splits = []
    for name, share in SHARES.items():
        size = int(number * share)
        looks = np.empty((size, made.shape[1]), np.int8)
        for start in range(0, size, 4096):
            part = rng.normal(size=(min(4096, size - start), MADE)).astype(np.float32) @ made / MADE**0.5
            looks[start : start + len(part)] = np.clip(part, -127, 127)
        if splits:
            looks[::1000] = np.clip(splits[0].looks[: len(looks[::1000])] * 1.1, -127, 127)
        none = np.zeros(size, "S1")
        splits.append(
            Contents(name, none, none, np.zeros((size, 1), np.int8), None, rng.integers(0, 255, (size, 16), np.uint8),
                     looks, np.ones((size, 2), np.int32), none, none, {}, {}, none)  # type: ignore[arg-type]
        )  # fmt: skip
    return splits


def main(argv: list[str] | None = None) -> None:
    """Print CPU seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--looks", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--whole", type=int, default=10_000)
    options = parser.parse_args(argv)
    for number in options.looks:
        splits = contents(number)
        mean = np.concatenate([split.looks for split in splits]).mean(axis=0, dtype=np.float32)
        ways = {"short": near_copies._FEW, "whole": number**2}  # all pairs are few
        for way, few in list(ways.items())[: 2 if number <= options.whole else 1]:
            start = time.process_time()
            with mock.patch.object(near_copies, "_FEW", few):
                found = len(list(near_copies._candidates(splits, mean)))
            print(f"{number} looks, {way}: {time.process_time() - start:.1f} s, {found} pairs alike", flush=True)


if __name__ == "__main__":
    main()
