"""`torch.compile`: what it needs of this machine, said before a run and not in the midst of its first step."""

import os
import shlex
import shutil
import sys
from typing import Literal

import torch

from ibca_lightning.system.errors import InputError

Compiled = bool | Literal["none", "head", "all"]
"""What is compiled; a bool as older configurations have it."""


def require_whole_steps(backend: str, batches: int) -> None:
    """Refuse CUDA graphs where gradients of several batches are added up, which lie in the recording's memory.

    The next batch overwrites them: torch raises (pytorch issue 169545), or takes a step of a part of them (96693).
    """
    if backend == "cudagraphs" and batches > 1:
        fix = "raise data.batch_size in its place, or give --model.compile_backend inductor"
        raise InputError("trainer.accumulate_grad_batches of 1 with model.compile_backend cudagraphs", batches, fix)


def require_backend(backend: str) -> None:
    """Refuse a backend that cannot work here: `inductor` writes C++, for a GPU's kernels too."""
    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        raise InputError(f"model.compile_backend one of {', '.join(known)}", backend, "choose one of them")
    # The same rule as inductor's own.
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if backend == "inductor" and shutil.which(shlex.split(compiler)[0]) is None:
        raise InputError(
            "a C++ compiler for model.compile", f"no {compiler}",
            "install g++ or name one in CXX, or give --model.compile none (or --model.compile_backend aot_eager)",
        )  # fmt: skip
