"""timm's own converter of a family, watched: what it resizes is told, and what it would lose is refused."""

import contextlib
import io
import re
import sys
from typing import Any

import timm

from ibca_lightning.model.weights.layouts import State
from ibca_lightning.system.errors import InputError, first_of

_NAMED = {"pos_embed": "position embeddings", "patch_embed.proj.weight": "patch embedding"}
_OF_SIZE = r"(^|\.)(pos_|rel_pos|relative_position|patch_embed\.)"  # what depends on the size of a picture or patch


def converted(model: Any, name: str, path: str, state: State) -> tuple[State, list[str]]:
    """Apply it: older layouts, position embeddings of another image size; nothing where the family has none.

    Args:
        model: Of timm.
        name: Of the model, for the error.
        path: Of the file, for the error.
        state: In the keys of timm or of a layout that timm knows.

    Returns:
        The weights, and what is to be said of those that were resized.

    Raises:
        InputError: The file has biases of query and value (DINOv3) that this network has no place for.
    """
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state, []
    with contextlib.redirect_stdout(io.StringIO()):  # of DINOv3 it prints a line a block
        after: State = convert(dict(state), model)
    for key in state.keys() - after.keys():
        if key.endswith("attn.qkv.bias") and key.replace("qkv.bias", "q_bias") not in after:
            query, _, value = state[key].chunk(3)
            if bool(query.any()) or bool(value.any()):
                fitting = f"{name.split('.')[0]}_qkvb"
                fix = f"use {fitting}" if timm.is_model(fitting) else "use a backbone that has them"
                got = f"{name}, which has none ({key} is not 0)"
                raise InputError(f"a backbone with the biases of query and value that {path} holds", got, fix)
    return after, _resized(state, after)


def _resized(before: State, after: State) -> list[str]:
    """What has another number of values, or under another key values that are no longer those of the file."""
    read = {value.untyped_storage().data_ptr() for value in before.values()}
    said, tables = [], []
    for key, value in after.items():
        old = before.get(key)
        same = value.untyped_storage().data_ptr() in read if old is None else old.numel() == value.numel()
        if same or not re.search(_OF_SIZE, key):
            continue
        origin = "" if old is None else f"from {tuple(old.shape)} "
        if key in _NAMED:
            said.append(f"{_NAMED[key]} interpolated {origin}to {tuple(value.shape)}")
        else:
            tables.append(key)
    return said + ([f"interpolated {first_of(tables, 1)}"] if tables else [])
