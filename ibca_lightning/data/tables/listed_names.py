"""The names in a cell: parted by a mark or a line break, or the text of a list as Python, JSON or numpy writes it."""

import ast
import re
from collections.abc import Callable, Collection, Iterator

from ibca_lightning.system.errors import InputError

_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_BRACKET = re.compile(r"[()\[\]{}]")
_RARE = re.compile(r"[()\[\]{}\r\n]|[-–•*·]\s")
_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_STRINGS = re.compile(rf"""({_STRING})(\s*(?=[urbURB]?['"]))?|[^'"]+|.""", re.S)
_ARRAY = re.compile(r"array\((\[.*\])(, dtype=[^()]*)?\)", re.S)
_LONGEST = 2**14  # characters of such a list
_BULLET = re.compile(r"^[-–•*·]\s+")
# What may stand between two names, beside the separator of a column.
_MARKS = (
    ";", "|", ",", "+", "&", "/", "；", "，", "、", "<br>", "<br/>", "\\n", " - ", " – ", " and ", " und ", " et ",
    " y ", " with ", " mit ", " sowie ",
)  # fmt: skip


def parted(text: str, separator: str | None) -> list[str]:
    """Part a cell at a separator, in any case, and at line breaks; what stands in brackets stays together.

    Examples:
        >>> from ibca_lightning.data.tables.listed_names import parted
        >>> parted("DR (mild), AMD (wet, late)", ",")
        ['DR (mild)', 'AMD (wet, late)']
    """
    if not _RARE.search(text) and (separator is None or separator.lower() == separator.upper()):  # nearly all, fast
        parts = [text] if separator is None else text.split(separator)
        return [part.strip() for part in parts if part.strip()]
    marks = r"[\r\n]+" if separator is None else rf"{re.escape(separator)}|[\r\n]+"
    parts, depth = [""], 0
    for piece in re.split(rf"({marks}|[()\[\]{{}}])", text, flags=re.I) if _BRACKET.search(text) else ():
        depth += _BRACKETS.get(piece, 0)
        if depth < 0:
            break
        if piece and not depth and re.fullmatch(marks, piece, re.I):
            parts.append("")
        else:
            parts[-1] += piece
    if depth or parts == [""] or _BRACKET.search(separator or ""):  # a bracket without its other one says nothing
        parts = re.split(marks, text, flags=re.I)
    return [re.sub(_BULLET, "", part.strip()) for part in parts if part.strip()]


def ways_to_part(name: str) -> Iterator[list[str]]:
    """Part a name in lower case at each mark that could stand between two, and at all; those alone that part it."""
    every = re.sub("|".join(map(re.escape, _MARKS)), "\n", name, flags=re.I)
    ways = [parted(name, mark) for mark in _MARKS if mark in name]
    yield from (parts for parts in (*ways, parted(every, None)) if len(parts) > 1)


def joined_names(names: Collection[str]) -> list[str]:
    """Return the names, all in lower case, that are several of the others, parted by another mark."""
    known = {*names}
    return [
        name
        for name in names
        if any(known.issuperset(parts) for parts in (*ways_to_part(name), name.split()) if len(parts) > 1)
    ]


def is_list(text: str, separator: str | None = None) -> bool:
    """Whether a cell is the text of a list, a tuple or a set; one in round brackets may also be a name.

    Where a separator parts the names, a curly bracket without quotes is none of Python or JSON: `{polyp; ulcer}`.
    """
    return (
        text.startswith(("[", "{'", '{"', "array("))
        or (separator is None and text.startswith("{"))
        or text == "set()"
        or (text.startswith("(") and _literal(text) is not None)
    )


def listed_names(text: str, separator: str | None, where: Callable[[int], str], row: int) -> list[str]:
    """Return the names of a cell, parted by a separator, or, without one, of the text of a list.

    Raises:
        InputError: If there is no separator and the cell is no list of names.
    """
    if separator is not None:
        return parted(text, separator)
    names = _literal(text)
    if names is None:
        raise InputError(f"a list such as ['a', 'b'] in {where(row)}", repr(text), "correct the cell")
    return [name for name in names if name.strip()]


def _literal(text: str) -> list[str] | None:
    """What a list holds; None where it is none of text.

    numpy puts no comma between two strings, and Python would join them.
    """
    if len(text) > _LONGEST:
        return None
    array = _ARRAY.fullmatch(text)
    text = array[1] if array else text
    apart = _STRINGS.sub(lambda found: found[0] if found[2] is None else f"{found[1]}{',' if found[2] else ';'} ", text)
    try:
        names = ast.literal_eval(apart)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not isinstance(names, (list, tuple, set)) or not all(isinstance(name, str) for name in names):
        return None
    return sorted(names) if isinstance(names, set) else [*names]
