"""The examples in docstrings: each runs as it stands, prints what it says, and imports what it needs."""

import doctest
import warnings
from importlib import import_module
from pathlib import Path

import pytest
import torch

import ibca_lightning

ROOT = Path(ibca_lightning.__file__).parent


def _shown(path: Path) -> int:
    """The lines that begin an example."""
    return sum(line.lstrip().startswith(">>> ") for line in path.read_text(encoding="utf-8").splitlines())


# Found by reading, so that a new example is found by itself and a module without one need not be imported.
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py")) if _shown(path)}


@pytest.mark.parametrize("file", FILES)
def test_the_examples_of_a_file_print_what_they_say(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(".".join(("ibca_lightning", *Path(file).with_suffix("").parts)).removesuffix(".__init__"))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("error")
        # Of the module nothing is given to the examples: what they show can be pasted into a Python of one's own.
        result = doctest.testmod(module, globs={}, optionflags=doctest.ELLIPSIS)
    assert not result.failed, capsys.readouterr().out
    assert result.attempted == _shown(FILES[file]), "an example that doctest does not find"
    assert "Example:\n" not in FILES[file].read_text(encoding="utf-8"), "Examples:, or make docs reads it as Markdown"


def test_there_are_examples_where_people_look() -> None:
    lines = dict.fromkeys(
        room
        for room in ("heads", "losses", "metrics", "data", "use", "run")
        if (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file()
    )
    for room in lines:
        lines[room] = sum(_shown(path) for file, path in FILES.items() if file.startswith((f"{room}/", f"{room}.py")))
    assert all(lines.values()), lines
    assert sum(filter(None, lines.values())) >= 60, lines
