"""Where training stopped being finite: which layer, weight or gradient, for one line to a person."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from ibca_lightning.system.errors import NonFiniteError

_NAMED = 16


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


def first_non_finite_gradient(parameters: Iterable[tuple[str, nn.Parameter]]) -> str | None:
    """Name the first parameter whose gradient is not finite; None where all are, which costs one norm over all."""
    gradients = [(name, p.grad) for name, p in parameters if p.grad is not None]
    if torch.nn.utils.get_total_norm([gradient for _, gradient in gradients]).isfinite():
        return None
    # The norm of large gradients may overflow where each of them is finite.
    return next((name for name, gradient in gradients if not gradient.isfinite().all()), None)


def first_non_finite_weight(state: Mapping[str, Tensor], parameters: Collection[str]) -> str | None:
    """Name the first of the `parameters` of a `state_dict` that is not finite, or of BatchNorm's statistics.

    Other buffers are not looked at: an attention mask may well be infinite.
    """
    looked_at = ((name, value) for name, value in state.items() if name in parameters or ".running_" in name)
    return next((name for name, value in looked_at if not value.isfinite().all()), None)


def diverged(what: str, trainer: pl.Trainer, ids: Collection[str] = ()) -> NonFiniteError:
    """Say where a run stopped being finite: what was expected and came, and at which of the pictures `ids`."""
    pictures = f" (pictures {listed(ids)})" if ids else ""
    return NonFiniteError(
        f"{what} at epoch {trainer.current_epoch}, step {trainer.global_step}{pictures}; lower the learning rate, or "
        "use full precision"
    )


def listed(ids: Iterable[str]) -> str:
    """The ids of a step's pictures for a message, as many as a line takes."""
    names = list(ids)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


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
