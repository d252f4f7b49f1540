"""Imports of torch and what stands on it, a little lighter."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


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


@contextmanager
def late_compiler() -> Iterator[None]:
    """Import meanwhile without torch's compiler, a third of the modules that timm brings; for what compiles nothing.

    Torchvision wants a function of it that is called where boxes are pooled, timm to mark methods that are not to be
    compiled, which here they are not. Whoever wants anything else of it gets it.
    """
    stand_ins = [
        _Late("torch._dynamo", disable=_as_it_is),
        _Late("torch._dynamo.utils", is_compile_supported=_is_compile_supported),
    ]
    if "torch._dynamo" in sys.modules:
        stand_ins = []
    sys.modules.update({each.__name__: each for each in stand_ins})
    try:
        yield
    finally:
        for each in stand_ins:
            each.step_aside()


class _Late(ModuleType):
    """Stands for a module until something of it is wanted that is not given."""

    def __init__(self, name: str, **given: Any) -> None:
        super().__init__(name)
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> Any:
        # Of a package its path is asked for where something below it is wanted; of a module, by every import.
        if name.startswith("__") and (name != "__path__" or "." in self.__name__.removeprefix("torch.")):
            raise AttributeError(name)
        self.step_aside()
        return getattr(import_module(self.__name__), name)

    def step_aside(self) -> None:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


def _as_it_is(function: Any, recursive: bool = True, *, reason: str | None = None) -> Any:
    return function


def _is_compile_supported(device_type: str) -> bool:
    return bool(import_module("torch._dynamo.utils").is_compile_supported(device_type))
