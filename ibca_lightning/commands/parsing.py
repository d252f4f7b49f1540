"""Turns jsonargparse's many-line errors into one line that names the key, the value and the fix.

jsonargparse prints every branch of a union, each with its own reason, and repeats the whole configuration behind it.
Only the innermost reason helps a user: the keys on the way to it are collected, and the reason is said in our words.
"""

import re
from collections.abc import Callable
from difflib import get_close_matches

from ibca_lightning.errors import InputError

_SUBCOMMAND = re.compile(r"^(fit|validate|test|predict)\.")


def one_line(message: str) -> InputError:
    """The innermost reason of a parser's message.

    Args:
        message: Of jsonargparse, many lines.

    Returns:
        What was expected for which key, what came, what to do.
    """
    for rule in _RULES:
        error = rule(message)
        if error is not None:
            return error
    return InputError(f"a valid value for {_key(message)}", _short(message), "see ibca COMMAND --help")


def _key(message: str) -> str:
    """The full key: the parsers' keys from the outside in, or the one given on the command line."""
    keys = list(dict.fromkeys(re.findall(r"Parser key [\"']([\w.]+)[\"']", message)))
    nested = re.search(r"NestedArg\(key='([\w.]+)'", message)
    if nested and keys:
        keys = [keys[0], nested[1]]
    return _SUBCOMMAND.sub("", ".".join(keys)) or "every option"


def _value(message: str) -> str:
    nested = re.search(r"NestedArg\(key='[\w.]+', val=(.+?)\)\s*$", message, re.S)
    found = (
        nested
        or re.search(r"Got value: (.+?)(?:\. Got value.*)?$", message, re.M)
        or re.search(r"Given value: (.+)", message)
    )
    return _short(found[1].strip("'")) if found else "another"


def _missing_file(message: str) -> InputError | None:
    found = re.search(r"(?:File does not exist|not accessible|No such file[^:]*): '?([^'\n]+)", message)
    if not found or "dot import path" in message:
        return None
    return InputError(f"a file for {_key(message)}", f"none at {found[1]}", "check the path")


def _broken_yaml(message: str) -> InputError | None:
    if "Problems parsing config" in message:
        reason = message.split("config: ", 1)[-1].splitlines()[0].strip()
        places = re.findall(r"line (\d+), column (\d+)", message)
        where = f" at line {places[-1][0]}, column {places[-1][1]}" if places else ""
        return InputError("a YAML file that can be parsed for --config", f"a fault {reason}{where}", "correct the file")
    found = re.search(r"Unexpected config: (.+)", message)
    if found:
        return InputError(
            "a YAML file with the keys model, data and trainer", _short(found[1]), "see experiments/*.yaml"
        )
    return None


def _unknown_option(message: str) -> InputError | None:
    found = re.search(
        r"(?:Option|does not accept option|Key|key) '([\w.-]+)'(?: is not (?:accepted|expected))?", message
    )
    stray = re.search(r"[Uu]nrecognized arguments: (\S+)", message)
    if stray:
        return InputError("known options only", stray[1], "see ibca COMMAND --help for the names")
    if not found or "not" not in message:
        return None
    key = _key(message)
    name = found[1] if key == "every option" or key.endswith(found[1]) else f"{key}.{found[1]}"
    return InputError(
        "known keys only", key if key.endswith(found[1]) else name, "see ibca COMMAND --help for the names"
    )


def _unknown_class(message: str) -> InputError | None:
    patterns = (
        r"Expected a dot import path string: ([\w.]+)",
        r"Expected '([\w.]+)' to be a subclass",
        r"No module named '[\w.]+'\. Got value: ([\w.]+)",
        r"class_path '([\w.]+)':\s+(?:module|No module|cannot import|Unable)",
    )
    found = next((match for pattern in patterns if (match := re.search(pattern, message))), None)
    if found is None:
        return None
    wanted = found[1]
    from ibca_lightning import data, heads, losses

    known = [*heads.__all__, *data.__all__, *(name for name in vars(losses) if name[0].isupper())]
    near = get_close_matches(wanted.rpartition(".")[2], known, n=1)
    hint = (
        f"did you mean {near[0]}?"
        if near
        else "give a class of ibca_lightning, or module.Class of your own on PYTHONPATH"
    )
    return InputError(f"a class of the right kind for {_key(message)}", wanted, hint)


def _required(message: str) -> InputError | None:
    found = re.search(r"following arguments are required: ([\w., -]+)|Option '([\w.]+)' is required", message)
    if found:
        names = ", ".join(_SUBCOMMAND.sub("", name.strip()) for name in (found[1] or found[2]).split(","))
        inside = _key(message)
        where = "" if inside == "every option" else f" in {inside}"
        return InputError(f"a value for {names}{where}", "none", "set it in the YAML (--config) or on the command line")
    found = re.search(r"argument ([^:]+): expected (.+)", message)
    return InputError(f"{found[2]} behind {found[1]}", "none", "give a value") if found else None


def _wrong_type(message: str) -> InputError | None:
    literal = re.search(r"Expected a (?:typing\.)?Literal\[(.+?)\]", message)
    kinds = [kind for kind in re.findall(r"Expected a <class '(?:\w+\.)*(\w+)'>", message) if kind != "NoneType"]
    if literal:
        return InputError(f"{_key(message)} as one of {literal[1]}", _value(message), "choose one of them")
    if kinds:
        return InputError(
            f"{' or '.join(dict.fromkeys(kinds))} for {_key(message)}", _value(message), "correct the value"
        )
    return None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 160 else text[:157] + "..."


_RULES: tuple[Callable[[str], InputError | None], ...] = (
    _broken_yaml, _wrong_type, _unknown_class, _missing_file, _required, _unknown_option,
)  # fmt: skip
