"""Memory of large activations on a CPU: freed blocks stay with the process."""

import ctypes
import sys

import torch

# glibc's mallopt parameters; see mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of giving them back to the kernel after each layer.

    A CNN at 384 px allocates hundreds of megabytes a layer; taken from the kernel each time, every page faults anew.
    On a virtual machine that can cost more than the arithmetic (`python -m tests.bench.allocator` prints by how much
    here). It does nothing where CUDA holds the activations, or without glibc.
    """
    if sys.platform != "linux" or torch.cuda.is_available():
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
