"""A search space and what each trial draws from it: a value follows from seed, number of the trial and key alone.

Random search (Bergstra and Bengio, JMLR 13, 2012) needs no state: trials can be run in any order, on any machine, and
more of them later.
"""

import math
import random
from collections.abc import Mapping
from itertools import product
from typing import Any

from ibca_lightning.run.command_line.shipped import SPACES, experiments
from ibca_lightning.run.command_line.short_names import short_name
from ibca_lightning.search.recipe import read_mapping
from ibca_lightning.system.errors import InputError

Space = Mapping[str, Mapping[str, list[Any]]]
EXAMPLE = "KEY: {log_uniform: [1.0e-3, 1.0e-1]}, or choice, uniform, int_uniform"
_KINDS = ("choice", "log_uniform", "uniform", "int_uniform")


def read_space(path: str | None, head: str = "") -> Space:
    """Read a file of dotted keys, each with one of the rules of `EXAMPLE`, ends included; None: the space of a head.

    Raises:
        InputError: Names the key that is wrong.
    """
    if path is not None:
        return checked_space(read_mapping(path, "a search space", EXAMPLE), path)
    shipped, name = experiments() / SPACES, short_name("model.head", head)
    spaces = read_mapping(str(shipped), "search spaces", f"HEAD: {{{EXAMPLE}}}")
    if name not in spaces:
        raise InputError(f"a head with a search space ({', '.join(spaces)})", head, f"give --space FILE of {EXAMPLE}")
    return checked_space(spaces[name], f"{shipped}, {name}")


def checked_space(space: dict[str, Any], path: str) -> Space:
    """The rules of a space with numbers as numbers; see `read_space`."""
    for key, rule in space.items():
        kind = next(iter(rule)) if isinstance(rule, dict) and len(rule) == 1 else None
        if kind not in _KINDS:
            raise InputError(f"one of {', '.join(_KINDS)} for {key} in {path}", rule, f"write {EXAMPLE}")
        if not isinstance(rule[kind], list) or not rule[kind]:
            raise InputError(f"a list behind {kind} of {key} in {path}", rule[kind], f"write {EXAMPLE}")
        if kind == "choice":
            continue
        try:
            low, high = map(float, rule[kind])  # PyYAML takes 1e-3, which has no dot, for a string
        except (TypeError, ValueError) as error:
            raise InputError(f"two numbers for {key} in {path}", rule[kind], f"write {EXAMPLE}") from error
        whole = kind != "int_uniform" or (low.is_integer() and high.is_integer())
        if not (low < high and whole and (kind != "log_uniform" or low > 0)):
            raise InputError(f"rising ends that fit {kind} for {key} in {path}", rule[kind], "correct the ends")
        rule[kind] = [int(low), int(high)] if kind == "int_uniform" else [low, high]
    return space


def draw(space: Space, seed: int, trial: int) -> dict[str, Any]:
    """The values of one trial by key; {} for trial 0, which has the defaults."""
    values: dict[str, Any] = {}
    for key, rule in space.items() if trial else ():
        ((kind, given),) = rule.items()
        unit = random.Random(f"{seed}/{trial}/{key}").random()  # in [0, 1); the same in every version of Python
        if kind == "choice":
            values[key] = given[int(unit * len(given))]
        elif kind == "int_uniform":
            values[key] = given[0] + int(unit * (given[1] - given[0] + 1))
        elif kind == "uniform":
            values[key] = rounded(given[0] + unit * (given[1] - given[0]))
        else:
            values[key] = rounded(math.exp(math.log(given[0]) + unit * math.log(given[1] / given[0])))
    return values


def combination(space: Space, trial: int) -> dict[str, Any]:
    """The values of one trial of a grid: every combination of the choices once, the last key fastest; {} for trial 0.

    Raises:
        InputError: A key has no list of choices, or there are fewer combinations.
    """
    for key, rule in space.items():
        if "choice" not in rule:
            raise InputError(
                f"choice alone in the space of a grid, for {key} as well", rule, "give --space FILE of choices"
            )
    every = [dict(zip(space, values, strict=True)) for values in product(*(rule["choice"] for rule in space.values()))]
    if trial > len(every):
        raise InputError(
            f"at most {len(every) + 1} trials of this grid, the defaults with them", trial + 1, "ask for fewer"
        )
    return every[trial - 1] if trial else {}


def rounded(value: float) -> float:
    """Six significant digits, so that files say exactly what was run."""
    return float(f"{value:.6g}")
