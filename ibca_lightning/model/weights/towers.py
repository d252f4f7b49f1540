"""The keys of one network among those of a file: what stands before them is taken off, what stands beside is named."""

import re
from collections.abc import Collection

from ibca_lightning.model.weights.layouts import State
from ibca_lightning.system.errors import InputError, first_of

# Of two networks one follows the other: DINO's teacher and an average are used, MoCo's own code takes `encoder_q`.
_FIRST, _LAST = r"(^|[._])(teacher|ema)([._]|$)", r"(^|[._])(student|momentum|encoder_k)([._]|$)"
_WRAPPER = r"(?:module\.|_orig_mod\.|backbone\.|model\.)+"


def one_tower(state: State, expected: Collection[str], path: str) -> tuple[State, list[str]]:
    """Take off what stands before all keys: DDP, torch.compile, a training module, one of a pair of encoders.

    Args:
        state: Of the file.
        expected: Keys of the network.
        path: Of the file, for the error.

    Returns:
        The keys of that one network, and what is to be said if others were left out.

    Raises:
        InputError: There are several such networks, and nothing tells which is meant.
    """
    if any(key in state for key in expected):
        return state, []
    first = f".{next(iter(expected))}"
    held = {
        before: sum(f"{before}.{key}" in state for key in expected)
        for before in dict.fromkeys(key.removesuffix(first) for key in state if key.endswith(first))
    }
    towers = [before for before, count in held.items() if 2 * count > max(held.values())]  # not a block of one
    best = min(map(_rank, towers), default=0)
    taken = [before for before in towers if _rank(before) == best]
    if len(taken) > 1:
        raise InputError(
            f"one network that fits the backbone in {path}", f"{len(taken)}, below {first_of(taken, 5)}",
            "write the keys of the one that you mean into a file of their own",
        )  # fmt: skip
    wrapper = rf"{re.escape(taken[0])}\." if taken else _WRAPPER
    below = {key[at.end() :]: value for key, value in state.items() if (at := re.match(wrapper, key))}
    beside = [key for key in state if not re.match(wrapper, key)]
    if not below or not beside:
        return below or state, []
    name = taken[0] if taken else "module, model or backbone"
    rest = list(dict.fromkeys(_branch(key, name) for key in beside))
    return below, [f"took what is below {name}, left out {first_of(rest, 3)}"]


def _rank(before: str) -> int:
    return 0 if re.search(_FIRST, before) else 2 if re.search(_LAST, before) else 1


def _branch(key: str, taken: str) -> str:
    """The part of a key down to where it leaves the way to the network that was taken."""
    parts = key.split(".")
    same = 0
    for one, other in zip(parts, taken.split("."), strict=False):
        if one != other:
            break
        same += 1
    return ".".join(parts[: same + 1])
