"""The record of a model in a checkpoint: plain data under one key, read without running code that the file may hold."""

import os
import reprlib
import zipfile
from pathlib import Path
from typing import Any

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.model_files.plain_pickle import require_plain_pickle
from ibca_lightning.system.strangers import require_not_packed

CHECKPOINT_KEY = "ibca"
_GIVE = "give RUN/checkpoints/best.ckpt as `ibca fit` wrote it (weights of a backbone alone: --model.checkpoint_path)"
FORMAT = 1


def load_plain(path: str | Path, mmap: bool = False) -> Any:
    """Load a checkpoint of tensors, put on the CPU, and plain data; with `mmap` weights stay in the file until used.

    Raises:
        InputError: When the file is missing, cannot be read, or holds anything else, which is seen before it is made.
    """
    require_archive(path)
    import torch

    try:
        require_not_packed(path)
        require_plain_pickle(path, f"{path} to be a checkpoint of tensors and plain data", _GIVE)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except InputError:
        raise
    except Exception as error:  # torch raises a dozen kinds for junk, all of which mean the same to the user
        raise unreadable(path) from error


def require_archive(path: str | Path) -> None:
    """Refuse what is no file, or is no archive as `torch.save` writes it; nothing is imported for that.

    Raises:
        InputError: When it is such.
    """
    if not os.path.isfile(path):
        best = os.path.join(path, "checkpoints", "best.ckpt")  # of a run, whose folder was given
        got = "a folder" if os.path.isdir(path) else "none"
        fix = best if os.path.isfile(best) else "RUN/checkpoints/best.ckpt"
        raise InputError(f"a checkpoint file at {path}", got, f"give {fix}")
    try:
        archive = zipfile.is_zipfile(path)
    except (OSError, zipfile.BadZipFile):  # the latter where the end of the file speaks of several disks
        archive = False
    if not archive:
        raise unreadable(path)


def unreadable(path: str | Path) -> InputError:
    """Say that a file is no checkpoint."""
    return InputError(f"{path} to be a checkpoint of tensors and plain data", "an unreadable file", _GIVE)


def model_record(checkpoint: Any, path: str | Path = "checkpoint") -> dict[str, Any]:
    """Return what a checkpoint, from `load_plain`, says of its model; the path is for messages.

    Raises:
        InputError: When the checkpoint has no record, one of another format, or one without classes.
    """
    record = checkpoint.get(CHECKPOINT_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(record, dict):
        raise InputError(f"{path} to be a checkpoint written by `ibca fit`", "none", _GIVE)
    if record.get("format") != FORMAT:
        version = said if isinstance(said := record.get("version"), str) else reprlib.repr(said)
        got = f"format {reprlib.repr(record.get('format'))} (ibca {version})"
        raise InputError(f"{path} in checkpoint format {FORMAT}", got, "use the version of ibca that wrote it")
    if not isinstance(names := record.get("class_names"), list):
        what = "sound class_names in its" if "class_names" in record else "complete"
        raise InputError(f"{path} with a {what} model record", reprlib.repr(names), "use the file as it was written")
    return record
