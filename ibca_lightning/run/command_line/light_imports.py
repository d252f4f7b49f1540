"""Imports of torch and what stands on it, a little lighter."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def light_imports(*without: str) -> Iterator[None]:
    """Import meanwhile without collecting garbage, of which imports make little.

    Args:
        without: Packages that others import only if they are there, and that are not to be found: wandb, by timm.
    """
    absent = [name for name in without if name not in sys.modules]
    collecting = gc.isenabled()
    gc.disable()
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: no such package
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
        if collecting:
            gc.enable()
