"""Turns jsonargparse's many-line errors into one line that names the key, the value and the fix.

jsonargparse prints every branch of a union, each with its own reason, and repeats the whole configuration behind it.
Only the innermost reason helps a user: the keys on the way to it are collected, and the reason is said in our words.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from difflib import SequenceMatcher, get_close_matches
from importlib import import_module
from pkgutil import resolve_name

import yaml

from ibca_lightning.run.command_line.short_names import NAMES, near_class, short_name
from ibca_lightning.run.command_line.source_options import options_of
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.imports.own_modules import name_own
from ibca_lightning.system.imports.users_code import users_line
from ibca_lightning.system.yaml_text import compose

_SUBCOMMAND = re.compile(r"^(fit|validate|test|predict)\.")
_SEE = "see ibca {} --help model, --help data CLASS or --help trainer for the names"
_PARTS = ("model", "data", "trainer")
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_KINDS = {
    "model": "LightningModule such as MultiLabelModule",
    "model.head": "Head",
    "model.loss": "Loss",
    "model.terms": "Term",
    "model.optimizer": "torch.optim.Optimizer",
    "model.scheduler": "torch.optim.lr_scheduler.LRScheduler",
    "data": "LightningDataModule",
    "data.augment": "list of albumentations",
    "trainer.logger": "Logger",
}
"""What a key takes a class of."""
# What has options of its own, and no class to choose.
_OF_OPTIONS = {
    "data.labels": "ibca_lightning.data.tables.label_policy.LabelPolicy",
    "data.label_list": "ibca_lightning.data.tables.label_list.LabelList",
    "data.label_noise": "ibca_lightning.data.label_noise.LabelNoise",
    "data.marks": "ibca_lightning.marks.option.Marks",
}
_PAIR = r"\s*([A-Za-z][\w -]*?)\s*[=:]\s*([^=:,;{}\[\]]*[^=:,;{}\[\]\s])\s*"
# What the data, the backbone or the model give.
_NO_OPTIONS = {"self", "params", "channels", "num_labels", "class_names", "preprocessing"}
_LISTS = {"model.head": "heads", "model.loss": "losses", "model.terms": "terms", "data": "datasets"}


def one_line(message: str, arguments: Sequence[str] = ()) -> InputError:
    """The innermost reason of jsonargparse's message; the command line has what the message leaves out."""
    if (error := _misread(message)) is not None:
        return error
    given = (rule(message, arguments) for rule in (_no_value, _required, _several_values))
    known = (rule(message) for rule in (_yaml, _unknown_option, _pairs, _wrong_type, _unknown_class, _file))
    for error in (*given, *known):
        if error is not None:
            return error
    value, reason = _value(message), _innermost(message)
    got = reason if value == "another" or value in reason else f"{value} ({reason})"
    return InputError(f"a valid value for {_key(message)}", got, "correct the value")


def _key(message: str) -> str:
    """The full key: the parsers' keys from the outside in, or the one given on the command line."""
    keys = list(dict.fromkeys(re.findall(r"Parser key [\"']([\w.]+)[\"']", message)))
    nested = re.findall(r"NestedArg\(key='([\w.]+)'", message)
    if nested and keys:  # the last one is the outermost, which holds the whole key
        keys = [keys[0], nested[-1].removeprefix("init_args.")]
    return _SUBCOMMAND.sub("", ".".join(keys)) or "every option"


def _value(message: str) -> str:
    last = message[max(message.rfind("NestedArg("), 0) :]
    nested = re.search(r"NestedArg\(key='[\w.]+', val=(.+?)\)\s*$", last, re.S)
    found = nested or re.search(r"(?:Got|Given) value: (.*?)(?:\. Got value.*)?$", message, re.M)
    return _short(found[1].strip("'")) or "nothing" if found else "another"


def _innermost(message: str) -> str:
    """The first line that is no scaffolding, for a message that no rule knows."""
    scaffolding = r"\s*(-\s*)?(Parser key|Does not validate|Subtypes|Errors|Given value|Problem with given|$)"
    lines = [line for line in message.splitlines() if not re.match(scaffolding, line)]
    line = lines[0] if lines else message.splitlines()[-1]
    line = re.sub(r"^.*expects a function or a callable class: |Got value: Namespace.*$", "", line)
    return _short(line.strip(" -."))


def _no_value(message: str, arguments: Sequence[str]) -> InputError | None:
    found = re.search(r"argument ([^:]+): expected (.+)", message)
    if found is None:
        return None
    name = found[1].rpartition("/")[2]
    following = [*arguments[1:], "--"]
    for argument, after in zip(arguments, following, strict=False):
        if argument.startswith(name) and "=" not in argument and after.startswith("--"):
            name = argument
    return InputError(f"a value behind {name}", "none", "give one")


def _several_values(message: str, arguments: Sequence[str]) -> InputError | None:
    """Values one behind the other, or with commas, where one is taken: lists stand in brackets."""
    stray = re.search(r"[Uu]nrecognized arguments: ([^-\s]\S*)", message)
    if not stray and ("Literal" in message or not re.search(r"Expected a (<class '(list|tuple)'>|List)", message)):
        return None
    wanted = stray[1] if stray else _value(message)
    if wanted[0] in _DASHES:
        fix = f"write --{wanted.lstrip(_DASHES)}: a word processor makes one dash of two hyphens"
        return InputError("an option behind two hyphens", wanted, fix)
    words = "\0".join(word for given in arguments for word in given.split("=", 1 if given.startswith("--") else 0))
    for option, *values in (words_of_one.split("\0") for words_of_one in words.split("\0--")[1:]):
        if wanted in (values[1:] if stray else values[:1]):
            words_of_list = map(_item, filter(None, re.split(r", *", ",".join(values))))
            fix = f"write --{option} '[{', '.join(words_of_list)}]' for a list"
            blanks = ", or quotes round a text with blanks" if stray else ""
            alone = stray or re.search(r"Expected a <class '(?!list|tuple|NoneType)", message)
            expected = f"{'one value' if alone else 'a list'} behind --{option}"
            return InputError(expected, " ".join(values), fix + blanks)
    return None


def _item(word: str) -> str:
    """A word as an item of a list in brackets, in quotes where YAML would take it for true, false or nothing."""
    return f'"{word}"' if re.fullmatch(r"(?i)yes|no|on|off|true|false|null|~", word) else word


def _misread(message: str) -> InputError | None:
    """`1:30` where a number is wanted: 90 for YAML, so that the parser was given text."""
    value = _value(message)
    try:
        compose(value)
    except yaml.YAMLError as error:
        what, _, fix = str(getattr(error, "problem", "")).rpartition(": ")
        if "which YAML reads as" in what:
            return InputError(f"a value for {_key(message)}", what, fix)
    return None


def _yaml(message: str) -> InputError | None:
    """What `config_files.read_tree` refused within a union, whose branches jsonargparse lists."""
    found = re.search(r"^[\s-]*((?:a YAML file|YAML) .+), got (.+); ([^;]+)$", message, re.M)
    return InputError(found[1], found[2], found[3]) if found else None


def _file(message: str) -> InputError | None:
    missing = r"(?:File does not exist|not accessible|Path is not a file|No such file[^:]*): '?([^'\n]+)"
    found = re.search(missing, message)
    if found and "dot import path" not in message:
        return InputError(f"a file for {_key(message)}", f"none at {found[1]}", "check the path")
    found = re.search(r"Expected a path but (\S+) either not accessible", message)
    if found:
        fix = "check the path, or write module.Class for a class of your own in module.py"
        return InputError(f"a class or a YAML file for {_key(message)}", found[1], fix)
    found = re.search(r"Unable to load config ['\"](.+?)['\"]", message)
    if found is None:
        return None
    return InputError(f"options for {_key(message)}", found[1], f"write --{_key(message)}.OPTION VALUE")


def _unknown_option(message: str) -> InputError | None:
    stray = re.search(r"[Uu]nrecognized arguments: (\S+)", message)
    if stray:
        return unknown_option(stray[1].partition("=")[0])
    found = re.search(r"(?:Option|does not accept option|Key|key) '([\w.-]+)'", message)
    if not found or "not" not in message or "is required" in message:
        return None
    key = _key(message)
    return unknown_key(found[1] if key == "every option" else key if key.endswith(found[1]) else f"{key}.{found[1]}")


def unknown_option(name: str, command: str = "fit") -> InputError:
    """Say that a command has no such option, as it was typed, and which was probably meant."""
    section, dot, last = name.lstrip("-").rpartition(".")
    first, *more = section.split(".")
    for at, level, known in ((0, first, {*_PARTS}), (1, "".join(more[:1]), options_of(first))):  # what stands in front
        if level and known and level not in {*known, "init_args"} and (near := _near(level, known)):
            meant = ".".join([*[first][:at], near, *more[at:], last])
            return InputError("known options only", name, f"did you mean --{meant}?")
    hyphens, known = len(name) - len(name.lstrip("-")), _known(section)
    near = last if hyphens < 2 and dot and last in known else _near(last, known) if hyphens == 2 or dot else None
    if not near and not section:  # the option of a part, without its name
        parts = {option: part for part in reversed(_PARTS) for option in _known(part)}
        near = last if last in parts else _near(last, parts) if name.startswith("--") else None
        section, dot = (parts[near], ".") if near else ("", "")
    fix = f"did you mean --{section}{dot}{near}?" if near else _SEE.format(command)
    return InputError("known options only", name, fix)


def unknown_key(name: str, file: str = "") -> InputError:
    """Say that a YAML, whose name is not always known, has a key that there is not, and which was probably meant."""
    section, dot, last = name.rpartition(".")
    near = _near(last, _known(section))
    where = f" in {file}" if file else ""
    fix = f"did you mean {section}{dot}{near}?" if near else _SEE.format("fit")
    return InputError(f"known keys only{where}", name, fix)


def _known(section: str) -> set[str]:
    """Names of the options that a section may have, for a suggestion."""
    section = section.replace("init_args.", "").removesuffix(".init_args")
    if section == "":
        return {"model", "data", "trainer", "run_dir", "wandb", "wandb_project", "log_images", "config", "ckpt_path",
                "save_every_n_steps", "seed_everything", "deterministic"}  # fmt: skip
    found = set(options_of(section))
    if section in ("model.optimizer", "model.scheduler"):
        import torch

        module = torch.optim if section == "model.optimizer" else torch.optim.lr_scheduler
        classes = (cls for cls in vars(module).values() if inspect.isclass(cls))
        found = {name for cls in classes if cls.__module__.startswith("torch.optim.") for name in _parameters(cls)}
    elif section == "data.labels":
        from ibca_lightning.data.tables.label_policy import LabelPolicy

        found = set(_parameters(LabelPolicy))
    elif section == "trainer.logger":
        found = {name for path in NAMES[section].values() for name in _parameters(resolve_name(path))}
    return (found - _NO_OPTIONS) | ({"class_path", "init_args"} if section in _KINDS else set())


def _parameters(cls: type) -> Iterable[str]:
    for base in cls.__mro__:  # a class with **options passes them on to its base
        if "__init__" in vars(base) and base is not object:
            for parameter in inspect.signature(vars(base)["__init__"]).parameters.values():
                if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    yield parameter.name


def _unknown_class(message: str) -> InputError | None:
    patterns = (
        r"Expected a dot import path string: ([\w.]+)",
        r"Expected '([\w.]+)' to be a subclass",
        r"Import path ([\w.]+) does not correspond",
        r"(?:No module named|has no attribute) '[\w.]+'\. Got value: Namespace\(class_path='([\w.]+)'",
        r"No module named '[\w.]+'\. Got value: ([\w.]+)",
        r"class_path '([\w.]+)':\s+(?:module|No module|cannot import|Unable)",
        r"Expected an import path or a subclass spec, but got (.+?)\. Got value",
        r"Not a valid subclass of \w+()",
    )
    found = next((match for pattern in patterns if (match := re.search(pattern, message))), None)
    if found is None:
        return None
    return no_class(_key(message), found[1] or _value(message))


def no_class(key: str, wanted: str) -> InputError:
    """Say that an option takes no such class, and which was probably meant."""
    near = near_class(key, wanted, _more_classes(key))
    kind = f" ({_KINDS[key]})" if key in _KINDS else ""
    hint = f"see ibca list {_LISTS[key]}, or" if key in _LISTS else "give one of ibca_lightning, or"
    hint = f"did you mean {near}?" if near else f"{hint} module.Class of a file of your own"
    why = "" if near else _why_no_class(wanted, _KINDS.get(key, "class for it"))
    return InputError(f"a class for {key}{kind}", wanted + why, hint)


def _why_no_class(wanted: str, kind: str) -> str:
    """What Python says of a class path, of which the parser has tried the same; nothing of a name without a module."""
    module, _, name = wanted.rpartition(".")
    if not all(map(str.isidentifier, wanted.split("."))) or not module:
        return ""
    name_own(module)
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # whatever a file of the user's raises
        return f" ({' '.join(f'{error}'.split()) or type(error).__name__}{users_line(error)})"
    return f" ({module} has no {name})" if found is None else f" ({name} is no {kind})"


def _more_classes(key: str) -> tuple[str, ...]:
    """Names of classes that have no short one."""
    if key in ("model.optimizer", "model.scheduler"):
        import torch

        module = torch.optim if key == "model.optimizer" else torch.optim.lr_scheduler
        classes = ((name, cls) for name, cls in vars(module).items() if name[0].isupper() and isinstance(cls, type))
        return tuple(f"{module.__name__}.{name}" for name, cls in classes if cls.__module__.startswith("torch.optim"))
    return ("MultiLabelModule",) if key == "model" else ()


def _near(wanted: str, known: Iterable[str]) -> str | None:
    by_end = {name.rpartition(".")[2].lower(): name for name in known}
    close, plain = get_close_matches(wanted.lower(), by_end), wanted.lower()
    # Of two that are as near it is the first by letters: max_epochs, not min_epochs.
    near = min(close, key=lambda name: (-SequenceMatcher(None, name, plain).ratio(), name), default="")
    return by_end[near] if near and by_end[near] != wanted else None


def _required(message: str, arguments: Sequence[str]) -> InputError | None:
    found = re.search(r"following arguments are required: ([\w., -]+)|Option '([\w.]+)' is required", message)
    if not found:
        return None
    names = ", ".join(_SUBCOMMAND.sub("", name.strip()) for name in (found[1] or found[2]).split(","))
    inside = _key(message)
    where = "" if inside == "every option" else f" in {inside}"
    fix = "set it in the YAML (--config) or on the command line"
    if inside == "every option" and list(arguments[:1]) == ["predict"]:
        fix = "give --images FILE_OR_FOLDER for pictures, or --config RUN/config.yaml for the test set"
    return InputError(f"a value for {names}{where}", "none", fix)


def _pairs(message: str) -> InputError | None:
    """`--data.labels uncertain=zero`, where options of their own, or a mapping, are wanted."""
    key, value = _key(message), _value(message)
    found = re.findall(_PAIR, value) if re.fullmatch(rf"{_PAIR}(?:[,;]{_PAIR})*", value) else []
    if key in _OF_OPTIONS and re.match(r"[\w(-]", value) and value != "another":
        names = [each.name for each in fields(resolve_name(_OF_OPTIONS[key]))]
        given = [(name, text) for name, text in found if name in names] or [(names[0], "VALUE")]
        fix = f"write {' '.join(f'--{key}.{name} {text}' for name, text in given)}"
        return InputError(f"options of {key} ({', '.join(names)})", value, fix)
    if found and "Expected a <class 'dict'>" in message:
        mapping = ", ".join(f"{name}: {text}" for name, text in found)
        return InputError(f"a mapping for {key}", value, f"write --{key} '{{{mapping}}}'")
    return None


def _wrong_type(message: str) -> InputError | None:
    literal = re.search(r"Expected a (?:typing\.)?Literal\[(.+?)\]", message)
    kinds = [kind for kind in re.findall(r"Expected a <class '(?:\w+\.)*(\w+)'>", message) if kind != "NoneType"]
    value, key = _value(message), _key(message).removesuffix(".class_path")
    if key in NAMES and kinds and re.fullmatch(r"[A-Za-z][\w.]*", value):  # a union with a class among other things
        return no_class(key, value)
    if key in NAMES and re.fullmatch(r"\['[\w.]+'(, '[\w.]+')*\]", value):  # several, of which one is not known
        unknown = [name for name in re.findall(r"[\w.]+", value) if short_name(key, name) is None]
        return no_class(key, min(unknown, key=lambda name: "." in name)) if unknown else None
    if literal:
        # Of a list of classes the reason is the class that cannot be made.
        inner = _unknown_class(message) if value[:1] in "[{" else None
        return inner or InputError(f"{_key(message)} as one of {literal[1]}", value, "choose one of them")
    if kinds:
        listed = kinds[0] == "list"
        fix = f"write [{value}]" if listed else "correct the value"
        if re.search(r"\b(True|False)\b", value) and (listed or "str" in kinds):
            fix = "YAML takes yes, no, on and off for true and false: write text in quotes"
        elif "str" in kinds and (plain := re.search(r"(?:^|\[|, )(None|-?[\d.]+(e[-+]?\d+)?)(?=$|]|, )", value)):
            what = "null and ~ for nothing" if plain[1] == "None" else f"{plain[1]} for a number"
            fix = f"YAML takes {what}: write text in quotes"
        return InputError(f"{' or '.join(dict.fromkeys(kinds))} for {_key(message)}", value, fix)
    return None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 160 else text[:157] + "..."
