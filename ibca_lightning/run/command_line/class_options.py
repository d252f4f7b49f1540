"""How a class is named in an option, and whose options are whose, while a command line is parsed.

A class may stand by its short name (`short_names`) wherever jsonargparse takes a class path: `--model.head csra`, or
`head: {class_path: csra}` in a YAML. A class of this package is known by every path it ever had (`public_names`).

The options of one head or loss are never those of another that takes its place. jsonargparse keeps an option when a
later file or the command line names another class that happens to have an option of that name, and the defaults of the
class before count as given: `--config mured --model.head ml_decoder` would build ML-Decoder with the heads and the
dropout that are IBCA's defaults. For optimisers, schedulers and data modules it stays so: lr, root and batch_size mean
the same in each of them.

A value is the name of a YAML file only if it ends like one: jsonargparse would read a file `csra` of the current folder
where the head is meant. Such a file is looked at as one behind `--config` is, and text is read with measure: `1:30` is
no 90, `010` in a list no 8, and `no` for a class in `label_aliases` no false.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from jsonargparse import Namespace, _actions, _loaders_dumpers, _typehints, _util
from jsonargparse._paths import Path
from torch.optim.lr_scheduler import LRScheduler

from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.heads import Head
from ibca_lightning.losses import Loss
from ibca_lightning.model.public_names import public_name
from ibca_lightning.run.command_line.config_files import read_tree
from ibca_lightning.run.command_line.parser_messages import no_class
from ibca_lightning.run.command_line.short_names import class_paths
from ibca_lightning.system.imports.own_modules import name_own
from ibca_lightning.system.yaml_text import compose, keys_as_written, misread
from ibca_lightning.terms import Term

_BASES = (Head, Loss, Term, MultiLabelDataModule, pl.LightningDataModule, pl.LightningModule, LRScheduler)
_DISCARD, _RESOLVE = "discard_init_args_on_class_path_change", "resolve_class_path_by_name"
_MEASURED = 100  # characters of a text that is measured before it is read: a shorter one cannot grow


@contextmanager
def class_rules() -> Iterator[None]:
    """While parsing, know short names and own modules, keep options with their class, and read files as ours."""
    kept = {name: getattr(_typehints, name) for name in (_DISCARD, _RESOLVE)}
    by_path, read_yaml = _util.import_object, _loaders_dumpers.loaders["yaml"]

    def discard(action: Any, before: Any, now: Any) -> None:
        if before and "init_args" in before and _replaced(before["class_path"], now["class_path"]):
            for key in list(before["init_args"].keys()):
                before["init_args"].pop(key)
        kept[_DISCARD](action, before, now)

    def resolve(wanted: Any, name: str) -> str:
        name = public_name(name)
        for path in class_paths(name):
            found = resolve_name(path)
            if isinstance(found, type) and issubclass(found, wanted):
                return path
        for module in (torch.optim, torch.optim.lr_scheduler):  # Lightning has a second ReduceLROnPlateau
            found = getattr(module, name, None)
            if isinstance(found, type) and issubclass(found, wanted):
                return f"{module.__name__}.{name}"
        resolved: str = kept[_RESOLVE](wanted, name)
        return resolved

    def imported(name: str, check_path: bool = True) -> Any:
        name_own(name)
        return by_path(name, check_path)

    class AsWritten(_loaders_dumpers.get_yaml_default_loader()):  # type: ignore[misc]  # made at run time
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys_as_written(node)
            return dict(super().construct_mapping(node, deep))

    def measured(text: str) -> Any:
        if len(text) > _MEASURED or misread(text):
            compose(text)
        return read_yaml(text)

    # There is no setting for these; `jsonargparse<5` in pyproject.toml, and a test says if a name goes.
    ours: dict[ModuleType, dict[str, Any]] = {
        _typehints: {_DISCARD: discard, _RESOLVE: resolve, "import_object": imported, "Path": _YAMLFile},
        _util: {"Path": _YAMLFile}, _actions: {"import_object": imported},
        _loaders_dumpers: {"yaml_load": measured, "yaml_default_loader": AsWritten},
    }  # fmt: skip
    before = {module: {name: getattr(module, name) for name in names} for module, names in ours.items()}
    try:
        for module, names in ours.items():
            vars(module).update(names)
        _loaders_dumpers.loaders["yaml"] = measured
        yield
    finally:
        for module, names in before.items():
            vars(module).update(names)
        _loaders_dumpers.loaders["yaml"] = read_yaml


class _AnyPath(type):
    """A class of which every path of jsonargparse counts as one."""

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, Path)


class _YAMLFile(Path, metaclass=_AnyPath):
    """A file that stands where a class or its options may; a TypeError says that something else is meant."""

    def __init__(self, path: Any, mode: str = "fr", **more: Any) -> None:
        if not str(path).endswith((".yaml", ".yml")):
            raise TypeError("no name of a YAML file")
        super().__init__(path, mode, **more)
        read_tree(str(path), "for an option at")


def refuse_bases(options: Namespace) -> None:
    """Refuse a base class, which only says what its subclasses must do, before anything is built."""
    for key, value in options.items():
        several = value if isinstance(value, list) else ()
        listed = [each.get("class_path") for each in several if isinstance(each, Namespace)]
        for path in [*listed, value] if key.endswith(".class_path") else listed:
            if isinstance(path, str) and resolve_name(path) in _BASES:
                raise no_class(key.removesuffix(".class_path").replace(".init_args", ""), path)


def _replaced(before: str, now: str) -> bool:
    """Whether another head or loss has been named; a class is the same by its short name and by its whole one."""
    if before.rpartition(".")[2] == now.rpartition(".")[2]:
        return False
    cls = resolve_name(now)
    return isinstance(cls, type) and issubclass(cls, Head | Loss)
