"""Modules built for the shapes of their weights alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_FILLS = frozenset({
    "normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_",
    "orthogonal_", "erfinv_", "random_", "bernoulli_", "exponential_", "log_normal_",
})  # fmt: skip


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build modules meanwhile on torch's device `meta`: weights have shapes and no memory, and are filled with nothing.

    To draw numbers there torch would import its compiler, which takes seconds.
    """
    with torch.device("meta"), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "") in _FILLS:
            return args[0] if args else kwargs["tensor"]
        if func in (torch.rand, torch.randn):
            kwargs.pop("generator", None)
            return torch.empty(*args, **kwargs)
        return func(*args, **kwargs)
