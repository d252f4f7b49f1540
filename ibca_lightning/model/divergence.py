"""Where training stopped being finite: which layer, weight or gradient, for one line to a person."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ibca_lightning.system.errors import NonFiniteError, first_of

_NAMED = 16  # pictures of a step in a line


def first_non_finite_layer(module: nn.Module, forward: Callable[[], object]) -> str:
    """Name the layer whose output is the first that is not finite, by one more forward pass.

    Compiled parts run uncompiled, layer by layer. With several processes that pass must not wait for the others, who
    may be past it: so it is one of evaluation then, in which no layer and no loss asks other processes.

    Args:
        module: What `forward` runs.
        forward: Repeats the forward pass; random numbers may differ from those of the first.
    """
    found: list[str] = []
    names = {layer: name or "the model" for name, layer in module.named_modules()}

    def look(layer: nn.Module, inputs: Any, output: Any) -> None:
        if found or all(t.isfinite().all() for t in _tensors(output)):
            return
        bad = [name for name, p in layer.named_parameters() if not p.isfinite().all()]
        given = all(t.isfinite().all() for t in _tensors(inputs))
        why = f", whose {bad[0]} is not finite" if bad else "" if given else ", whose input is not finite already"
        found.append(f"first in layer {names[layer]}{why}")

    handles = [layer.register_forward_hook(look) for layer in names]
    training = module.training
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        module.eval()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            forward()
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    return found[0] if found else "in no layer when run again, so in the loss, or by chance"


def gradient_peaks(parameters: Iterable[tuple[str, nn.Parameter]]) -> tuple[list[str], Tensor]:
    """The names of parameters with a gradient, and the largest magnitude in each, (P,): NaN where there is one.

    No norm: that of large gradients overflows where each of them is finite.
    """
    gradients = {name: p.grad for name, p in parameters if p.grad is not None}
    peaks = torch._foreach_norm(list(gradients.values()), math.inf) if gradients else [torch.zeros(())]
    return list(gradients), torch.stack([*peaks])


def first_non_finite_weight(state: Mapping[str, Tensor], parameters: Collection[str]) -> str | None:
    """Name the first of the `parameters` of a `state_dict` that is not finite, or of BatchNorm's statistics.

    Other buffers are not looked at: an attention mask may well be infinite.
    """
    looked_at = ((name, value) for name, value in state.items() if name in parameters or ".running_" in name)
    return next((name for name, value in looked_at if not value.isfinite().all()), None)


class Watch:
    """Finds out whether steps were finite, without a wait for a device that still computes them.

    What a GPU has found is copied behind its work and read once the next step is queued: by then it is there, and the
    device has work. Meanwhile the optimiser takes no step: torch's fused ones read `found_inf`, as for a GradScaler, so
    that the weights are those of the step that failed. Where they cannot, and on a CPU, each step is read at once.
    """

    def __init__(self) -> None:
        self.at_once = True
        self._broken: Tensor | None = None
        self._pending: deque[tuple[Tensor, torch.cuda.Event | None, Callable[[], NonFiniteError]]] = deque()
        self._new = 0

    def take(self, finite: Tensor, fault: Callable[[], NonFiniteError]) -> None:
        """Look at one value, a bool on its device; `fault` is asked for if it is false.

        Raises:
            NonFiniteError: At once where that costs no wait.
        """
        if self.at_once:
            if not finite:
                raise fault()
            return
        broken = (~finite).float()
        self._broken = broken if self._broken is None else torch.maximum(self._broken, broken)
        copied, event = finite.to("cpu", non_blocking=True), None
        if finite.is_cuda:
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._pending.append((copied, event, fault))
        self._new += 1

    def stop(self, optimizer: Optimizer) -> None:
        """Let the optimiser take no step from the first value on that was not finite."""
        if self._broken is not None:
            optimizer.found_inf = self._broken  # type: ignore[attr-defined]

    def look(self, older: bool = False) -> None:
        """Read what was taken, or only what is `older` than the last look.

        Raises:
            NonFiniteError: Of the first that was not finite.
        """
        left, self._new = (self._new if older else 0), 0
        while len(self._pending) > left:
            finite, event, fault = self._pending.popleft()
            if event is not None:
                event.synchronize()
            if not finite:
                self._pending.clear()
                raise fault()


def diverged(what: str, place: tuple[int, int], ids: Collection[str] = ()) -> NonFiniteError:
    """Say where a run stopped being finite: what was expected and came, at which epoch, step and pictures `ids`."""
    pictures = f" (pictures {first_of([*ids], _NAMED)})" if ids else ""
    return NonFiniteError(
        f"{what} at epoch {place[0]}, step {place[1]}{pictures}; lower the learning rate, or use full precision"
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    """The floating-point tensors of what a layer takes or returns."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
