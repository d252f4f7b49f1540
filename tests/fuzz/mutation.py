"""Seeded damage to the bytes of a sound file, and the time and memory that reading it may take."""

import contextlib
import copy
import math
import os
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

GIVEN = os.environ.get("IBCA_FUZZ_SECONDS")
SEED = int(os.environ.get("IBCA_FUZZ_SEED", "0"))
MEMORY = 3 * 2**30  # beyond what the process has mapped: a picture of the largest size that is allowed, thrice over
PATIENCE = 20.0  # seconds of CPU for one file


def seconds(share: float = 1.0) -> float:
    """How long a fuzzer runs: a share of 8 seconds, as its reader is more or less often wrong, or what is given."""
    return 8 * share if GIVEN is None else float(GIVEN)


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return the bytes after one to four of: bits flipped, cut, spliced, header changed, numbers put to extremes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(8)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            changed[at:at] = other[start : start + rng.randrange(200)]
        elif kind == 3:
            head = min(len(changed), 64)
            for place in rng.sample(range(head), min(head, rng.randrange(1, 5))):
                changed[place] = rng.randrange(256)
        elif kind == 4:
            width = rng.choice((1, 2, 4, 8))
            value = rng.choice((0, 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1, 2 ** (8 * width - 1) - 1))
            changed[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 5:
            del changed[at : at + rng.randrange(1, 50)]
        elif kind == 6:
            start = rng.randrange(len(changed) + 1)
            changed[at:at] = changed[start : start + rng.randrange(300)] * rng.choice((1, 1, 20))
        else:
            changed[at : at + 8] = bytes(rng.choice(b"\0\xff,;\"'\n\r\t-+.eE0129{}[]:&*!|>%@#") for _ in range(8))
    return bytes(changed)


# Plain data that a record may be told to hold.
HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 3, 2**13, 2**31, 2**63, 10**400, -0.0, 0.5, 1e-320, 1e38, 1e308, math.nan, math.inf,
    "", "x", "é\ud800\r\x1b[2J", "a" * 9000, "../..", "hf-hub:a/b", "local-dir:/", "resnet18", "vit_giant_patch14_224",
    "ibca_lightning.heads.IBCAHead", "os.system", [], [1], [[1]], ["A", "A"], [math.nan] * 2, [0.5] * 2, [0] * 9000,
    {}, {"a": {}}, {"kind": "platt"}, {1: 2}, (1, 2), "f1", {"sensitivity": 2.0}, "1e400", -(2**63),
)  # fmt: skip


def spoilt(value: Any, rng: random.Random) -> Any:
    """Plain data with one to three values, somewhere within, replaced, left out, doubled or put one deeper."""
    result = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        node = result
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.7:
                node = node[key]
                continue
            kind = rng.randrange(8)
            if kind == 0:
                del node[key]
            elif kind == 1 and isinstance(node, dict):
                node[rng.choice(("x", "", "é\r", "init_args"))] = copy.deepcopy(rng.choice(HOSTILE))
            elif kind == 2:
                node[key] = rng.choice(([node[key]] * 2, {"x": node[key]}, [[[[node[key]]]]]))
            else:
                node[key] = copy.deepcopy(rng.choice(HOSTILE))
            break
    return result


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """Let a huge allocation fail instead of stopping the machine."""
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def fuzz(
    seeds: Sequence[bytes], read: Callable[[bytes, random.Random], object], refusals: type[Exception], seconds: float
) -> tuple[int, int]:
    """Read damaged files for some seconds: each is read or refused as it should be, in bounded time and memory.

    Args:
        seeds: Sound files.
        read: Reads the bytes of one.
        refusals: What it may raise.
        seconds: How long.

    Returns:
        How many were read and how many refused.
    """
    good = refused = 0
    end, number = time.monotonic() + seconds, SEED * 10**6
    with bounded_memory():
        while time.monotonic() < end or good + refused < 50:
            rng = random.Random(number)
            data = mutated(rng.choice(seeds), seeds, rng)
            started, line = time.process_time(), ""
            try:
                read(data, rng)
                good += 1
            except refusals as error:
                refused += 1
                line = str(error)
            except BaseException as error:
                pytest.fail(f"case {number}: {type(error).__name__}: {error}; the bytes: {data[:200]!r} ({len(data)})")
            assert "\n" not in line
            assert len(line) < 4000
            spent = time.process_time() - started
            assert spent < PATIENCE, f"case {number} took {spent:.1f} s: {data[:200]!r}"
            number += 1
    return good, refused
