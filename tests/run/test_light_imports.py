"""What is imported lightly is imported whole, and leaves nothing changed."""

import gc
import subprocess
import sys
from importlib.util import find_spec

from ibca_lightning.run.command_line.light_imports import light_imports


def test_a_package_is_away_meanwhile_only_and_garbage_is_collected_again() -> None:
    absent = "this_package_is_none"
    with light_imports(absent, "sys"):
        assert not gc.isenabled()
        assert sys.modules[absent] is None
        assert sys.modules["sys"] is sys  # what is there already stays
        with light_imports(absent):
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert absent not in sys.modules
    assert find_spec(absent) is None


def test_no_help_of_a_command_loads_torch() -> None:
    code = (
        "import sys, contextlib, io\nfrom ibca_lightning.cli import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        main([command, '--help'])\n"
        "    assert not {'torch', 'lightning'} & set(sys.modules), command\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
