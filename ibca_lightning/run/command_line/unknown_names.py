"""Names of options and classes that nobody knows, refused before torch is imported, which takes seconds.

What is refused here the parser would refuse. An option counts as known where any class of its part has it, and where a
class of the user's own may have it; a name of a class, where some module of the user's may bring it.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

import yaml

from ibca_lightning.run.command_line.help_screen import likely_option
from ibca_lightning.run.command_line.parser_messages import no_class, unknown_key, unknown_option
from ibca_lightning.run.command_line.short_names import class_paths, short_name
from ibca_lightning.run.command_line.source_options import is_class_of_ours, options_of
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.imports.own_modules import name_own
from ibca_lightning.system.options import given_values
from ibca_lightning.system.strangers import read_text
from ibca_lightning.system.yaml_text import load

# Options without a dot. All others are of the model, the data or the trainer.
TOP_OPTIONS = (
    "help", "config", "print_config", "seed_everything", "trainer", "model", "data", "ckpt_path", "weights_only",
    "verbose", "return_predictions", "run_dir", "wandb", "wandb_project", "log_images", "save_every_n_steps",
    "deterministic", "no_deterministic", "hash_names", "no_hash_names", "hash_key", "excel_safe",
    "no_excel_safe", "find_batch_size", "find_lr",
)  # fmt: skip
_OF_PICTURES = {
    "output": "give --run_dir DIR",
    "trust": "leave it out, as the configuration names the module of each class",
    "device": "give --trainer.accelerator",
    "precision": "give --trainer.precision",
    **dict.fromkeys(("tta", "image_column", "image_dir"), "leave it out"),
}  # what ibca predict takes with --images alone, and what to do with --config
_PARTS = ("trainer", "model", "data", "model.head", "model.loss")  # whose options stand one level below
_OF_CLASSES = ("help", "class_path", "init_args", "dict_kwargs")  # of whatever takes a class
_CLASSES = ("model", "data", "model.head", "model.loss", "model.terms")
_OTHER_CLASSES = ("trainer.callbacks", "trainer.logger", "trainer.strategy", "trainer.profiler", "trainer.plugins",
                  "trainer.accelerator", "model.optimizer", "model.scheduler", "data.augment")  # fmt: skip
_OWN_MODULES = re.compile(r"(?!ibca_lightning\.|torch\.|lightning\.|albumentations\.)[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


class _Given(NamedTuple):
    key: str  # without init_args
    value: Any
    file: str = ""  # where it stands in one
    typed: str = ""  # the option as it was typed


def refuse_unknown(arguments: Sequence[str], command: str = "fit") -> None:
    """Refuse, of a command line whose files are there and are YAML, options and classes that nobody knows.

    Raises:
        InputError: Names the first, and what was probably meant.
    """
    given = [*_of_files(arguments), *_of_line(arguments)]
    classes = [one._replace(key=one.key.removesuffix(".class_path")) for one in given]
    named = {part: [name for one in classes if one.key == part for name in _names(one.value)] for part in _CLASSES}
    own = any(_OWN_MODULES.fullmatch(name) for one in given if _takes_classes(one.key) for name in _paths(one.value))
    for part in _CLASSES[1:]:
        for name in named[part]:
            _refuse_class(part, name, own)
    ours = {part: all(class_paths(name) for name in named.get(part, ())) for part in _PARTS}
    ours["model"] = all(name.rpartition(".")[2] == "MultiLabelModule" for name in named["model"])
    for one in given:
        _refuse_option(one, ours, command)


def _refuse_option(one: _Given, ours: Mapping[str, bool], command: str) -> None:
    known, (first, dot, _) = True, one.key.partition(".")
    if not dot or first not in ("model", "data", "trainer"):
        known = not dot and first in TOP_OPTIONS
    for part in _PARTS:
        name = one.key.removeprefix(f"{part}.").partition(".")[0]
        if one.key.startswith(f"{part}.") and ours[part] and ours[first] and name not in _OF_CLASSES:
            known = known and name in (options_of(part) or [name])  # of a source that is not known, any
    if known:
        return
    if one.file:
        raise unknown_key(one.key, one.file)
    if first in _OF_PICTURES and command == "predict":
        fix = f"{_OF_PICTURES[first]}; {one.typed} goes with --images, in place of --config: ibca predict --help"
        raise InputError("options of ibca predict --config", one.typed, fix)
    if not dot and (likely := likely_option(first)):
        raise InputError("known options only", one.typed, f"did you mean --{likely}?")
    raise unknown_option(one.typed, command if command in ("fit", "validate", "test") else "fit")


def _refuse_class(part: str, name: str, own: bool) -> None:
    """Refuse a name without a module that no class has, and a class of a module that is nowhere."""
    if short_name(part, name) or name.startswith("ibca_lightning.") or name.endswith((".yaml", ".yml")):
        return
    known = own or name == "LightningDataModule" or is_class_of_ours(name, part) or _is_loaded(name)
    if name.isidentifier() and not known:
        raise no_class(part, name)
    top, dot, _ = name.partition(".")
    if dot and _OWN_MODULES.fullmatch(name):
        name_own(name)
        try:
            missing = find_spec(top) is None
        except ValueError:  # of what was made by hand
            missing = False
        if missing:
            raise no_class(part, name)


def _is_loaded(name: str) -> bool:
    """Whether some module that is imported has a class of this name, as where Python calls a command."""
    return any(isinstance(getattr(each, "__dict__", {}).get(name), type) for each in [*sys.modules.values()])


def _of_files(arguments: Sequence[str]) -> Iterator[_Given]:
    for file in given_values(arguments, "--config", "-c"):
        yield from _flat(load(read_text(file)), "", file)


def _of_line(arguments: Sequence[str]) -> Iterator[_Given]:
    for argument, after in pairwise([*arguments, "--"]):
        name, equals, value = argument.partition("=")
        if not re.fullmatch(r"--[A-Za-z]\w*(\.\w+)*\+?", name):
            continue
        text = value if equals else "" if after.startswith("--") else after
        key = ".".join(part for part in name.strip("-+").split(".") if part != "init_args")
        read = _read(text) if key in (*_CLASSES, "trainer") else text
        yield _Given(key, read, typed=name)
        if key in _PARTS and isinstance(read, dict):
            yield from (one._replace(typed=f"--{one.key}") for one in _flat(read, f"{key}."))


def _flat(tree: Mapping[Any, Any], above: str, file: str = "") -> Iterator[_Given]:
    for name, value in tree.items():
        key = above + str(name).removesuffix("+")
        if name == "init_args" and isinstance(value, dict):
            yield from _flat(value, above, file)
        elif name not in ("init_args", "dict_kwargs"):
            yield _Given(key, value, file)
            if isinstance(value, dict) and key in _PARTS:
                yield from _flat(value, f"{key}.", file)


def _read(text: str) -> Any:
    try:
        return load(text)
    except yaml.YAMLError:
        return None  # the parser says what it is


def _takes_classes(key: str) -> bool:
    return key in _CLASSES or key.endswith("class_path") or key.startswith(_OTHER_CLASSES)


def _names(value: Any) -> Iterator[str]:
    """The classes that a value names: itself, that of its class_path, or those of a list."""
    for one in value if isinstance(value, list) else [value]:
        name = one.get("class_path") if isinstance(one, dict) else one
        if isinstance(name, str):
            yield name


def _paths(value: Any) -> Iterator[str]:
    """The same, and what stands behind a class_path within."""
    yield from _names(value)
    for one in value if isinstance(value, list) else [value]:
        for inner in one.values() if isinstance(one, dict) else ():
            if isinstance(inner, dict | list):
                yield from _paths(inner)
