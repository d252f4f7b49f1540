"""What the package does in one way only: it writes files whole, reads YAML with measure, and asks without changing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import ibca_lightning

ROOT = Path(ibca_lightning.__file__).parent
SOURCES = {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.rglob("*.py")}
CHANGING = {"append", "extend", "update", "setdefault", "pop", "clear", "add", "discard", "remove", "insert"}


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a function or method of that name, with its file."""
    for file, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called == name:
                    yield file, node


def is_of_os(call: ast.Call) -> bool:
    """Whether it is `os.<name>(...)`."""
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "os"


def test_files_are_put_in_place_by_one_writer() -> None:
    # A string's `replace` has two arguments, a path's has one.
    movers = {file for file, call in calls("replace") if len(call.args) == 1 and not call.keywords}
    movers |= {file for name in ("replace", "rename") for file, call in calls(name) if is_of_os(call)}
    movers |= {file for name in ("NamedTemporaryFile", "mkstemp") for file, _ in calls(name)}
    assert movers == {"system/whole_files.py"}, "write through it"


def test_yaml_is_read_by_one_reader() -> None:
    readers = {file for name in ("safe_load", "full_load", "unsafe_load") for file, _ in calls(name)}
    readers |= {file for file, call in calls("load") if ast.unparse(call.func) == "yaml.load"}
    assert not readers, f"read with yaml_text.load, which knows anchors without measure: {sorted(readers)}"


def test_texts_are_written_by_one_writer() -> None:
    writers = {file for file, call in calls("write_text") if isinstance(call.func, ast.Attribute)}
    assert writers == {"system/whole_files.py"}, "write_output shows names that are no UTF-8 by escapes"


def test_a_property_changes_nothing_but_what_it_keeps_for_itself() -> None:
    """Its own value, kept once in a private attribute of its own object, is no change that anybody sees."""
    found = []
    for file, tree in SOURCES.items():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            if not any(ast.unparse(each) in ("property", "cached_property") for each in function.decorator_list):
                continue
            for node in ast.walk(function):
                targets = node.targets if isinstance(node, ast.Assign) else ()
                targets = (node.target,) if isinstance(node, ast.AugAssign | ast.AnnAssign) else targets
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
                    targets = (node.func.value,)
                found += [
                    f"{file}:{node.lineno} {ast.unparse(target)}"
                    for target in targets
                    if isinstance(target, ast.Attribute | ast.Subscript)
                    and not ast.unparse(target).startswith("self._")
                ]
    assert not found


def test_csv_is_written_by_one_writer() -> None:
    writers = {file for file, _ in calls("DictWriter")}
    writers |= {file for file, call in calls("writer") if ast.unparse(call.func) == "csv.writer"}
    assert writers == {"system/whole_files.py"}, "write through csv_lines or write_csv"
