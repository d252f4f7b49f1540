"""Writing to standard output and error, whose reader may be gone (`ibca compare RUNS | head`)."""

import os
import sys
from contextlib import suppress


def write_out(text: str) -> None:
    """Write to standard output; a reader that has seen enough is no failure."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # or Python complains of what is left when it ends


def write_err(text: str) -> None:
    """Write to standard error; hours of training do not end because nobody reads their log."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
