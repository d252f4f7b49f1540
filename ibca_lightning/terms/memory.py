"""A memory with a row for each training picture, the same in every process."""

from collections.abc import Callable

import torch
from torch import Tensor

from ibca_lightning.system.processes import rows_of_all


def remember(memory: Tensor, index: Tensor, seen: Tensor, rule: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Write what a step has seen of some pictures, in all processes, into a memory.

    A picture that was drawn twice in a step counts once, by its first place: the order in which a device writes two
    values to one place is not fixed.

    Args:
        memory: (N, ...), changed in place.
        index: (B,), the rows that this process has seen.
        seen: (B, ...), what it has seen.
        rule: What becomes of rows of the memory, given them and what was seen of them.
    """
    index, seen = rows_of_all(index), rows_of_all(seen)
    place, order = index.sort(stable=True)
    first = torch.ones_like(place, dtype=torch.bool)
    first[1:] = place[1:] != place[:-1]
    kept = order[first]
    memory[index[kept]] = rule(memory[index[kept]], seen[kept].to(memory.dtype))
