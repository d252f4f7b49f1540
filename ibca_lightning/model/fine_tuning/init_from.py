"""The weights of another checkpoint to start from, whose labels may differ: `init_from`."""

import logging
from typing import Any

import torch
from torch import Tensor, nn

from ibca_lightning.model.checkpoint import MUST_BE_ALIKE, ModelSpec, build_head, require_kinds
from ibca_lightning.model.weights.shapes_only import shapes_only
from ibca_lightning.system.errors import InputError

log = logging.getLogger(__name__)


def initialise_from(module: nn.Module, checkpoint: dict[str, Any], path: str) -> ModelSpec:
    """Start `module` from another checkpoint whose labels may differ.

    Backbone and label-free parameters are copied. Parameters with a label axis take the rows of classes that both
    have, by name; the others keep their fresh values. The label axis of a parameter is the one that grows by one row
    when the head is built with one label more, so it is found for any head. Labels come first along it: what lies
    behind them, such as background components, is label-free and copied.

    Returns:
        What the other checkpoint says of its model.

    Raises:
        InputError: When backbone, stride or head differ, or a weight does not fit.
    """
    source, target = ModelSpec.from_checkpoint(checkpoint, path), module.spec
    assert isinstance(target, ModelSpec)
    for name in MUST_BE_ALIKE:
        if getattr(source, name) != getattr(target, name):
            raise InputError(
                f"--model.init_from {path} with {name} {getattr(target, name)}", getattr(source, name),
                "use the same backbone, stride and head options as that checkpoint",
            )  # fmt: skip
    state, own = checkpoint["state_dict"], module.state_dict()
    require_kinds(state, own, f"--model.init_from {path}")
    shared = [name for name in target.class_names if name in source.class_names]
    growth = _growth(target.head, module.backbone.channels, len(target.class_names))  # type: ignore[arg-type,union-attr]
    fresh: list[str] = []
    for name, tensor in own.items():
        if name == "head.progress" or not name.startswith(("backbone.", "feature_norm.", "head.")):
            continue  # a new run has its own schedule and loss
        axes = growth.get(name, [0] * tensor.ndim)
        if any(grows not in (0, 1) for grows in axes):
            fresh.append(name)  # several rows a label, in an order that only the head knows
            continue
        more = len(source.class_names) - len(target.class_names)
        expected = tuple(size + grows * more for grows, size in zip(axes, tensor.shape, strict=True))
        found = tuple(state[name].shape) if name in state else "none"
        if found != expected:
            raise InputError(
                f"--model.init_from {path} with a weight {name} of shape {expected}", found,
                "use the same image_size, and the versions of ibca and timm that wrote it",
            )  # fmt: skip
        if not any(axes):
            tensor.copy_(state[name])
            continue
        rows = [
            _matching_rows(size, target.class_names, source.class_names) if grows else (torch.arange(size),) * 2
            for grows, size in zip(axes, tensor.shape, strict=True)
        ]
        to, at = (torch.meshgrid(*indices, indexing="ij") for indices in zip(*rows, strict=True))
        tensor[to] = state[name][at]
    log.info(
        "started from %s: %d of %d classes taken over (%s)",
        path, len(shared), len(target.class_names), ", ".join(shared) or "none",
    )  # fmt: skip
    if fresh:
        log.warning("not taken over, several rows a label: %s", ", ".join(fresh))
    return source


def _growth(spec: dict[str, Any], channels: int, num_labels: int) -> dict[str, list[int]]:
    """By how much each axis of each of the head's weights grows with one label more."""
    with shapes_only():
        one, other = (build_head(spec, channels, n).state_dict() for n in (num_labels, num_labels + 1))
    return {
        f"head.{name}": [b - a for a, b in zip(tensor.shape, other[name].shape, strict=True)]
        for name, tensor in one.items()
    }


def _matching_rows(size: int, target: list[str], source: list[str]) -> tuple[Tensor, Tensor]:
    """Rows of the target's label axis, and the source's rows that belong there."""
    pairs = [(target.index(name), source.index(name)) for name in target if name in source]
    pairs += [(len(target) + i, len(source) + i) for i in range(size - len(target))]
    to, at = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1)
    return to, at
