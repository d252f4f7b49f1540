import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ROW = re.compile(r"\| (\d+) \| (.+?) \| (.+) \| `([^:`]+)::(test_\w+)(?:\[(.+)\])?` \|")


def test_every_fault_of_the_list_has_its_test() -> None:
    lines = (REPOSITORY / "tests/faults/README.md").read_text(encoding="utf-8").splitlines()
    rows = [ROW.fullmatch(line) for line in lines if re.match(r"\| \d", line)]
    assert all(rows)
    assert [int(row[1]) for row in rows if row] == list(range(1, len(rows) + 1))
    assert len(rows) >= 40
    for row in filter(None, rows):
        tree = ast.parse((REPOSITORY / row[4]).read_text(encoding="utf-8"))
        assert row[5] in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, row[0]
        cases = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert row[6] is None or row[6] in cases, row[0]
