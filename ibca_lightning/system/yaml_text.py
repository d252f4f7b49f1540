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
    loader = _ShallowLoader(text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    if node is not None:
        _measure(node, {})
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


class _ShallowLoader(yaml.SafeLoader):
    """Stops at once where it becomes too deep: PyYAML takes seconds for a thousand brackets."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node and those in it."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise YAMLTooLargeError(f"nesting beyond {MAX_DEPTH} levels")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The number of nodes with every alias written out, and their depth; `known` by identity, (0, 0) while measured."""
    if (measured := known.get(id(node))) is not None:
        if measured == (0, 0):
            raise YAMLTooLargeError("an anchor that holds itself")
        return measured
    known[id(node)] = (0, 0)
    size, depth = 1, 0
    if isinstance(node, yaml.CollectionNode):
        for item in node.value:
            for part in item if isinstance(item, tuple) else (item,):
                more, below = _measure(part, known)
                size, depth = size + more, max(depth, below)
                if size > MAX_NODES:
                    raise YAMLTooLargeError(f"more than {MAX_NODES} values with its anchors written out")
    if depth >= MAX_DEPTH:
        raise YAMLTooLargeError(f"nesting beyond {MAX_DEPTH} levels")
    known[id(node)] = (size, depth + 1)
    return known[id(node)]
