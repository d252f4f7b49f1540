"""YAML text, read without more memory or depth than its size deserves."""

from typing import Any

import yaml

MAX_NODES = 100_000  # a configuration has hundreds; a list of 50,000 class names still passes
MAX_DEPTH = 100  # what jsonargparse walks by recursion must stay far from Python's own limit


class YAMLTooLargeError(yaml.YAMLError):
    """Anchors that repeat each other, or nesting, without measure."""


def compose(text: str) -> yaml.Node | None:
    """Parse YAML into nodes; None where there are none.

    Nine anchors that each hold the one before nine times are half a kilobyte, and 400 million values for everything
    that walks or copies them: the size with every alias written out is counted first, each node once.

    Raises:
        yaml.YAMLError: When it is no YAML, holds a value or tag that YAML's plain data has not, or is too large.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except RecursionError:
        raise YAMLTooLargeError(f"nesting beyond {MAX_DEPTH} levels") from None
    if node is not None:
        _measure(node, 0, {})
    return node


def construct(node: yaml.Node | None) -> Any:
    """Return the plain data of nodes.

    Raises:
        yaml.YAMLError: When a value is not what its tag or form says.
    """
    if node is None:
        return None
    try:
        return yaml.SafeLoader("").construct_document(node)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # `0x_`, a month 13, an integer of 6,000 digits
        raise yaml.constructor.ConstructorError(None, None, f"{error}", node.start_mark) from error


def load(text: str) -> Any:
    """Read YAML as plain data, as `yaml.safe_load` does.

    Raises:
        yaml.YAMLError: As `compose` and `construct`.
    """
    return construct(compose(text))


def _measure(node: yaml.Node, depth: int, known: dict[int, int]) -> int:
    """The number of nodes with every alias written out; `known` by identity, -1 for those that are being measured."""
    if depth > MAX_DEPTH:
        raise YAMLTooLargeError(f"nesting beyond {MAX_DEPTH} levels")
    if (size := known.get(id(node))) is not None:
        if size < 0:
            raise YAMLTooLargeError("an anchor that holds itself")
        return size
    known[id(node)] = -1
    size = 1
    if isinstance(node, yaml.CollectionNode):
        for item in node.value:
            size += sum(_measure(part, depth + 1, known) for part in (item if isinstance(item, tuple) else (item,)))
            if size > MAX_NODES:
                raise YAMLTooLargeError(f"more than {MAX_NODES} values with its anchors written out")
    known[id(node)] = size
    return size
