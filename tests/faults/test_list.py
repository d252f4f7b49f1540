import ast
import re
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ROW = re.compile(r"\| (\d+) \| (.+?) \| (.+) \| `([^:`]+)::(test_\w+)(?:\[(.+)\])?` \|")


@cache
def named(file: str) -> tuple[set[str], set[object]]:
    """The functions and the constants of a file."""
    nodes = list(ast.walk(ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))))
    functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    return functions, {node.value for node in nodes if isinstance(node, ast.Constant)}


def test_every_fault_of_the_list_has_its_test() -> None:
    lines = (REPOSITORY / "tests/faults/README.md").read_text(encoding="utf-8").splitlines()
    rows = [ROW.fullmatch(line) for line in lines if re.match(r"\| \d", line)]
    assert all(rows)
    assert [int(row[1]) for row in rows if row] == list(range(1, len(rows) + 1))
    assert len(rows) >= 40
    for row in filter(None, rows):
        tests, cases = named(row[4])
        assert row[5] in tests, row[0]
        assert row[6] is None or row[6] in cases, row[0]
