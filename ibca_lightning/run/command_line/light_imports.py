"""Imports of torch and what stands on it, a little lighter."""

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.util import find_spec
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


def late_modules() -> AbstractContextManager[None]:
    """Import meanwhile without what torch, timm and torchvision import and a trained model does not use.

    Of torch export and distributions, which what needs them imports by itself. Its compiler: torchvision wants a
    function of it that is called where boxes are pooled, timm to mark methods that are not to be compiled, which
    here they are not. Torchvision's boxes in ONNX, which no command that imports so exports; its models, of which
    timm takes two functions that cut models into pieces. What timm asks a hub by. Whoever wants anything of the
    others later gets it.
    """
    return _instead(
        *(_Late(f"torch.{name}", {}, package=True) for name in ("export", "distributions")),
        _Late("torchvision.ops._register_onnx_ops", {"_register_custom_op": int}),
        _Late("torch._dynamo", {"disable": _as_it_is}, package=True),
        _late("torch._dynamo.utils", "is_compile_supported"),
        _Late("torchvision.models", {}, package=True),
        _late("torchvision.models.feature_extraction", "create_feature_extractor", "get_graph_node_names"),
        _late("huggingface_hub.hf_api", "HfApi", "model_info"),
        _late("huggingface_hub.file_download", "hf_hub_download"),
    )


def leave_garbage() -> None:
    """Let a process that ends not look once more through all that it imported: half a second."""
    if "triton" not in sys.modules:  # which would count on stderr what it was not given back
        gc.freeze()


def late_transformers() -> AbstractContextManager[None]:
    """Import meanwhile without transformers: where it is, torchmetrics takes two classes for figures of texts."""
    spec = None if "transformers" in sys.modules else find_spec("transformers")
    stand_in = _late("transformers", "AutoModel", "AutoTokenizer")
    stand_in.__spec__ = spec  # by which others see whether it is there
    return _instead(*[stand_in] if spec else [])


@contextmanager
def _instead(*stand_ins: "_Late") -> Iterator[None]:
    absent = [each for each in stand_ins if each.__name__ not in sys.modules]
    sys.modules.update({each.__name__: each for each in absent})
    try:
        yield
    finally:
        for each in absent:
            each.step_aside()


class _Late(ModuleType):
    """Stands for a module until something of it is wanted that is not given."""

    def __init__(self, name: str, given: Mapping[str, Any], package: bool = False) -> None:
        super().__init__(name)
        self._package = package
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> Any:
        # Of a package its path is asked for where something below it is wanted; of a module, by every import.
        if name.startswith("__") and not (name == "__path__" and self._package):
            raise AttributeError(name)
        self.step_aside()
        return getattr(import_module(self.__name__), name)

    def step_aside(self) -> None:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


class _LateObject:
    """Stands for a function or class of a module until it is called, or something of it is wanted."""

    def __init__(self, module: str, name: str) -> None:
        self._place = module, name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._real()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def _real(self) -> Any:
        module, name = self._place
        if isinstance(found := import_module(module), _Late):  # asked for early
            found.step_aside()
            found = import_module(module)
        return getattr(found, name)


def _late(module: str, *names: str) -> _Late:
    """Stand for a module of which these are wanted."""
    return _Late(module, {name: _LateObject(module, name) for name in names})


def _as_it_is(function: Any, recursive: bool = True, *, reason: str | None = None) -> Any:
    return function
