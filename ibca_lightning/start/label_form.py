"""How a column says which findings are present: 0 and 1 in whatever words, numbers of findings, names of findings."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ibca_lightning.data.tables.label_list import LabelList
from ibca_lightning.data.tables.labels import is_blank, parse_label
from ibca_lightning.data.tables.listed_names import is_list, joined_names, parted, ways_to_part
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.start.words import ABSENT, COUNT, DOUBT, FINDINGS, GRADE, LABEL, MARKS, NO, PRESENT, UNSURE, spaced
from ibca_lightning.system.errors import InputError

# What the user may say of a label: each grade is a class, or each grade and what is above it, a number above 0 is
# present, a blank is unknown.
Reading = Literal["each", "ordered", "count", "unknown"]
LEAST = 5  # positives, and negatives, without which a class cannot stand in training, validation and test
# The surest first.
_SEPARATORS = ("\n", ";", "|", ",", "+", "&", "/", "；", "，", "、", " and ", " und ", " et ", " y ")
_LONGEST, _CLASSES = 40, 40  # characters of a name, names of a column: beyond them it is text
_WORD = 16  # characters of a slip: beyond them a cell of yes and no is text
_LOOKED_AT = 2000  # cells that tell whether a long column holds names
_OFTEN = 3  # rows that hold a name, on average: words of a text come once


@dataclass(frozen=True)
class Form:
    """How a column is read as labels.

    Attributes:
        kind: `flags` (present or absent), `count`, or `list`, of one name or several a cell.
        positives: By class, the rows that hold it.
        values: What words mean, as `data.label_values` takes it.
        blank_is_absent: Whether present is marked and absent left blank.
        listed: For `data.label_list`.
        several: Whether a cell may hold several names.
        sure: Whether nothing but labels looks so.
        rare: By name the rows of what is too rare for a class.
        unread: Names of a list that are unknown as they are not sure, or several others parted in another way.
        unsure: Names of a list that are classes though they may say that something is not known.
        perhaps: Names of a list that may be several, of which one is known.
        alike: Names of a list that differ from another one in marks alone.
    """

    kind: Literal["flags", "count", "list"]
    positives: Mapping[str, int]
    values: Mapping[str, int] = field(default_factory=dict)
    blank_is_absent: bool = False
    listed: LabelList | None = None
    sure: bool = True
    several: bool = False
    rare: Mapping[str, int] = field(default_factory=dict)
    unread: Sequence[str] = ()
    unsure: Sequence[str] = ()
    perhaps: Sequence[str] = ()
    alike: Sequence[str] = ()


def form_of(name: str, texts: Sequence[str], asked: str = "", grades: Sequence[str] = ()) -> Form | None:
    """Tell how a column may be read as labels; None where it cannot.

    Args:
        name: The column.
        texts: Its cells.
        asked: A `Reading`, or `label`, where the user says that it is one; blank where the column has to tell.
        grades: The names of an ordered column that holds no numbers, from the lowest.
    """
    cells = Counter(text.casefold() for text in texts if not is_blank(text) or text.casefold() == "none")
    if not cells:
        return None
    if asked in ("each", "ordered"):
        form = _list(name, texts, numbers=True)
        if asked == "ordered" and form is not None and form.listed is not None:
            listed = replace(form.listed, ordered=True, names=[*grades] or None)
            if classes := _read(listed, texts):  # of words nobody knows the order
                form = replace(form, listed=listed, positives=classes, rare={})
        return form and prefixed(form, name)
    form = _flags(name, texts, cells, asked) or _numbers(name, texts, cells, asked)
    if asked == "count":
        return form if form is not None and form.kind == "count" else None
    form = form or _list(name, texts)
    if asked == "unknown" and form is not None:
        unknown = sorted({*form.listed.unknown, ""}) if form.listed else []
        return replace(form, blank_is_absent=False, listed=form.listed and replace(form.listed, unknown=unknown))
    unnamed = form is not None and any(re.search(r"\w", each) is None for each in form.positives)
    return prefixed(form, name) if form is not None and unnamed else form


def prefixed(form: Form, column: str) -> Form:
    """Return a list whose classes are called after their column too."""
    if form.listed is None or form.listed.prefix:
        return form
    positives = {f"{column} {name}": count for name, count in form.positives.items()}
    return replace(form, listed=replace(form.listed, prefix=True), positives=positives)


def _flags(name: str, texts: Sequence[str], cells: Counter[str], asked: str) -> Form | None:
    """Present or absent, or a mark beside blanks. Other words, in fewer cells than say present, are slips: unknown."""
    found = {word: _meaning(word) for word in cells}
    strange = [word for word, value in found.items() if value is None and not (asked == "label" and is_code(word))]
    present = [word for word, value in found.items() if value == 1]
    strange_rows, present_rows = (sum(cells[word] for word in words) for words in (strange, present))
    if any(map(is_number, strange)) or (strange_rows and strange_rows >= present_rows):
        return None
    blank_is_absent = 0 not in found.values() and cells.total() < len(texts) and all(word in MARKS for word in present)
    if not (present and (0 in found.values() or blank_is_absent)):
        return None
    values = {word: -1 if value is None else value for word, value in found.items()}
    own = {word: value for word, value in values.items() if is_blank(word) or parse_label(word) != value}
    return Form("flags", {name: sum(cells[word] for word in present)}, own, blank_is_absent)


def _meaning(word: str) -> int | None:
    """0, 1 or -1; None for a word that says neither present nor absent, nor that it does not know."""
    value = None if is_blank(word) else parse_label(word)
    if value is not None:
        return value
    return 1 if word in PRESENT else -1 if word in UNSURE else 0 if word in ABSENT else None


def slips(form: Form, texts: Iterable[str]) -> list[str]:
    """The cells of a column of flags that say neither present nor absent, nor that they do not know."""
    words = [text for text in texts if form.kind == "flags" and form.values.get(text.casefold()) == -1]
    return [word for word in words if _meaning(word.casefold()) is None and not is_code(word)]


def is_text(cell: str) -> bool:
    """Whether a cell is no slip in one word or two, but text, a date or the number of somebody."""
    return cell.count(" ") > 1 or len(cell) > _WORD or re.search(r"\d\d", cell) is not None


def says_present(form: Form) -> str:
    """The name of a list that only says present, such as `yes`: it is no finding; blank where there is none."""
    if form.listed is None:
        return ""
    names = [*form.positives]  # a rare one, which is no class, decides nothing
    one = [name for name in names if is_number(name)]
    if one in (["1"], ["1.0"]) and {"0", "0.0"} & {*form.listed.absent}:  # beside words: no grade
        return one[0]
    words = (name for name in names if len(name) > 1 and not is_number(name))
    return next((name for name in words if _meaning(name.casefold()) == 1), "")


def is_code(text: str) -> bool:
    """Whether a number beside 0 and 1 may stand for what is not known: -9, 9, 99, 888."""
    return re.fullmatch(r"(-\d+|([7-9])\2*)(\.0+)?", text) is not None


def is_number(text: str) -> bool:
    """Whether a cell is a number, with a decimal point or comma."""
    return re.fullmatch(r"[+-]?\d+([.,]\d+)?", text) is not None


def _numbers(name: str, texts: Sequence[str], cells: Counter[str], asked: str) -> Form | None:
    """Numbers of findings from 0, or grades, of which 0 is none."""
    if not all(cell.removesuffix(".0").isdecimal() for cell in cells):
        return None
    numbers = sorted(int(cell.removesuffix(".0")) for cell in cells)
    if numbers[0] != 0 or numbers[-1] < 2:
        return None
    if asked != "count" and (GRADE.search(spaced(name)) or LABEL.search(spaced(name))) and numbers[-1] <= 10:
        form = _list(name, texts, numbers=True)
        return form and replace(prefixed(form, name), sure=False)
    if not (asked or COUNT.search(spaced(name))):
        return None
    return Form("count", {name: sum(count for cell, count in cells.items() if float(cell) > 0)})


def _list(name: str, texts: Sequence[str], numbers: bool = False) -> Form | None:
    filled = [text for text in texts if not is_blank(text)]
    if not filled:
        return None
    listed = sum(map(is_list, filled)) > 0.9 * len(filled)
    for separator in (None,) if listed else (*_SEPARATORS, None):
        if not (listed or _names(filled, separator)):
            continue
        read = _read(LabelList(name, separator), texts)
        if read is not None and (numbers or not all(map(is_number, read))):
            return _listed(LabelList(name, separator), read, separator is not None or listed, any(map(is_blank, texts)))
    return None


def _listed(listed: LabelList, read: Mapping[str, int], several: bool, blank: bool) -> Form | None:
    """What each name of a list is, by the rows that hold it; None where none is a class."""
    absent = [
        word for word in read if {word.casefold(), word.casefold().rstrip(".")} & ABSENT or NO.match(word)
    ]  # fmt: skip
    unknown = [word for word in read if word.casefold() in UNSURE - FINDINGS]
    plain = {word.casefold(): word for word in read}
    unread = [plain[word] for word in joined_names(plain) if plain[word] not in absent]
    doubtful = [word for word in read if DOUBT.search(word) and word not in (*absent, *unknown, *unread)]
    often_read = {word.casefold() for word in read if read[word] >= LEAST}  # the plain finding, or it is one itself
    unread += [w for w in doubtful if read[w] < LEAST or DOUBT.sub("", w).strip().casefold() in often_read]
    unknown += unread
    if absent and not several and blank:
        unknown.append("")  # who writes `absent` does not mean it by a blank
    classes = {word: count for word, count in read.items() if word not in (*absent, *unknown)}
    least = LEAST if min(classes.values(), default=0) < LEAST else 1
    kept = {word: count for word, count in classes.items() if count >= least}
    if not kept:
        return None
    bare = {word: re.sub(r"^\d+[.)]\s+|[\W_]+", "", word.casefold()) for word in classes}
    often = Counter(bare.values())
    return Form(
        "list", kept, listed=replace(listed, absent=absent, unknown=unknown, least=least),
        sure=several or bool(absent), several=several, unread=unread,
        rare={word: count for word, count in classes.items() if count < least},
        alike=[word for word in classes if bare[word] and often[bare[word]] > 1],
        unsure=[word for word in kept if word in doubtful or word.casefold() in FINDINGS],
        perhaps=[
            word for word in classes
            if any(not plain.keys().isdisjoint(parts) for parts in ways_to_part(word.casefold()))
        ],
    )  # fmt: skip


def _names(filled: Sequence[str], separator: str | None) -> bool:
    """Whether cells hold few names, and, if a mark parts them, some have it and what it parts stands elsewhere too.

    A mark that is a cell of its own, or parts what is no word, such as `+` and `+/-`, says something itself.
    """
    filled = [text for text in filled[:: 1 + len(filled) // _LOOKED_AT] if not DOUBT.search(text)]
    if separator is None:
        return len({text.casefold() for text in filled}) <= 2 * _CLASSES
    least = max(2, 0.02 * len(filled))
    if sum(separator in text.casefold() for text in filled) < least:
        return False
    pieces = {text: parted(text, separator) for text in {*filled}}
    several = [text for text in filled if len(pieces[text]) > 1]
    if len(several) < least or separator.strip() in pieces or sum(not pieces[text] for text in filled) >= least:
        return False
    whole = {text.casefold() for text in filled if len(pieces[text]) == 1}
    parts = Counter(part.casefold() for text in several for part in pieces[text])
    if len(parts) > 2 * _CLASSES or not all(re.search(r"\w", part) for part in parts):
        return False
    if separator.strip().isalpha():  # `head and neck` is one place
        known = [text for text in several if whole.issuperset(map(str.casefold, pieces[text]))]
        return 2 * len(known) >= len(several)
    return bool(whole & parts.keys()) or max(parts.values()) >= _OFTEN


def _read(listed: LabelList, texts: Sequence[str]) -> dict[str, int] | None:
    """The rows of each name; None where the cells are text and not names."""
    sheet = Sheet(listed.column, [listed.column], [(text,) for text in texts], [*range(len(texts))])
    try:
        classes = listed.classes(sheet)
        if len(classes) > _CLASSES:
            return None
        read = listed.columns(sheet, classes)
    except InputError:
        return None
    rows = {name: column.count("1") for name, column in read.items()}
    if max(map(len, rows)) > _LONGEST or sum(rows.values()) < _OFTEN * len(rows):
        return None
    return rows
