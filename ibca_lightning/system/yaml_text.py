"""YAML text, read without more memory or depth than its size deserves."""

import re
from typing import Any

import yaml

MAX_NODES = 100_000  # a configuration has hundreds; a list of 50,000 class names still passes
MAX_TEXT = 2**20  # letters; PyYAML looks at each of them, a megabyte in 3 seconds, and a configuration has thousands
MAX_DIGITS = 1000  # in base 60 (`59:59:...`) an integer takes the square of its length, and a megabyte a minute
# Numbers that YAML 1.1 reads otherwise than people do: `1:30` is 90, `010` is 8.
_MISREAD = re.compile(r"(?<![\w.:-])[-+]?(\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?|0[0-7_]+)(?![\w.:-])")
_TEXT = "tag:yaml.org,2002:str"
_AS_WRITTEN = tuple(f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float"))
_NO_PLAIN = tuple(f"tag:yaml.org,2002:{name}" for name in ("binary", "timestamp", "set", "omap", "pairs"))
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
MAX_DEPTH = 100  # what jsonargparse walks by recursion must stay far from Python's own limit

_FORMS = {
    first: [(tag, form) for tag, form in forms if tag not in _NO_PLAIN]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def misread(text: str) -> bool:
    """Whether there is something in a text that YAML may take for another number than people do."""
    return _MISREAD.search(text) is not None


def keys_as_written(node: yaml.MappingNode) -> None:
    """Make keys text that YAML takes for true, false or a number: `no` is the name of a class, as `1` is.

    One that is none, such as `~` or `null`, stays so: `data.label_values` takes it for a blank.
    """
    node.value = [
        (yaml.ScalarNode(_TEXT, key.value, key.start_mark, key.end_mark) if key.tag in _AS_WRITTEN else key, value)
        for key, value in node.value
    ]


class YAMLTooLargeError(yaml.YAMLError):
    """Text, anchors that repeat each other, or nesting, without measure."""


def compose(text: str) -> yaml.Node | None:
    """Parse YAML into nodes; None where there are none.

    Nine anchors that each hold the one before nine times are half a kilobyte, and 400 million values for everything
    that walks or copies them: the size with every alias written out is counted first, each node once.

    Raises:
        yaml.YAMLError: When it is no YAML, holds a value or tag that YAML's plain data has not, or a number that YAML
            reads otherwise than people do, or is too large.
    """
    if len(text) > MAX_TEXT:
        raise YAMLTooLargeError(f"more than {MAX_TEXT} letters")
    loader = _MeasuringLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


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


class _MeasuringLoader(yaml.SafeLoader):
    """Stops at once where it becomes too deep or too large: PyYAML takes seconds for a thousand brackets.

    What it reads is what JSON can hold: a date is text, as jsonargparse has it, and bytes or sets are refused.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.yaml_implicit_resolvers = _FORMS
        self._depth = 0
        self._measured: dict[int, tuple[int, int]] = {}  # nodes and depth of each node, every alias written out

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node and those in it."""
        alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise YAMLTooLargeError(f"nesting beyond {MAX_DEPTH} levels")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if node is None or alias:
            if node is not None and id(node) not in self._measured:
                raise YAMLTooLargeError("an anchor that holds itself")
            return node
        items = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = [self._measured[id(part)] for item in items for part in (item if isinstance(item, tuple) else (item,))]
        text = len(node.value) // 64 if isinstance(node, yaml.ScalarNode) else 0  # what copies values copies long ones
        size, depth = 1 + text + sum(size for size, _ in inner), 1 + max((depth for _, depth in inner), default=0)
        if size > MAX_NODES:
            raise YAMLTooLargeError(f"more than {MAX_NODES} values with its anchors written out")
        if depth > MAX_DEPTH:
            raise YAMLTooLargeError(f"nesting beyond {MAX_DEPTH} levels")
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
            raise YAMLTooLargeError(f"an integer of more than {MAX_DIGITS} digits")
        if node.tag in _NUMBERS and _MISREAD.fullmatch(node.value):
            number = yaml.SafeLoader("").construct_object(node)
            problem = f"{node.value}, which YAML reads as {number}: write the number, or text in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        if node.tag in _NO_PLAIN:
            raise yaml.constructor.ConstructorError(None, None, f"{node.tag}, which is no plain data", node.start_mark)
        if isinstance(node, yaml.MappingNode):
            keys_as_written(node)
        self._measured[id(node)] = size, depth
        return node
