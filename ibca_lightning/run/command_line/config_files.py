"""Looks at every `--config` before the parser does, so that a broken YAML is said with its file and line."""

import os
from collections.abc import Sequence
from difflib import get_close_matches

import yaml

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import given_values, refuse_credentials
from ibca_lightning.system.strangers import read_text
from ibca_lightning.system.yaml_text import YAMLTooLargeError, compose, construct

_SECTIONS = ("model", "data", "trainer")
_WANTED = "a YAML file with the keys model, data and trainer"
_EXAMPLES = "see ibca list recipes"


def check_config_files(arguments: Sequence[str]) -> None:
    """Check the form of the YAML files that a command line names; their values are the parser's.

    Raises:
        InputError: Names the file, and the line where there is one, when a file is missing, unreadable, no YAML, no
            mapping, or has a key twice.
    """
    for path in given_values(arguments, "--config", "-c"):
        if not path or path.startswith("--"):
            raise InputError("a YAML file behind --config", "none", "give a file, or a name of ibca list recipes")
        _check(path)


def read_tree(path: str, place: str) -> yaml.Node | None:
    """Read a YAML file that stands at an option, or some other place, into nodes.

    Raises:
        InputError: There is none, it is no YAML, or it is beyond measure.
    """
    if not os.path.isfile(path):
        other = "no regular file" if os.path.exists(path) else "nothing there"
        got = "a folder" if os.path.isdir(path) else other
        raise InputError(f"a YAML file {place} {path}", got, "check the path")
    try:
        tree = compose(read_text(path))
        construct(tree)
    except OSError as error:
        raise InputError(f"a YAML file {place} {path}", error.strerror, "check its permissions") from error
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise InputError(f"YAML text in {path}", "a binary file, or another encoding", "save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"YAML in {path}{where}", error.problem or "a fault", "correct that line") from error
    except YAMLTooLargeError as error:
        raise InputError(f"YAML of a usual size in {path}", error, "write it shorter, and without anchors") from error
    return tree


def _check(path: str) -> None:
    tree = read_tree(path, "at --config")
    if tree is None:
        raise InputError(f"{_WANTED} at {path}", "an empty one", _EXAMPLES)
    if not isinstance(tree, yaml.MappingNode):
        got = "a list" if isinstance(tree, yaml.SequenceNode) else "a single value"
        raise InputError(f"{_WANTED} at {path}", got, _EXAMPLES)
    _check_keys(tree, path)
    for key, value in tree.value:
        if key.value in _SECTIONS:
            _check_section(key, value, path)


def _check_keys(node: yaml.Node, path: str) -> None:
    """Refuse a key that stands twice, as YAML would silently take the last, and a URL with a password."""
    if isinstance(node, yaml.ScalarNode):
        refuse_credentials(str(node.value), f"{path}, line {node.start_mark.line + 1}")
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, path)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if seen.setdefault(str(key.value), line) != line:
            twice = f"{key.value} on lines {seen[str(key.value)]} and {line}"
            raise InputError(f"every key once in {path}", twice, "remove one of them")
        _check_keys(value, path)
    _check_class(node, path)


def _check_class(node: yaml.MappingNode, path: str) -> None:
    """Refuse the options of a class beside its class_path: the parser would call the class_path unknown."""
    keys = {str(key.value): (key, value) for key, value in node.value}
    if "class_path" not in keys:
        return
    for name, (key, _) in keys.items():
        if name not in ("class_path", "init_args", "dict_kwargs"):
            meant = bool(get_close_matches(name, ["init_args"]))
            raise InputError(
                f"the options of {keys['class_path'][1].value} below init_args in {path}",
                f"{name} on line {key.start_mark.line + 1}",
                "did you mean init_args?" if meant else f"write init_args: {{{name}: ...}}",
            )


def _check_section(key: yaml.Node, value: yaml.Node, path: str) -> None:
    where = f"{path}, line {key.start_mark.line + 1}"
    if key.value == "trainer":
        if not isinstance(value, yaml.MappingNode):
            raise InputError(f"options below trainer in {where}", _kind(value), "write trainer: {max_epochs: 40}")
        return
    example = f"{key.value}: {{class_path: {'CSVDataModule' if key.value == 'data' else 'MultiLabelModule'}}}"
    if not isinstance(value, yaml.MappingNode):
        # A class without options may stand by its name alone.
        if not isinstance(value, yaml.ScalarNode) or value.tag != "tag:yaml.org,2002:str":
            raise InputError(f"a class_path and init_args below {key.value} in {where}", _kind(value), example)
        return
    for inner, options in value.value:
        if inner.value == "init_args" and not isinstance(options, yaml.MappingNode) and options.value not in ("", "~"):
            raise InputError(
                f"options below {key.value}.init_args in {path}, line {inner.start_mark.line + 1}",
                _kind(options), "write them as KEY: VALUE",
            )  # fmt: skip


def _kind(node: yaml.Node) -> str:
    return str(node.value) or "nothing" if isinstance(node, yaml.ScalarNode) else "a list"
