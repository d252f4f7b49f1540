"""Files of the folder that `ibca` is started in are run when they are named, and never before."""

import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from ibca_lightning.start import list as listing
from ibca_lightning.system.imports.own_modules import VARIABLE, name_own, own_modules
from tests.command_line import REPOSITORY, ibca

PROGRAM = """
import multiprocessing, os, sys
import ibca_lightning.cli
if __name__ == "__main__":
    from ibca_lightning.system.imports.own_modules import name_own, own_modules
    with own_modules(os.getcwd()):
        name_own("spawned_own.Data")
        from spawned_own import Data
        child = multiprocessing.get_context("spawn").Process(target=Data(3).work)
        child.start()
        child.join()
        sys.exit(child.exitcode)
"""


@pytest.fixture
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with modules that nobody has imported, and that is not on the path."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".", str(here))])
    (here / "planted_gdcm.py").write_text("raise SystemExit('run')\n")
    (here / "own_layers.py").write_text("WIDTH = 3\n")
    (here / "own_lazy.py").write_text("WIDTH = 4\n")
    (here / "own_pack").mkdir()
    (here / "own_pack/__init__.py").touch()
    (here / "own_pack/parts.py").write_text(
        "from own_layers import WIDTH\n\n\ndef late():\n    import own_lazy\n\n    return own_lazy.WIDTH\n"
    )
    return here


def test_a_command_does_not_find_what_lies_in_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[object] = []

    def look(arguments: list[str]) -> int:
        found.extend((find_spec("planted_gdcm"), find_spec("own_layers"), str(folder) in sys.path))
        return 0

    monkeypatch.setattr(listing, "list_names", look)
    before = [*sys.meta_path], os.environ.get(VARIABLE)
    assert ibca("list").code == 0
    assert found == [None, None, False]
    assert ([*sys.meta_path], os.environ.get(VARIABLE)) == before


def test_what_is_named_is_found_with_what_it_imports_and_nothing_else(folder: Path) -> None:
    with own_modules(str(folder)):
        name_own("own_pack.parts.Head")
        name_own("json.JSONDecoder")  # installed: what it tries to import is not looked for here
        os.chdir("/")  # jsonargparse does so while it reads a file
        parts = import_module("own_pack.parts")
        assert (parts.WIDTH, parts.late()) == (3, 4)
        import_module("json").__dict__["planted"] = None
        with pytest.raises(ImportError):
            exec("import planted_gdcm", import_module("json").__dict__)
        assert find_spec("planted_gdcm") is None
    assert find_spec("own_lazy") is not None, "imported already"
    sys.modules.pop("own_lazy")
    assert find_spec("own_lazy") is None


def test_a_process_that_is_spawned_finds_it_too(folder: Path, tmp_path: Path) -> None:
    (folder / "spawned_own.py").write_text(
        "import pathlib\n\n\nclass Data:\n    def __init__(self, size):\n        self.size = size\n\n"
        "    def work(self):\n        pathlib.Path('worked').write_text(str(self.size))\n"
    )
    script = tmp_path / "elsewhere" / "program.py"
    script.parent.mkdir()
    script.write_text(PROGRAM)
    own = {key: value for key, value in os.environ.items() if key != VARIABLE} | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, script], env=own, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, Path("worked").is_file()) == (0, True), done.stderr
