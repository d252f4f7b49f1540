"""A path as a shell would write it: `~` and `$VARIABLE` in quotes, in a YAML or in Python come as they are."""

import os
import re

from ibca_lightning.system.errors import InputError

_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{(\w+)\})")


def expanded(path: str) -> str:
    """A path with the home folder for `~` at its front, and the values of variables, as a shell would write it.

    A text is a path if a variable is at its front or a slash within it. What lies there under that very name stays.

    Raises:
        InputError: A variable has no value: a folder of the variable's name would be written.
    """
    if not (_VARIABLE.match(path) or ("/" in path and "$" in path)) or os.path.lexists(path):
        return os.path.expanduser(path)

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in os.environ:
            if "://" in path:  # the query of a URL
                return found[0]
            raise InputError(f"a value of the variable {name} in {path}", "none", f"export {name}, or write it out")
        return os.environ[name]

    return os.path.expanduser(_VARIABLE.sub(value, path))
