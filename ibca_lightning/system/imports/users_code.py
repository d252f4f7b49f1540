"""Where in the user's own code an error arose: in a file that is neither ours nor of what is installed."""

import os
import re
import sysconfig
from pathlib import Path
from traceback import walk_tb

from ibca_lightning.system.errors import causes

_OURS = str(Path(__file__).parents[2])
_INSTALLED = {os.path.realpath(path) for path in sysconfig.get_paths().values()}
_IN_A_TEXT = re.compile(r'^\s*File "(.+)", line (\d+), in (.+)$', re.M)  # what a data worker's error has of its own


def users_line(error: BaseException) -> str:
    """Say the innermost line of the user's own code that an error passed, behind a comma; blank where it passed none.

    Examples:
        >>> from ibca_lightning.system.imports.users_code import users_line
        >>> users_line(ValueError("raised by nobody"))
        ''
    """
    for cause in causes(error):
        frames = [(f.f_code.co_filename, str(line), f.f_code.co_name) for f, line in walk_tb(cause.__traceback__)]
        for file, line, name in reversed([*frames, *_IN_A_TEXT.findall(str(cause))]):
            if _is_users(file):
                near = os.path.relpath(file)
                return f", at {file if near.startswith(os.pardir) else near}, line {line}, in {name}"
    return ""


def last_words(error: BaseException) -> str:
    """The kind of an error and the first line of what it says; of one that a data worker met, that one's."""
    told = str(error).strip().splitlines() or [""]
    if told[0].startswith("Caught ") and len(told) > 1:
        raised = next((line for line in reversed(told) if re.match(r"[\w.]+(: |$)", line)), "")
        if raised:
            return raised
    return f"{type(error).__name__}: {told[0]}"


def _is_users(file: str) -> bool:
    real = os.path.realpath(file)
    if not os.path.isfile(real) or real.startswith(f"{_OURS}{os.sep}"):
        return False
    if "site-packages" in real or "dist-packages" in real:
        return False
    return not any(real.startswith(f"{folder}{os.sep}") for folder in _INSTALLED)
