"""Parameter groups and the default learning rate schedule."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from ibca_lightning.model.watched import of_validation
from ibca_lightning.system.errors import InputError

_KIND = "kind"  # in the state of an optimiser: its class


def parameter_groups(
    backbone: nn.Module, *others: nn.Module, scales: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Split trainable parameters by part, by layer where `scales` tells them apart, and by weight decay.

    Vectors and scalars (biases, norms) are not decayed: pulling them to zero is no regularisation. The number of axes
    alone decides, so that scales kept as tables are decayed like any weight: those of IBCA's mixture (component, width)
    and of its evidence (head, label).

    Args:
        backbone: Its groups are marked `part="backbone"`.
        others: Head and loss; marked `part="head"`.
        scales: Of parameters of the backbone, by name: the multiple of the backbone's rate that they learn at.

    Returns:
        Non-empty groups with the keys `params`, `part`, for undecayed ones `weight_decay: 0`, and `scale` if it is not
        1; the lowest scale first.
    """
    groups: list[dict[str, Any]] = []
    for part, modules in (("backbone", (backbone,)), ("head", others)):
        own = scales if scales is not None and part == "backbone" else {}
        named = [named for module in modules for named in module.named_parameters() if named[1].requires_grad]
        for scale in sorted({own.get(name, 1.0) for name, _ in named}):
            parameters = [p for name, p in named if own.get(name, 1.0) == scale]
            marks = {"part": part} | ({} if scale == 1 else {"scale": scale})
            groups.append({"params": [p for p in parameters if p.ndim > 1], **marks})
            groups.append({"params": [p for p in parameters if p.ndim <= 1], **marks, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def set_rates(optimizer: Optimizer, rate: float | None, backbone_scale: float) -> None:
    """Give every group of `parameter_groups` its learning rate; a rate of None keeps the optimiser's own."""
    for group in optimizer.param_groups:
        group["lr"] = (rate or group["lr"]) * group.get("scale", 1.0)
        if group.get("part") == "backbone":
            group["lr"] *= backbone_scale


def fuse(optimizer: Optimizer) -> None:
    """Let torch's own optimisers take a step of all parameters in one kernel, unless they were told how.

    A group that a checkpoint restores goes on as it was trained, fused or not.
    """
    if type(optimizer) not in (Adam, AdamW):
        return
    groups = optimizer.param_groups
    told = any(group.get("foreach") is not None or group["capturable"] or group["differentiable"] for group in groups)
    fit = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    if fit and not told:
        for group in groups:
            group["fused"] = True if group["fused"] is None else group["fused"]


def say_kind(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Put the optimiser's class into its state: a hook behind `state_dict`. Adam's state would fit RAdam."""
    state[_KIND] = type(optimizer).__name__


def require_same_groups(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Refuse the state of an optimiser of another kind or of other groups: a hook before it is loaded.

    torch would not name what differs, or go on at the rates of the state.

    Raises:
        InputError: They differ.
    """
    ours, theirs = (_shown(groups) for groups in (optimizer.param_groups, state["param_groups"]))
    own, saved = (set(groups[0]) - {"initial_lr"} for groups in (optimizer.param_groups, state["param_groups"]))
    name = type(optimizer).__name__
    known = state.get(_KIND, name)  # older checkpoints do not say
    other = known != name or bool(own - saved and saved - own)  # one way alone: another version of torch
    if ours == theirs and not other:
        return
    kind = f" of {name}" if other else ""
    got = known if known != name else f"one with {min(saved - own)}" if other else theirs
    raise InputError(
        f"the checkpoint's optimiser{kind} over {ours}", got,
        "give optimizer, loss, layer_decay, freeze_backbone and lora_rank as the checkpoint's run had them, or start a "
        "new run with --model.init_from instead of --ckpt_path",
    )  # fmt: skip


def _shown(groups: list[dict[str, Any]]) -> str:
    sizes: dict[str, int] = {}
    for group in groups:
        scale = group.get("scale", 1)
        name = f"{group.get('part', 'a group')}{'' if scale == 1 else f' at {scale:.4g} of its rate'}"
        sizes[name] = sizes.get(name, 0) + len(group["params"])
    return ", ".join(f"{size} parameters of {name}" for name, size in sizes.items())


def is_fused(optimizer: Optimizer) -> bool:
    """Whether it is of one kernel, which skips a step where `found_inf` says so."""
    return all(group.get("fused") for group in optimizer.param_groups)


def by_epoch(scheduler: LRScheduler | ReduceLROnPlateau, score: str, loss: str) -> dict[str, Any]:
    """Tell Lightning to step a scheduler once an epoch; one of plateaus watches `loss` in mode min, else `score`."""
    monitor = getattr(scheduler, "monitor", None)  # Lightning's own ReduceLROnPlateau names what it watches
    if monitor is None:
        monitor = loss if getattr(scheduler, "mode", "max") == "min" else score
    # Before the first validation there is nothing to see yet.
    return {"scheduler": scheduler, "interval": "epoch", "monitor": monitor, "strict": not of_validation(monitor)}


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup_steps: int) -> LambdaLR:
    """Linear warm-up to the optimiser's rate, then a cosine to zero; stepped every batch.

    Its state needs no pickled function: it is rebuilt from the same arguments on resume.

    Args:
        optimizer: Its groups keep their own peak rates.
        total_steps: Length of the run in optimiser steps.
        warmup_steps: Steps until the peak; 0 starts at the peak.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    return LambdaLR(optimizer, factor)
