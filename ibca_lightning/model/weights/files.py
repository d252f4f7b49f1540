"""A file of weights, read without running what it holds, into a timm model: all of it, or a reason why not."""

import logging
import pickle
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from timm.layers import QuickGELU
from timm.models import adapt_input_conv
from torch import Tensor

from ibca_lightning.model.weights.by_timm import converted
from ibca_lightning.model.weights.finite import spoilt
from ibca_lightning.model.weights.layouts import LAYOUTS, State
from ibca_lightning.model.weights.towers import one_tower
from ibca_lightning.system.errors import InputError, first_of
from ibca_lightning.system.model_files.plain_pickle import require_plain_pickle
from ibca_lightning.system.strangers import require_not_packed

POOLED_NORM = "its norm of the pooled tokens taken for that of each token, as of other such backbones"
_POOL = "attn_pool."  # SigLIP's and others' attention pool: the backbone gives the map before it
_CLASSIFIERS = ("head", "head_dist", "fc", "classifier", "last_linear")  # timm's names for what comes after the pool

_WRAPPERS = (
    "state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "module", "net", "network", "teacher",
    "student",
)  # fmt: skip
"""Keys below which training programs put the weights: PyTorch's tutorials, timm, DINO and others."""
_DEPTH = 3  # that such keys may lie below each other beyond their own order
_ALONE = "use a file of the weights alone, torch.save(MODEL.state_dict(), FILE)"
log = logging.getLogger(__name__)


def load(model: Any, name: str, path: str, in_channels: int = 3) -> str | None:
    """Fill the whole model from a local file; nothing but a classifier may be missing or too much.

    Args:
        model: Of timm.
        name: Of the model, for errors.
        path: Of the file.
        in_channels: Of the pictures.

    Returns:
        Whose normalisation the weights were trained with, a key of `normalisation.SETS`, if their keys say so.

    Raises:
        InputError: Names the keys that do not fit, and the layout that they are nearest to.
    """
    state = read(path)
    expected = model.state_dict()
    shares = [each.found(state) / len(each.marks) for each in LAYOUTS]
    share = max(shares)
    nearest = LAYOUTS[shares.index(share)]
    layout = nearest if share == 1 else None
    said = []
    if layout is not None:
        dropped = {key: found[0] for key in state if (found := re.search(layout.drops, key))}
        state = layout.convert({key: value for key, value in state.items() if key not in dropped})
        parts = list(dict.fromkeys(part.strip(".") for part in dropped.values()))
        said = [f"read {path} as {layout.title}", *([f"left out {first_of(parts, 3)}"] if parts else [])]
    state, beside = one_tower(state, expected, path)
    said += beside
    named = model.pretrained_cfg.get("classifier") or ()
    classifiers = tuple(f"{part}." for part in (*_CLASSIFIERS, *((named,) if isinstance(named, str) else named)))
    behind_the_pool, loading = "fc_norm.weight" in state, False
    try:
        state, resized = converted(model, name, path, state)
        said += resized
        # Behind timm's converter, which renames the norm of some pretrained files so.
        if "fc_norm.weight" in state.keys() - expected.keys() and "norm.weight" in expected.keys() - state.keys():
            state = {re.sub(r"^fc_norm\.", "norm.", key): value for key, value in state.items()}
            said += [POOLED_NORM] if behind_the_pool else []
        if not any(key.startswith(_POOL) for key in expected):
            kept = {key: value for key, value in state.items() if not key.startswith(_POOL)}
            said += [f"left out {_POOL}*, a pool that heads stand in for"] if len(kept) < len(state) else []
            state = kept
        layers: Any = model.pretrained_cfg.get("first_conv") or ()
        for layer in (layers,) if isinstance(layers, str) else layers:
            key = f"{layer}.weight"
            if in_channels != 3 and key in state and state[key].shape[1] == 3:
                state[key] = adapt_input_conv(in_channels, state[key])
        missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
        extra = [key for key in state if key not in expected and not key.startswith(classifiers)]
        wrong = [f"{word} {first_of(keys, 3)}" for word, keys in (("no", missing), ("unexpected", extra)) if keys]
        if not wrong:
            loading = True  # a shape before timm's converter may be one that it would have resized
            model.load_state_dict(state, strict=False)
    except InputError:
        raise
    except Exception as error:  # a converter meets a foreign file; a shape does not fit
        wrong = [f"{type(error).__name__}: {first_line(error)}"]
        if loading and (unlike := _unlike(state, expected)):
            wrong = [f"size mismatch for {first_of(unlike, 3)}"]
    if wrong:
        near = f"its keys are nearest to {nearest.title}" if share else "its keys are of no other known layout"
        advice = f"use a file of this backbone, in the keys of timm or a layout of model/README.md ({near})"
        raise InputError(f"the weights of {name} in {path}", " and ".join(wrong), advice)
    bad = (spoilt(key, state[key], own) for key, own in expected.items() if key in state)
    if wrong_one := next(filter(None, bad), None):
        raise InputError(f"finite weights of {name} in {path}", wrong_one, "use another file")
    if said:
        log.info("%s", "; ".join(said))
    if layout is not None and layout.quick_gelu and not any(isinstance(part, QuickGELU) for part in model.modules()):
        log.warning(
            "%s is in the keys of %s, and %s has no QuickGELU, which OpenAI's weights were trained with: for them use "
            "a backbone such as vit_base_patch16_clip_quickgelu_224; others in these keys, as LAION's, want GELU",
            path, layout.title, name,
        )  # fmt: skip
    return layout.published if layout else None


def _unlike(state: State, expected: State) -> list[str]:
    """The keys of another shape, with both shapes."""
    shapes = {key: (tuple(state[key].shape), tuple(own.shape)) for key, own in expected.items() if key in state}
    return [f"{key} {got} in place of {own}" for key, (got, own) in shapes.items() if got != own]


def read(path: str) -> State:
    """The tensors of a weights file, read without unpickling objects.

    Raises:
        InputError: The file is missing, damaged, holds objects or no tensors.
    """
    if not Path(path).is_file():
        raise InputError(f"checkpoint_path to be a file of weights, {path}", "no such file", "correct the path")
    expected, safe = (
        f"plain tensors (.safetensors, or .pth of torch.save) in {path}",
        Path(path).suffix == ".safetensors",
    )
    try:
        require_not_packed(path)
        if not safe:
            require_plain_pickle(path, expected, _ALONE, more=("argparse Namespace",))
        with torch.serialization.safe_globals([Namespace]):  # the options of timm's train.py: it only holds values
            content: Any = (
                safetensors.torch.load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
            )
    except InputError:
        raise
    except Exception as error:  # each format has its own errors for a damaged file
        # torch's advice would be to unpickle whatever the file holds
        got = "something else" if isinstance(error, pickle.UnpicklingError) else first_line(error)
        raise InputError(expected, got, _ALONE) from error
    content = _unwrapped(content, path)
    for _ in range(_DEPTH):  # {"model": {"state_dict": ...}}
        if isinstance(content, dict) and not _has_tensors(content):
            content = _unwrapped(content, path)
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    # One number, shown as many: timm's converters would write it out.
    if sum(tensor.nbytes for tensor in tensors.values()) > 2 * Path(path).stat().st_size:
        raise InputError(f"weights of the size of their file, {path}", "more", _ALONE)
    if not tensors:
        keys = [str(key) for key in content] if isinstance(content, dict) else []
        held_keys = f" among {first_of(keys, 9)}" if keys else ""
        raise InputError(f"tensors by name in {path}", f"a {type(content).__name__} without any{held_keys}", _ALONE)
    return tensors


def _unwrapped(content: Any, path: str) -> Any:
    """What lies below the keys that training programs put the weights under."""
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict) and content[key]:
            if others := [other for other in _WRAPPERS if other != key and _has_tensors(content.get(other))]:
                log.info("of %s the weights below %s are taken, and not %s", path, key, first_of(others, 3))
            content = content[key]
    return content


def _has_tensors(content: Any) -> bool:
    return isinstance(content, dict) and any(isinstance(value, Tensor) for value in content.values())


def first_line(error: BaseException | None) -> str:
    """An error of torch or timm as one short line: what it says before the first line break."""
    text = str(error).strip().splitlines()
    if text and "allocate memory" in text[0]:
        return "one that takes more memory than there is"
    return text[0][:200] if text else type(error).__name__
