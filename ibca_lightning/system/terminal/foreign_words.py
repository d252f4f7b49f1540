"""What other libraries say, in every command: each of their warnings and log records is one line that says whose it is.

Nothing is left out here; what of Lightning no user can act on is, in `run/quiet.py`.
"""

import logging
import sys
import warnings
from pathlib import Path
from typing import TextIO

from ibca_lightning.system.errors import DataWarning, shortened
from ibca_lightning.system.output import plain, write_err

_OWN = Path(__file__).parents[2]


def in_one_line(alone: bool) -> None:
    """Show warnings and log records so from now on.

    Args:
        alone: Whether the process is a command of its own. Then nothing that is imported later changes it, as Lightning
            would; else who called may have warnings recorded.
    """
    warnings.formatwarning = warning_line
    if alone:
        warnings.showwarning = _show
    logging.lastResort = Stderr(logging.WARNING)  # of records that nobody else handles


def warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning in a line, ours without its place in the code; the names in it are not obeyed by the terminal."""
    text = shortened(" ".join(str(message).split()))
    own = issubclass(category, DataWarning) or Path(filename).is_relative_to(_OWN)
    return plain(f"warning: {text}\n" if own else f"warning of {_library(filename)}: {text} ({category.__name__})\n")


def _show(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    text = warning_line(message, category, filename, lineno, line)
    if file is None or file is sys.stderr:
        write_err(text)
    else:
        file.write(text)


def _library(filename: str) -> str:
    """The package that a file is of."""
    parts = Path(filename).parts
    for folder in ("site-packages", "dist-packages"):
        if folder in parts[:-1]:
            return parts[len(parts) - parts[::-1].index(folder)].removesuffix(".py")
    return Path(filename).stem


class Stderr(logging.Handler):
    """Writes records to what `sys.stderr` is at that moment: a notebook or a test exchanges it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one: ours as it is, others in a line."""
        try:
            text = record.getMessage()
        except Exception:  # a call of another library that does not fit its own text
            self.handleError(record)
            return
        library = record.name.partition(".")[0]
        other = f"warning of {library}: {shortened(' '.join(text.split()))}"
        write_err(f"{text if library == 'ibca_lightning' else other}\n")
