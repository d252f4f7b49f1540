"""What a trial tries: each value follows from the seed, the number of the trial and the key alone.

Random search (Bergstra and Bengio, JMLR 13, 2012) needs no state: trials can be run in any order, on any machine, and
more of them later.
"""

import math
import random
from collections.abc import Mapping
from typing import Any

Space = Mapping[str, Mapping[str, list[Any]]]


def draw(space: Space, seed: int, trial: int) -> dict[str, Any]:
    """The values of one trial.

    Args:
        space: From `read_space`.
        seed: Of the search.
        trial: Number of the trial; 0 has the defaults.

    Returns:
        A value a key, which depends on seed, trial, key and its rule alone; {} for trial 0. Numbers have six
        significant digits, so that files say exactly what was run.
    """
    if trial == 0:
        return {}
    values: dict[str, Any] = {}
    for key, rule in space.items():
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


def rounded(value: float) -> float:
    """A number as a file says it: six significant digits."""
    return float(f"{value:.6g}")
