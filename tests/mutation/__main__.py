"""`make mutate`: the share of faults, put into the code one at a time by mutmut, that some test finds."""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

MUTANTS = Path("mutants/ibca_lightning")  # mutmut's copy of the package, a .meta file beside each module
TABLES = "ibca_lightning.data.tables"
PARTS = {
    "heads": ("ibca_lightning.heads.",),
    "metrics": ("ibca_lightning.metrics.",),
    "losses": ("ibca_lightning.losses.",),
    "splits": (f"{TABLES}.splits.", f"{TABLES}.split_file.", "ibca_lightning.data.run_split."),
    "labels": tuple(f"{TABLES}.{name}." for name in ("labels", "label_list", "label_policy", "label_space")),
}
FIRST = "ibca_lightning.losses.x_masked_mean__mutmut_1"
LIVES = (0, 5, 33, None)  # no test failed; no test calls the function; it was not run


def main(arguments: list[str] | None = None) -> int:
    """Run mutmut and print a line a part; 1 if a part is below `--least`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="mutants a part, drawn at random; default all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--least", type=float, default=0.9, help="killed / (killed + survived), in each part")
    options = parser.parse_args(arguments)

    _mutmut("run", "--max-children", "1", FIRST)  # makes all mutants, and learns which tests call which function
    drawn = {part: _drawn(PARTS[part], options.sample, options.seed) for part in options.parts}
    _mutmut("run", "--max-children", str(options.jobs), *(name for names in drawn.values() for name in names))

    codes = _exit_codes()
    lives = {part: [name for name in names if codes[name] in LIVES] for part, names in drawn.items()}
    for name in (name for names in lives.values() for name in names):
        _mutmut("show", name)
    scores = {part: 1 - len(lives[part]) / len(names) for part, names in drawn.items()}
    for part, names in drawn.items():
        print(f"{part:8} {scores[part]:.2f}: {len(lives[part])} of {len(names)} survived")
    return int(min(scores.values()) < options.least)


def _mutmut(*arguments: str) -> None:
    subprocess.run([Path(sys.executable).with_name("mutmut"), *arguments], check=True)


def _exit_codes() -> dict[str, int | None]:
    """Of the tests of every mutant that was run; None where it was not."""
    files = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(MUTANTS.rglob("*.meta")))
    return {name: code for file in files for name, code in file["exit_code_by_key"].items()}


def _drawn(prefixes: Iterable[str], sample: int | None, seed: int) -> list[str]:
    names = sorted(name for name in _exit_codes() if name.startswith(tuple(prefixes)))
    return names if sample is None or sample >= len(names) else random.Random(seed).sample(names, sample)


if __name__ == "__main__":
    sys.exit(main())
