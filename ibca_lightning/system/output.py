"""Writing to standard output and error, whose reader may be gone (`ibca compare RUNS | head`)."""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """Show what a terminal would obey, or cannot write, as an escape: names of files and classes hold anything."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def bounds(ends: Sequence[float] | None) -> str:
    """An interval behind its figure, ` [0.510, 0.620]`; nothing where there is none."""
    return f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def usable_streams() -> None:
    """Let the streams of a process of its own take any text: for what their encoding lacks stands an escape.

    A closed one (`2>&-`, as some daemons have it) leads nowhere: the next file that is opened would have its number,
    and get what libraries of C write there.
    """
    for name in ("stdin", "stdout", "stderr"):  # the lowest free number is taken first
        if (stream := getattr(sys, name)) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
        elif name != "stdin" and isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_out(text: str) -> None:
    """Write to standard output; a reader that has seen enough is no failure."""
    try:
        sys.stdout.write(plain(text))
        sys.stdout.flush()
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # or Python complains of what is left when it ends


def write_err(text: str) -> None:
    """Write to standard error; hours of training do not end because nobody reads their log."""
    with suppress(OSError):
        sys.stderr.write(plain(text))
        sys.stderr.flush()
