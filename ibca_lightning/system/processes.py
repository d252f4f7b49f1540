"""What the processes of a distributed run see of each other in a training step, so that they take the step of one.

DistributedDataParallel averages the gradients of the processes' losses. A loss that is a mean over what a mask lets
through, or that compares pictures, is then not that of one process with all pictures: its denominators and its batch
statistics are those of one process's pictures. The functions here make them those of all. Every process must call them
equally often; outside a distributed run, and where no gradient is taken, they return what they are given.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def several() -> bool:
    """Whether a gradient that is taken now is averaged over several processes."""
    return dist.is_available() and dist.is_initialized() and torch.is_grad_enabled() and dist.get_world_size() > 1


def total(values: Tensor) -> Tensor:
    """Sum over the processes, without a gradient: for counts, and for sums of what is fixed."""
    if not several():
        return values
    values = values.detach().clone()
    dist.all_reduce(values)
    return values


def largest(values: Tensor) -> Tensor:
    """Maximum over the processes, element by element, without a gradient."""
    if not several():
        return values
    values = values.detach().clone()
    dist.all_reduce(values, op=dist.ReduceOp.MAX)
    return values


def share(count: Tensor) -> Tensor:
    """The mean of a count over the processes.

    A sum over this process's pictures divided by it is a loss whose average over the processes, and so whose gradient,
    is that of the sum over all pictures divided by the count of all.
    """
    return total(count.float()) / dist.get_world_size() if several() else count


def rows_of_all(values: Tensor) -> Tensor:
    """The rows (B, ...) of every process, one process behind the other, without a gradient; B may differ."""
    values = values.detach().contiguous()
    if not several():
        return values
    counts = [torch.zeros(1, dtype=torch.long, device=values.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(values)], device=values.device))
    numbers = [int(count) for count in counts]
    padded = torch.cat([values, values.new_zeros(max(numbers) - len(values), *values.shape[1:])])
    parts = [torch.empty_like(padded) for _ in numbers]
    dist.all_gather(parts, padded)
    return torch.cat([part[:number] for part, number in zip(parts, numbers, strict=True)])


def total_with_gradient(values: Tensor) -> Tensor:
    """Sum over the processes, for a loss that is no sum of one term a picture.

    Each process may then compute the same loss from the sum: the gradients that flow back into it come from all of
    them, and their average is that of one process.
    """
    summed: Tensor = _Sum.apply(values) if several() else values
    return summed


def rows_with_gradient(values: Tensor) -> Tensor:
    """The rows (B, ...) of every process, as `rows_of_all`, with a gradient as that of `total_with_gradient`."""
    if not several():
        return values
    own = rows_of_all(torch.full((len(values),), dist.get_rank(), device=values.device)) == dist.get_rank()
    placed = values.new_zeros(len(own), *values.shape[1:])
    return total_with_gradient(placed.index_copy(0, own.nonzero().flatten(), values))


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)
