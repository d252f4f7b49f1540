"""Paths of a configuration as seen from the current folder: what lies above it may name a clinic, or a person."""

import os
from typing import Any

from ibca_lightning.data import storage

_BELOW_ROOT = ("train_csv", "val_csv", "test_csv", "image_dir", "mask_dir")  # of data, looked for in `root`
_BESIDE_ROOT = ("root", "cache_dir", "splits", "label_space", "unpack_dir", "boxes_dir", "tiles_dir", "pairs_dir")


def relative_paths(value: Any) -> Any:
    """The same with relative paths for absolute ones that lie below the current folder, or data's below their `root`.

    Beside a `root`, which some keys are joined to, the keys of data modules of our own are changed and no others.
    """
    if isinstance(value, dict) and isinstance(root := value.get("root"), str):
        result = dict(value)
        for key in (*_BELOW_ROOT, *_BESIDE_ROOT):
            if isinstance(path := value.get(key), str):
                result[key] = _below(path, root if key in _BELOW_ROOT else os.curdir) or path
                short = _below(result[key], os.curdir) if key.endswith("_csv") else None
                if short is not None and not storage.exists(os.path.join(root, short)):  # that would be read instead
                    result[key] = short
        return result
    if isinstance(value, dict):
        return {key: relative_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [relative_paths(inner) for inner in value]
    return (_below(value, os.curdir) or value) if isinstance(value, str) else value


def _below(path: str, folder: str) -> str | None:
    """An absolute path as seen from a folder that it lies in; None for any other."""
    if not os.path.isabs(path):
        return None
    relative = os.path.relpath(path, folder)
    return None if relative.split(os.sep)[0] == os.pardir else relative
