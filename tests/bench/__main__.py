"""`make bench`: every benchmark of speed, one after the other, in less than 15 minutes of one core.

Some in smaller sizes than when they run alone; each says its seconds of CPU at its end.
"""

import os
from collections.abc import Callable
from functools import partial

from tests.bench import allocator, data, heads, intervals, memory, pack, predict, startup

PARTS: dict[str, Callable[[], None]] = {
    "heads": partial(heads.main, ["--labels", "20", "80"]),
    "data": data.main,
    "startup": startup.main,
    "allocator": allocator.main,
    "intervals": intervals.main,
    "memory": partial(memory.main, epochs=20, rows=20_000),
    "predict": partial(predict.main, ["--pictures", "8000", "--beside", "208"]),
    "pack": partial(pack.main, ["--pictures", "200"]),
}


def main() -> None:
    """Run them."""
    total = 0.0
    for name, run in PARTS.items():
        before = sum(os.times()[:4])
        run()
        total += (seconds := sum(os.times()[:4]) - before)
        print(f"# {name}: {seconds:.0f} s of CPU\n", flush=True)
    print(f"# all: {total:.0f} s of CPU")


if __name__ == "__main__":
    main()
